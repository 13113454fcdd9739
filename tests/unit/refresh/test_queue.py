"""The queue of refreshes: no more at once than allowed, the longest stale first, and none that is no longer needed."""

from datetime import timedelta

import pytest

from pullahead.errors import StorageError
from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from pullahead.refresh.queue import SLOT_DURATION, StartedWaiting
from pullahead.rules.model import Rules
from tests.fakes.door import Door
from tests.fakes.samples import digest, mirror, rules


class TestFreeSlots:
    def test_refresh_starts_with_three_calls(self) -> None:
        door = Door(2, "1")
        request = door.stale("1")
        assert door.ask(request) == [StartResult.STARTED]
        assert door.script.calls == ["oldest_first", "take", "start"]
        assert door.slots.taken == {request.name: door.clock() + SLOT_DURATION}

    def test_end_of_the_only_refresh_costs_one_write(self) -> None:
        door = Door(2, "1")
        door.ask(door.stale("1"))
        name = door.end("1")
        door.script.calls.clear()
        assert door.one.start_waiting(name) == StartedWaiting()
        assert door.script.calls == ["release", "holders", "oldest_first"]
        assert door.slots.taken == {}

    def test_refresh_requested_twice_takes_one_slot(self) -> None:
        door = Door(2, "1")
        request = door.stale("1")
        assert door.ask(request, request) == [StartResult.STARTED, StartResult.STARTED]
        assert len(door.slots.taken) == 1

    @pytest.mark.parametrize("status", [StartResult.SUCCEEDED, StartResult.ENDED])
    def test_refresh_that_has_ended_before_frees_its_slot(self, status: StartResult) -> None:
        door = Door(1, "1")
        request = door.stale("1")
        door.refreshes.statuses[request.name] = status
        assert door.ask(request) == [status]
        assert door.slots.taken == {}

    def test_failed_start_frees_its_slot_for_the_retry(self) -> None:
        door = Door(1, "1")
        request = door.stale("1")
        door.script.fail("start", StorageError("throttled"))
        with pytest.raises(StorageError, match="throttled"):
            door.one.start(request)
        assert door.slots.taken == {}
        assert door.ask(request) == [StartResult.STARTED]

    def test_start_whose_answer_was_lost_runs_once_with_its_slot(self) -> None:
        door = Door(1, "1")
        request = door.stale("1")
        door.script.fail("start", StorageError("lost"), after=True)
        with pytest.raises(StorageError, match="lost"):
            door.one.start(request)
        assert door.ask(request) == [StartResult.STARTED]
        assert (door.begun, list(door.slots.taken)) == (["1"], [request.name])


class TestFull:
    def test_longest_stale_starts_first(self) -> None:
        door = Door(1, "1", "2", "3", "4")
        door.ask(*(door.stale(tag, hours) for tag, hours in (("1", 1), ("2", 2), ("3", 4), ("4", 3))))
        for _ in range(3):
            door.one.start_waiting(door.end(door.begun[-1]))
        assert door.begun == ["1", "3", "4", "2"]
        assert door.line.waiting == {}

    def test_younger_refresh_waits_behind_older_ones_though_a_slot_is_free(self) -> None:
        door = Door(2, "1", "2", "3")
        door.line.add(door.stale("2", 5))
        door.line.add(door.stale("3", 4))
        door.slots.taken["somebody"] = door.clock() + SLOT_DURATION
        assert door.ask(door.stale("1")) == [StartResult.WAITING]
        assert door.begun == ["2"]

    def test_full_queue_is_not_read_again_for_five_seconds(self) -> None:
        tags = [str(number) for number in range(30)]
        door = Door(1, *tags)
        requests = [door.stale(tag) for tag in tags]
        door.one.start(requests[0])
        door.script.calls.clear()
        for request in requests[1:]:
            assert door.one.start(request) is StartResult.WAITING
        assert door.script.count("oldest_first", "take") == 2
        door.clock.advance(seconds=6)
        door.script.calls.clear()
        door.one.start(requests[1])
        assert door.script.calls == ["oldest_first", "add"]

    def test_no_free_slot_costs_one_read_and_changes_nothing(self) -> None:
        door = Door(1, "1", "2")
        door.ask(door.stale("1"), door.stale("2"))
        door.script.calls.clear()
        assert not door.one.start_waiting().changed
        assert door.script.calls == ["holders"]
        assert door.one.start_waiting(door.end("1")).changed

    def test_newer_refresh_replaces_the_waiting_one_of_its_mirror(self) -> None:
        door = Door(1, "1", "2")
        door.ask(door.stale("1"), door.stale("2"))
        moved = door.stale("2", episode=2)
        door.ask(moved)
        door.one.start_waiting(door.end("1"))
        assert door.refreshes.requests.keys() >= {moved.name}
        assert door.begun == ["1", "2"]

    def test_nothing_starts_above_a_lowered_limit(self) -> None:
        door = Door(3, "1", "2", "3", "4")
        door.ask(*(door.stale(tag) for tag in "1234"))
        door.at_most = 1
        lowered = door.process()
        for tag in ("1", "2"):
            assert lowered.start_waiting(door.end(tag)).started == ()
        assert lowered.start_waiting(door.end("3")).started == (mirror("4").key,)

    def test_waiting_refreshes_are_counted_on_request(self) -> None:
        door = Door(2, *"12345")
        door.ask(*(door.stale(tag) for tag in "12345"))
        assert door.one.start_waiting().waiting is None
        assert door.one.start_waiting(count=True) == StartedWaiting(running=2, waiting=3)
        assert door.one.start_waiting(door.end("1"), count=True)[3:5] == (2, 2)


