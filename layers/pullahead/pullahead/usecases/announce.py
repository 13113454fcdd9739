"""Send the events that records keep, and take them out again: at least once, and never in the way of anything else.

A bus that fails is left alone for a minute. What was not sent stays in its record, and is sent by a later check of that
mirror, or by the review of all records.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pullahead.errors import PullaheadError
from pullahead.freshness.announcements import due_events, without
from pullahead.freshness.outcome_events import OutcomeEvent
from pullahead.freshness.records import Record
from pullahead.ports import Clock, PublishesOutcomes, Records
from pullahead.usecases.remember import update

_AT_ONCE = 10
_MOST_NOTED = 1000  # of one run: some seconds' work
_MOST_FAILURES = 20  # that are told of one run
_LEFT_ALONE_FOR = timedelta(minutes=1)


class _Due(NamedTuple):
    record: Record
    events: tuple[OutcomeEvent, ...]


class Announcer:
    """The events of one process. May be used by several threads."""

    def __init__(self, records: Records, outcomes: PublishesOutcomes, clock: Clock) -> None:
        self._records, self._outcomes, self._clock = records, outcomes, clock
        self._noted: list[_Due] = []
        self._failures: list[PullaheadError] = []
        self._quiet_until = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def note(self, before: Record | None, after: Record) -> None:
        """Note what is to be sent of a record as it was written: what that added, and what others left behind.

        Whoever adds an event sends it, so that two that work on one mirror at once do not both send it.
        """
        events = due_events(before, after, self._clock())
        with self._lock:
            if events and len(self._noted) < _MOST_NOTED:  # what is over stays in its record
                self._noted.append(_Due(after, events))

    def flush(self) -> None:
        """Send what was noted. What fails is not raised, but told by `take_failures`."""
        with self._lock:
            noted, self._noted = self._noted, []
        if not noted or self._clock() < self._quiet_until:
            return
        for some in _by_tens(noted):
            try:
                self._outcomes.publish([event for due in some for event in due.events])
            except PullaheadError as error:
                self._quiet_until = self._clock() + _LEFT_ALONE_FOR
                self._fail(error)
                return
            for due in some:
                self._take_out(due)

    def announce(self, before: Record | None, after: Record) -> None:
        """Send what is to be sent of one record."""
        self.note(before, after)
        self.flush()

    def take_failures(self) -> list[PullaheadError]:
        """Tell what has failed since the last time, the first twenty of it."""
        with self._lock:
            taken, self._failures = self._failures, []
        return taken

    def _take_out(self, due: _Due) -> None:
        """Take out of a record what was sent; where that fails, it is sent again."""
        try:
            update(self._records, due.record.key, lambda known: known and without(known, due.events), due.record)
        except PullaheadError as error:
            self._fail(error)

    def _fail(self, error: PullaheadError) -> None:
        with self._lock:
            if len(self._failures) < _MOST_FAILURES:
                self._failures.append(error)


def _by_tens(noted: list[_Due]) -> Iterator[list[_Due]]:
    """Split what was noted, but no record's events, so that each call to the bus is a full one."""
    some: list[_Due] = []
    for due in noted:
        if some and sum(len(each.events) for each in some) + len(due.events) > _AT_ONCE:
            yield some
            some = []
        some.append(due)
    if some:
        yield some
