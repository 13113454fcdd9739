"""What became of mirrors, as their records tell it."""

from collections.abc import Iterator
from datetime import datetime

from pullahead.freshness.history import Transition
from pullahead.freshness.records import Record
from pullahead.ports import ScansRecords


class RecordedHistory:
    """Satisfies `pullahead.ports.ReadsHistory`, as far back as records go."""

    def __init__(self, records: ScansRecords) -> None:
        self._records = records

    def transitions(self, since: datetime) -> Iterator[Transition]:
        """Go through those since a moment and each mirror's last before it."""
        for record in self._records.scan():
            yield from _since(_transitions(record), since)


def _transitions(record: Record) -> list[Transition]:
    past = [Transition(each.since, record.key, each.state) for each in record.past]
    return [*past, Transition(record.since, record.key, record.state)]


def _since(transitions: list[Transition], since: datetime) -> list[Transition]:
    before = [transition for transition in transitions if transition.at < since]
    return [*before[-1:], *transitions[len(before) :]]
