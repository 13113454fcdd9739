"""The queue of refreshes under kills, races and steady load: nothing is lost, started twice, or starved."""

import pytest

from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from pullahead.refresh.queue import SLOT_DURATION, StartedWaiting
from tests.fakes.door import Door
from tests.fakes.samples import mirror
from tests.fakes.script import Killed


class TestCrashes:
    def test_slot_of_an_ended_refresh_is_freed_when_it_expires(self) -> None:
        door = Door(1, "1", "2")
        door.ask(door.stale("1"), door.stale("2"))
        name = door.end("1", StartResult.ENDED)
        assert door.one.start_waiting().started == ()
        door.clock.advance(seconds=SLOT_DURATION.total_seconds())
        filled = door.one.start_waiting()
        assert (filled.freed, filled.started, filled.running) == ((name,), (mirror("2").key,), 1)

    def test_refresh_that_runs_for_hours_keeps_its_slot(self) -> None:
        door = Door(1, "1", "2")
        first = door.stale("1")
        door.ask(first, door.stale("2"))
        for _ in range(8):
            door.clock.advance(seconds=SLOT_DURATION.total_seconds())
            assert door.one.start_waiting().started == ()
        assert door.slots.taken == {first.name: door.clock() + SLOT_DURATION}
        assert door.script.count("is_running") == 8

    def test_stopped_refresh_that_waits_again_is_recorded_as_failed_and_dropped(self) -> None:
        door = Door(1, "1", "2")
        stopped = door.stale("1", 9)
        door.refreshes.statuses[stopped.name] = StartResult.ENDED
        door.line.add(stopped)
        door.line.add(door.stale("2"))
        filled = door.one.start_waiting()
        assert filled.started == (mirror("2").key,)
        failure = door.records.stored[mirror("1").key].failure
        assert failure is not None
        assert (failure.kind, failure.count) == ("RefreshAborted", 1)
        assert door.records.stored[mirror("1").key].episode == 2

    def test_record_written_meanwhile_is_kept(self) -> None:
        door = Door(1, "1")
        stopped = door.stale("1")
        door.refreshes.statuses[stopped.name] = StartResult.ENDED
        door.line.add(stopped)
        door.script.before("save", lambda: door.stale("1", episode=5))
        door.records.stored[mirror("1").key] = door.records.stored[mirror("1").key].with_changes(version=4)
        door.one.start_waiting()
        assert (door.records.stored[mirror("1").key].episode, door.line.waiting) == (5, {})

    @pytest.mark.parametrize("at", range(40))
    def test_kill_anywhere_loses_nothing_and_starts_nothing_twice(self, at: int) -> None:
        door = Door(2, *"1234")
        requests = [door.stale(tag, int(tag)) for tag in "1234"]
        door.script.kill_at = at
        try:
            door.ask(*requests)
            door.one.start_waiting(door.end(door.begun[0]))
        except Killed:
            door.script.resume()
        door.script.kill_at = None
        for _ in range(10):  # the schedule comes again and again, and each check asks again for what is stale
            assert door.running <= 2
            door.one = door.process()
            door.ask(*(request for request in requests if is_stale(door, request.tag)))
            for request in list(door.refreshes.requests.values()):
                if door.refreshes.statuses[request.name] is StartResult.RUNNING:
                    door.end(request.tag)  # and nobody is told
            door.clock.advance(seconds=SLOT_DURATION.total_seconds())
            door.one.start_waiting()
        assert sorted(door.begun) == list("1234")
        assert (door.slots.taken, door.line.waiting) == ({}, {})


def is_stale(door: Door, tag: str) -> bool:
    return door.records.stored[mirror(tag).key].state is State.STALE


class TestTwoAtOnce:
    @pytest.mark.parametrize("step", ["holders", "oldest_first", "load", "take", "start", "remove"])
    @pytest.mark.parametrize("passing", [0, 1, 2])
    def test_two_processes_start_each_refresh_once_and_no_more_than_allowed(self, step: str, passing: int) -> None:
        door = Door(2, *"123456")
        for tag in "123456":
            door.line.add(door.stale(tag, int(tag)))
        found: list[StartedWaiting] = []
        door.script.before(step, lambda: found.append(door.other.start_waiting()), passing=passing)
        door.one.start_waiting()
        assert door.begun in (["6", "5"], ["5", "6"])
        assert (door.running, len(door.slots.taken), len(door.line.waiting)) == (2, 2, 4)

    def test_last_slot_is_taken_by_one_of_two_checks(self) -> None:
        door = Door(1, "1", "2")
        first, second = door.stale("1"), door.stale("2")
        answers: list[StartResult] = []
        door.script.before("take", lambda: answers.append(door.other.start(second)))
        answers.append(door.one.start(first))
        assert answers == [StartResult.STARTED, StartResult.WAITING]
        assert (door.begun, list(door.line.waiting)) == (["2"], [mirror("1").key])

    def test_nothing_is_started_where_others_took_the_slots_meanwhile(self) -> None:
        door = Door(2, *"123456")
        for tag in "123456":
            door.line.add(door.stale(tag))
        door.script.before("take", lambda: door.slots.taken.update(dict.fromkeys("xy", door.clock() + SLOT_DURATION)))
        assert door.one.start_waiting().started == ()
        assert door.script.count("take") == 1
        assert len(door.line.waiting) == 6

    def test_end_of_a_refresh_during_another_process_starts_the_next_one_once(self) -> None:
        door = Door(1, *"123")
        door.ask(*(door.stale(tag) for tag in "123"))
        name = door.end("1")
        door.script.before("take", lambda: door.other.start_waiting(name))
        door.one.start_waiting(name)
        assert (door.begun, door.running, len(door.line.waiting)) == (["1", "2"], 1, 1)

    def test_end_reported_twice_frees_one_slot(self) -> None:
        door = Door(1, *"123")
        door.ask(*(door.stale(tag) for tag in "123"))
        name = door.end("1")
        assert [len(door.one.start_waiting(name).started) for _ in range(3)] == [1, 0, 0]
        assert door.running == 1


class TestOrder:
    def test_longest_stale_is_next_whatever_arrives(self) -> None:
        younger = [f"y{number}" for number in range(200)]
        door = Door(1, "running", "old", *younger)
        door.ask(door.stale("running"), door.stale("old", 5))
        for tag in younger[:100]:
            door.ask(door.stale(tag))
        door.one.start_waiting(door.end("running"))
        assert door.begun == ["running", "old"]

    def test_steady_stream_is_started_in_the_order_of_staleness(self) -> None:
        tags = [f"{number:03}" for number in range(120)]
        door = Door(1, *tags)
        for number, tag in enumerate(tags):
            door.clock.advance(minutes=1)
            door.ask(door.stale(tag, 0))
            if number % 2:
                door.one.start_waiting(door.end(door.begun[-1]))
        while door.line.waiting:
            door.one.start_waiting(door.end(door.begun[-1]))
        assert door.begun == tags

    def test_younger_ones_start_after_the_older_ones(self) -> None:
        door = Door(1, "running", "young", *"123")
        door.ask(door.stale("running"), door.stale("young"))
        for tag in "123":
            door.ask(door.stale(tag, 10 + int(tag)))
        while door.line.waiting:
            door.one.start_waiting(door.end(door.begun[-1]))
        assert door.begun == ["running", "3", "2", "1", "young"]
