"""Records that several processes change, and alerts that survive a crash."""

import pytest

from pullahead.errors import ConflictError, StorageError
from pullahead.freshness.alerts import Alert, AlertKind
from pullahead.freshness.records import Record, State
from pullahead.usecases.remember import deliver_pending, update
from tests.fakes.memory import FakeAlerts, FakeClock, FakeRecords
from tests.fakes.refreshes import BEGAN
from tests.fakes.samples import KEY, UPSTREAM
from tests.fakes.script import Killed, Script


def alert(kind: AlertKind) -> Alert:
    return Alert(kind, KEY, UPSTREAM, BEGAN, BEGAN)


STALE, GONE = alert(AlertKind.STALE), alert(AlertKind.GONE)


class Memory:
    """One record with what is still to tell."""

    def __init__(self, *pending: Alert) -> None:
        self.script = Script()
        self.records, self.alerts = FakeRecords(self.script), FakeAlerts(self.script)
        self.record = Record(KEY, UPSTREAM, State.STALE, BEGAN, pending=pending, version=1)
        self.records.stored[KEY] = self.record
        self.clock = FakeClock(BEGAN)

    def deliver(self, *added: Alert) -> Record:
        stored = self.records.stored.get(KEY, self.record)
        return deliver_pending(stored, added, self.records, self.alerts, self.clock())

    def somebody_writes(self, **changes: object) -> None:
        stored = self.records.stored[KEY]
        self.records.stored[KEY] = stored.with_changes(version=stored.version + 1, **changes)


class TestUpdate:
    def test_change_is_applied_to_what_somebody_else_wrote(self) -> None:
        memory = Memory()
        memory.script.before("save", lambda: memory.somebody_writes(published_digest="theirs"))
        ours = update(memory.records, KEY, lambda known: known and known.with_changes(upstream_digest="ours"))
        after = ours.record
        assert after is not None
        assert (after.published_digest, after.upstream_digest, after.version) == ("theirs", "ours", 3)

    def test_endless_conflict_is_given_up_after_five_tries(self) -> None:
        memory = Memory()
        memory.script.fail("save", ConflictError("no"), times=99)
        with pytest.raises(ConflictError, match="5 times in a row"):
            update(memory.records, KEY, lambda known: known and known.with_changes(upstream_digest="ours"))
        assert memory.records.writes == 5

    def test_change_that_says_nothing_new_is_not_written(self) -> None:
        memory = Memory()
        assert update(memory.records, KEY, lambda known: known) == (memory.record, ())
        assert update(memory.records, KEY, lambda _: None) == (memory.record, ())
        assert memory.records.writes == 0

    def test_first_record_is_made(self) -> None:
        memory = Memory()
        memory.records.stored.clear()
        made = update(memory.records, KEY, lambda _: memory.record).record
        assert made is not None
        assert made.version == 1

    def test_it_tells_which_alerts_are_its_own(self) -> None:
        memory = Memory(STALE)
        updated = update(memory.records, KEY, lambda known: known and known.with_changes(pending=(STALE, GONE)))
        assert updated.added == (GONE,)

    def test_alert_that_another_added_meanwhile_is_not_its_own(self) -> None:
        memory = Memory()
        memory.script.before("save", lambda: memory.somebody_writes(pending=(GONE,)))
        updated = update(
            memory.records, KEY, lambda known: known and known.with_changes(pending=known.pending or (STALE,), key=KEY)
        )
        assert updated == (memory.records.stored[KEY], ())


class TestDeliverPending:
    def test_nothing_to_tell_costs_nothing(self) -> None:
        memory = Memory()
        assert memory.deliver() is memory.record
        assert memory.script.calls == []

    def test_what_was_added_is_told_in_order_and_taken_off(self) -> None:
        memory = Memory(STALE, GONE)
        after = memory.deliver(STALE, GONE)
        assert memory.alerts.published == [STALE, GONE]
        assert after.pending == memory.records.stored[KEY].pending == ()

    def test_what_another_has_just_added_is_left_to_it(self) -> None:
        memory = Memory(STALE, GONE)
        assert memory.deliver(GONE).pending == (STALE,)
        assert memory.alerts.published == [GONE]

    @pytest.mark.parametrize(("waited", "told"), [({"minutes": 4, "seconds": 59}, []), ({"minutes": 5}, [STALE])])
    def test_what_its_writer_did_not_tell_in_time_is_told(self, waited: dict[str, float], told: list[Alert]) -> None:
        memory = Memory(STALE)
        memory.clock.advance(**waited)
        memory.deliver()
        assert memory.alerts.published == told

    @pytest.mark.parametrize("call", range(4))
    def test_kill_between_any_two_calls_repeats_rather_than_loses(self, call: int) -> None:
        memory = Memory(STALE, GONE)
        memory.script.kill_at = call
        with pytest.raises(Killed):
            memory.deliver(STALE, GONE)
        assert memory.script.calls == ["publish", "publish", "load", "save"][: call + 1]
        memory.script.resume()
        memory.clock.advance(minutes=5)
        memory.deliver()
        assert set(memory.alerts.published) == {STALE, GONE}
        assert memory.records.stored[KEY].pending == ()

    def test_topic_that_fails_leaves_all_for_the_next_time(self) -> None:
        memory = Memory(STALE, GONE)
        memory.script.fail("publish", StorageError("no"), passing=1)
        with pytest.raises(StorageError):
            memory.deliver(STALE, GONE)
        assert memory.records.stored[KEY].pending == (STALE, GONE)

    def test_alert_that_was_decided_meanwhile_stays(self) -> None:
        memory = Memory(STALE)
        memory.script.before("save", lambda: memory.somebody_writes(pending=(STALE, GONE)))
        after = memory.deliver(STALE)
        assert memory.alerts.published == [STALE]
        assert after.pending == (GONE,)

    def test_record_that_is_gone_is_not_made_again(self) -> None:
        memory = Memory(STALE)
        memory.records.stored.clear()
        assert memory.deliver(STALE) is memory.record
        assert memory.records.stored == {}
