"""A bus for events about mirrors, in memory."""

from collections.abc import Sequence

from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.outcome_event import OutcomeEvent
from tests.fakes.memory import FakeClock, FakeRecords
from tests.fakes.script import Script


class FakeOutcomes:
    """Implements `pullahead.mirrors.outbox.OutcomeEventBus`. In a script its operation is `tell`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.published: list[OutcomeEvent] = []

    @property
    def kinds(self) -> list[str]:
        """Name what was sent, in order, without `Mirror`."""
        return [event.kind.value.removeprefix("Mirror ") for event in self.published]

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        with self.script.call("publish_events"):
            self.published.extend(events)


def announcer(records: FakeRecords, clock: FakeClock, outcomes: FakeOutcomes | None = None) -> OutboxSender:
    """Make an announcer that sends to a bus in memory."""
    return OutboxSender(records, outcomes or FakeOutcomes(records.script), clock)
