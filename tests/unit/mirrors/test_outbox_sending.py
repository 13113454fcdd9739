"""Events that are kept until they are sent: by whoever added them, at least once, and never in the way."""

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


class Telling:
    """Mirrors that went from FRESH to GONE in one write each, which is made; and who tells of them."""

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
    telling = Telling()
    before, after = telling.pairs[0]
    telling.announcer.announce(before, before)
    telling.announcer.announce(after, after)
    assert telling.script.calls == []


def test_sent_event_is_removed_from_its_record() -> None:
    telling = Telling()
    telling.announce()
    assert (telling.outcomes.kinds, telling.kept) == (["Gone"], 0)
    assert telling.script.calls == ["tell", "save"]


def test_events_of_twenty_five_mirrors_take_three_calls() -> None:
    telling = Telling(25)
    telling.announce()
    assert (len(telling.outcomes.published), telling.kept) == (25, 0)
    assert (telling.script.count("tell"), telling.script.count("save"), telling.script.count("load")) == (3, 25, 0)


def test_concurrent_change_of_a_record_is_kept() -> None:
    telling = Telling()
    (_, mine) = telling.pairs[0]
    telling.records.stored[mine.key] = mine.with_changes(version=3, error="theirs")
    telling.announce()
    assert (telling.kept, telling.records.stored[mine.key].error) == (0, "theirs")


def test_concurrently_added_event_is_kept() -> None:
    telling = Telling()
    (_, mine) = telling.pairs[0]
    telling.clock.advance(seconds=1)
    back = mine.with_changes(state=State.STALE, upstream_digest=digest("b"), version=3)
    telling.records.stored[mine.key] = with_outcome_events(mine, back, "app", telling.clock())
    telling.announce()
    assert telling.outcomes.kinds == ["Gone"]
    assert [event.kind.value for event in telling.records.stored[mine.key].outbox] == ["Mirror Stale"]


class TestLeft:
    @pytest.mark.parametrize(("waited", "sent"), [({"minutes": 4, "seconds": 59}, []), ({"minutes": 5}, ["Gone"])])
    def test_unsent_event_of_another_process_is_sent_after_five_minutes(
        self, waited: dict[str, float], sent: list[str]
    ) -> None:
        telling = Telling()
        telling.clock.advance(**waited)
        telling.review()
        assert telling.outcomes.kinds == sent

    @pytest.mark.parametrize("call", range(4))
    def test_kill_at_any_call_loses_no_event(self, call: int) -> None:
        telling = Telling(12)
        telling.script.kill_at = [0, 1, 5, 11][call]  # the first call to the bus, and writes after it
        with pytest.raises(Killed):
            telling.announce()
        telling.script.resume()
        telling.clock.advance(minutes=5)
        telling.review()
        mirrors = [event.detail.mirror for event in telling.outcomes.published]
        assert set(mirrors) == {str(before.key) for before, _ in telling.pairs}
        assert len(mirrors) <= len(set(mirrors)) + 10
        assert telling.kept == 0

    def test_repeated_event_has_the_same_id(self) -> None:
        telling = Telling()
        telling.script.fail("save", StorageError("no"))
        telling.announce()
        telling.clock.advance(minutes=5)
        telling.review()
        first, second = telling.outcomes.published
        assert first == second

    def test_review_sends_at_most_a_thousand_events(self) -> None:
        telling = Telling(1005)
        telling.clock.advance(minutes=5)
        telling.review()
        assert telling.kept == 5
        telling.review()
        assert telling.kept == 0


class TestRefused:
    def test_failure_of_the_bus_is_returned_and_not_raised(self) -> None:
        telling = Telling(25)
        telling.script.fail("tell", StorageError("no"), passing=1)
        telling.announce()
        assert (len(telling.outcomes.published), telling.kept) == (10, 15)
        assert telling.failures() == [StorageError]
        assert telling.failures() == []

    def test_bus_is_not_called_for_a_minute_after_a_failure(self) -> None:
        telling = Telling()
        telling.script.fail("tell", StorageError("no"))
        telling.announce()
        telling.clock.advance(seconds=59)
        telling.announce()
        assert telling.script.calls == ["tell"]
        telling.clock.advance(minutes=5)
        telling.review()
        assert (telling.outcomes.kinds, telling.kept) == (["Gone"], 0)

    @pytest.mark.parametrize("error", [StorageError("no"), ConflictError("no")])
    def test_record_that_cannot_be_written_does_not_stop_others(self, error: PullaheadError) -> None:
        telling = Telling(2)
        telling.script.fail("save", error, times=5 if isinstance(error, ConflictError) else 1)
        telling.announce()
        assert (len(telling.outcomes.published), telling.kept) == (2, 1)
        assert telling.failures() == [type(error)]

    def test_at_most_twenty_failures_are_returned(self) -> None:
        telling = Telling(30)
        telling.script.fail("save", StorageError("no"), times=30)
        telling.announce()
        assert len(telling.failures()) == 20
