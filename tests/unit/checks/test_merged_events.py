"""Merging: of many events of one mirror, one look now and one when the window is over; people and schedule never."""

from typing import Any, Literal

import pytest

from pullahead.checks.select import CheckMerger
from pullahead.errors import StorageError
from pullahead.messages import CheckRequest
from tests.fakes.event_windows import FakeEventWindows
from tests.fakes.memory import FakeCheckQueue, FakeClock
from tests.fakes.script import Script


class Merging:
    """The use case, in memory."""

    def __init__(self) -> None:
        self.script, self.clock = Script(), FakeClock()
        self.queue = FakeCheckQueue(self.script)
        self.merge = CheckMerger(FakeEventWindows(self.script), self.queue, self.clock)

    def ask(self, *tags: str, **more: Any) -> tuple[str, ...]:
        values: dict[str, Any] = {"reason": "webhook", "repository": "mirror/app", "asked_at": self.clock()}
        looked_at = self.merge(CheckRequest(tags=tags or ("1.0",), **(values | more)))
        return () if looked_at is None else looked_at.tags


def test_storm_of_events_causes_two_checks_a_window() -> None:
    merging = Merging()
    looks = [merging.ask() for _ in range(1000)]
    assert looks == [("1.0",), *[()] * 999]
    (later,) = merging.queue.sent
    assert (later.tags, later.settled, later.reason, merging.queue.delays) == (("1.0",), True, "webhook", [60])


def test_event_after_the_window_is_checked_at_once() -> None:
    merging = Merging()
    merging.ask()
    merging.clock.advance(seconds=60)
    assert merging.ask() == ("1.0",)


def test_delayed_check_is_not_merged() -> None:
    merging = Merging()
    for _ in range(3):
        merging.ask()
    (later,) = merging.queue.sent
    merging.script.calls.clear()
    assert merging.merge(later) is later
    assert merging.script.calls == []


@pytest.mark.parametrize("reason", ["schedule", "manual"])
def test_scheduled_and_manual_checks_are_not_merged(reason: Literal["schedule", "manual"]) -> None:
    merging = Merging()
    assert [merging.ask(reason=reason) for _ in range(5)] == [("1.0",)] * 5
    assert merging.script.calls == []


def test_tags_of_one_request_are_decided_one_by_one() -> None:
    merging = Merging()
    merging.ask("a")
    merging.ask("b")
    merging.ask("b")
    assert merging.ask("a", "b", "c", "c") == ("c",)
    assert [request.tags for request in merging.queue.sent] == [("b",), ("a",)]


def test_settled_request_keeps_its_fields() -> None:
    merging = Merging()
    request = CheckRequest(
        reason="pull",
        repository="mirror/app",
        tags=("1.0",),
        asked_at=merging.clock(),
        rule="team",
        upstream="ghcr.io/a",
    )
    settled = merging.merge(request)
    assert settled is not None
    assert settled.to_event() == {**request.to_event(), "settled": True}


def test_failing_queue_retries_the_event() -> None:
    merging = Merging()
    merging.ask()
    merging.script.fail("send", StorageError("no"))
    with pytest.raises(StorageError):
        merging.ask()
