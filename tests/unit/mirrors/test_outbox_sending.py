"""Events are kept until they are sent, at least once, and their failure stops nothing else."""

import pytest

from pullahead.errors import ConflictError, PullaheadError, StorageError
from pullahead.mirrors.outbox import with_outcome_events
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.memory import FakeClock, FakeRecords
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.refreshes import BEGAN
from tests.fakes.samples import UPSTREAM, digest
from tests.fakes.script import Killed, Script


class UnsentEvents:
    """Mirrors that went from FRESH to GONE in one write each, and the sender of their events."""

    def __init__(self, mirrors: int = 1) -> None:
        self.script, self.clock = Script(), FakeClock(BEGAN)
        self.records, self.outcomes = FakeRecords(self.script), FakeOutcomes(self.script)
        self.announcer = announcer(self.records, self.clock, self.outcomes)
        self.pairs = [self._made(f"mirror/app:{number}") for number in range(mirrors)]

    def _made(self, name: str) -> tuple[MirrorRecord, MirrorRecord]:
        key = MirrorKey.parse(name)
        before = MirrorRecord(
            key,
            UPSTREAM,
            State.FRESH,
            BEGAN,
            None,
            upstream_digest=digest("a"),
            published_digest=digest("a"),
            version=1,
        )
        gone = before.with_changes(state=State.GONE, version=2)
        self.records.stored[key] = with_outcome_events(before, gone, "app", self.clock())
        return before, self.records.stored[key]

    def announce(self) -> None:
        for before, after in self.pairs:
            self.announcer.note(before, after)
        self.announcer.flush()

    def review(self) -> None:
        for record in self.records.stored.values():
            self.announcer.note(record, record)
        self.announcer.flush()

    @property
    def kept(self) -> int:
        return sum(len(record.outbox) for record in self.records.stored.values())

    def failures(self) -> list[type[PullaheadError]]:
        return [type(failure) for failure in self.announcer.take_failures()]


def test_no_events_cause_no_calls() -> None:
    unsent = UnsentEvents()
    before, after = unsent.pairs[0]
    unsent.announcer.announce(before, before)
    unsent.announcer.announce(after, after)
    assert unsent.script.calls == []


def test_sent_event_is_removed_from_its_record() -> None:
    unsent = UnsentEvents()
    unsent.announce()
    assert (unsent.outcomes.kinds, unsent.kept) == (["Gone"], 0)
    assert unsent.script.calls == ["publish_events", "save"]


def test_events_of_twenty_five_mirrors_take_three_calls() -> None:
    unsent = UnsentEvents(25)
    unsent.announce()
    assert (len(unsent.outcomes.published), unsent.kept) == (25, 0)
    assert (unsent.script.count("publish_events"), unsent.script.count("save"), unsent.script.count("load")) == (
        3,
        25,
        0,
    )


def test_concurrent_change_of_a_record_is_kept() -> None:
    unsent = UnsentEvents()
    (_, mine) = unsent.pairs[0]
    unsent.records.stored[mine.key] = mine.with_changes(version=3, error="theirs")
    unsent.announce()
    assert (unsent.kept, unsent.records.stored[mine.key].error) == (0, "theirs")


def test_concurrently_added_event_is_kept() -> None:
    unsent = UnsentEvents()
    (_, mine) = unsent.pairs[0]
    unsent.clock.advance(seconds=1)
    back = mine.with_changes(state=State.STALE, upstream_digest=digest("b"), version=3)
    unsent.records.stored[mine.key] = with_outcome_events(mine, back, "app", unsent.clock())
    unsent.announce()
    assert unsent.outcomes.kinds == ["Gone"]
    assert [event.kind.value for event in unsent.records.stored[mine.key].outbox] == ["Mirror Stale"]


class TestLeft:
    @pytest.mark.parametrize(("waited", "sent"), [({"minutes": 4, "seconds": 59}, []), ({"minutes": 5}, ["Gone"])])
    def test_unsent_event_of_another_process_is_sent_after_five_minutes(
        self, waited: dict[str, float], sent: list[str]
    ) -> None:
        unsent = UnsentEvents()
        unsent.clock.advance(**waited)
        unsent.review()
        assert unsent.outcomes.kinds == sent

    @pytest.mark.parametrize("call", range(4))
    def test_kill_at_any_call_loses_no_event(self, call: int) -> None:
        unsent = UnsentEvents(12)
        unsent.script.kill_at = [0, 1, 5, 11][call]  # the first call to the bus, and writes after it
        with pytest.raises(Killed):
            unsent.announce()
        unsent.script.resume()
        unsent.clock.advance(minutes=5)
        unsent.review()
        mirrors = [event.detail.mirror for event in unsent.outcomes.published]
        assert set(mirrors) == {str(before.key) for before, _ in unsent.pairs}
        assert len(mirrors) <= len(set(mirrors)) + 10
        assert unsent.kept == 0

    def test_repeated_event_has_the_same_id(self) -> None:
        unsent = UnsentEvents()
        unsent.script.fail("save", StorageError("no"))
        unsent.announce()
        unsent.clock.advance(minutes=5)
        unsent.review()
        first, second = unsent.outcomes.published
        assert first == second

    def test_review_sends_at_most_a_thousand_events(self) -> None:
        unsent = UnsentEvents(1005)
        unsent.clock.advance(minutes=5)
        unsent.review()
        assert unsent.kept == 5
        unsent.review()
        assert unsent.kept == 0


class TestRefused:
    def test_failure_of_the_bus_is_returned_and_not_raised(self) -> None:
        unsent = UnsentEvents(25)
        unsent.script.fail("publish_events", StorageError("no"), passing=1)
        unsent.announce()
        assert (len(unsent.outcomes.published), unsent.kept) == (10, 15)
        assert unsent.failures() == [StorageError]
        assert unsent.failures() == []

    def test_bus_is_not_called_for_a_minute_after_a_failure(self) -> None:
        unsent = UnsentEvents()
        unsent.script.fail("publish_events", StorageError("no"))
        unsent.announce()
        unsent.clock.advance(seconds=59)
        unsent.announce()
        assert unsent.script.calls == ["publish_events"]
        unsent.clock.advance(minutes=5)
        unsent.review()
        assert (unsent.outcomes.kinds, unsent.kept) == (["Gone"], 0)

    @pytest.mark.parametrize("error", [StorageError("no"), ConflictError("no")])
    def test_record_that_cannot_be_written_does_not_stop_others(self, error: PullaheadError) -> None:
        unsent = UnsentEvents(2)
        unsent.script.fail("save", error, times=5 if isinstance(error, ConflictError) else 1)
        unsent.announce()
        assert (len(unsent.outcomes.published), unsent.kept) == (2, 1)
        assert unsent.failures() == [type(error)]

    def test_at_most_twenty_failures_are_returned(self) -> None:
        unsent = UnsentEvents(30)
        unsent.script.fail("save", StorageError("no"), times=30)
        unsent.announce()
        assert len(unsent.failures()) == 20