class TestDropped:
    @pytest.mark.parametrize(
        "changes",
        [
            {"state": State.FRESH},
            {"state": State.GONE},
            {"state": State.UNKNOWN, "error_kind": "RegistryTimeoutError"},
            {"episode": 7},
            {"upstream_digest": digest("moved on")},
            {"platforms": ("linux/arm64",)},
        ],
    )
    def test_refresh_no_longer_needed_is_dropped_and_the_next_one_starts(self, changes: dict[str, object]) -> None:
        door = Door(1, "1", "2", "3")
        door.ask(door.stale("1"), door.stale("2", 9), door.stale("3"))
        door.records.stored[mirror("2").key] = door.records.stored[mirror("2").key].with_changes(**changes)
        filled = door.one.start_waiting(door.end("1"))
        assert filled.started == (mirror("3").key,)
        assert filled.dropped == (f"{mirror('2').key}: the refresh is no longer needed",)
        assert door.line.waiting == {}

    def test_mirror_without_a_record_is_dropped(self) -> None:
        door = Door(1, "1")
        door.line.add(door.stale("1"))
        door.records.stored.clear()
        assert door.one.start_waiting().started == ()
        assert door.line.waiting == {}

    def test_unreadable_request_is_dropped(self) -> None:
        door = Door(1, "1", "2")
        for request in (door.stale("1", 9), door.stale("2")):
            door.line.add(request)
        door.line.spoil(mirror("1").key, door.clock() - timedelta(hours=9))
        filled = door.one.start_waiting()
        assert filled.started == (mirror("2").key,)
        assert filled.dropped == (f"{mirror('1').key}: this version cannot read the request",)

    @pytest.mark.parametrize("paused", [True, False])
    def test_refresh_of_a_paused_or_removed_rule_is_dropped(self, paused: bool) -> None:
        door = Door(1, "1")
        door.line.add(door.stale("1"))
        followed = door.rules
        door.rules = (
            Rules(followed.mirrors, (), "p", followed.rules, paused=frozenset({"app"})) if paused else rules([])
        )
        filled = door.one.start_waiting()
        assert filled.dropped == (f"{mirror('1').key}: no rule names the mirror any more, or the rule is paused",)
        assert (door.begun, door.line.waiting, door.slots.taken) == ([], {}, {})

    def test_number_of_examined_refreshes_is_bounded(self) -> None:
        tags = [str(number) for number in range(1500)]
        door = Door(20, *tags)
        for tag in tags:
            door.line.add(door.stale(tag))
        door.records.stored.clear()
        assert len(door.one.start_waiting().dropped) == 1000
        assert door.script.count("load") <= 1000 / 20
        assert len(door.one.start_waiting().dropped) == 500
