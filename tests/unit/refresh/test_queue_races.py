"""The queue of refreshes under kills, races and steady load: nothing is lost, started twice, or starved."""

import pytest

from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from pullahead.refresh.queue import SLOT_DURATION, StartedWaiting
from tests.fakes.queueing import QueueingService
from tests.fakes.samples import mirror
from tests.fakes.script import Killed


class TestCrashes:
    def test_slot_of_an_ended_refresh_is_freed_when_it_expires(self) -> None:
        queue = QueueingService(1, "1", "2")
        queue.ask(queue.stale("1"), queue.stale("2"))
        name = queue.end("1", StartResult.ENDED)
        assert queue.one.start_waiting().started == ()
        queue.clock.advance(seconds=SLOT_DURATION.total_seconds())
        filled = queue.one.start_waiting()
        assert (filled.freed, filled.started, filled.running) == ((name,), (mirror("2").key,), 1)

    def test_refresh_that_runs_for_hours_keeps_its_slot(self) -> None:
        queue = QueueingService(1, "1", "2")
        first = queue.stale("1")
        queue.ask(first, queue.stale("2"))
        for _ in range(8):
            queue.clock.advance(seconds=SLOT_DURATION.total_seconds())
            assert queue.one.start_waiting().started == ()
        assert queue.held == {first.name: queue.clock() + SLOT_DURATION}
        assert queue.script.count("is_running") == 8

    def test_stopped_refresh_that_waits_again_is_recorded_as_failed_and_dropped(self) -> None:
        queue = QueueingService(1, "1", "2")
        stopped = queue.stale("1", 9)
        queue.refreshes.statuses[stopped.name] = StartResult.ENDED
        queue.wait(stopped)
        queue.wait(queue.stale("2"))
        filled = queue.one.start_waiting()
        assert filled.started == (mirror("2").key,)
        failure = queue.records.stored[mirror("1").key].failure
        assert failure is not None
        assert (failure.kind, failure.count) == ("RefreshAborted", 1)
        assert queue.records.stored[mirror("1").key].episode == 2

    def test_record_written_meanwhile_is_kept(self) -> None:
        queue = QueueingService(1, "1")
        stopped = queue.stale("1")
        queue.refreshes.statuses[stopped.name] = StartResult.ENDED
        queue.wait(stopped)
        queue.script.before("save", lambda: queue.stale("1", episode=5))
        queue.records.stored[mirror("1").key] = queue.records.stored[mirror("1").key].with_changes(version=4)
        queue.one.start_waiting()
        assert (queue.records.stored[mirror("1").key].episode, queue.waiting_refreshes.waiting) == (5, {})

    @pytest.mark.parametrize("at", range(40))
    def test_kill_anywhere_loses_nothing_and_starts_nothing_twice(self, at: int) -> None:
        queue = QueueingService(2, *"1234")
        requests = [queue.stale(tag, int(tag)) for tag in "1234"]
        queue.script.kill_at = at
        try:
            queue.ask(*requests)
            queue.one.start_waiting(queue.end(queue.started_tags[0]))
        except Killed:
            queue.script.resume()
        queue.script.kill_at = None
        for _ in range(10):  # the schedule comes again and again, and each check asks again for what is stale
            assert queue.running <= 2
            queue.one = queue.process()
            queue.ask(*(request for request in requests if is_stale(queue, request.tag)))
            for request in list(queue.refreshes.requests.values()):
                if queue.refreshes.statuses[request.name] is StartResult.RUNNING:
                    queue.end(request.tag)  # and the end is not reported
            queue.clock.advance(seconds=SLOT_DURATION.total_seconds())
            queue.one.start_waiting()
        assert sorted(queue.started_tags) == list("1234")
        assert (queue.held, queue.waiting_refreshes.waiting) == ({}, {})


def is_stale(queue: QueueingService, tag: str) -> bool:
    return queue.records.stored[mirror(tag).key].state is State.STALE


class TestTwoAtOnce:
    @pytest.mark.parametrize("step", ["taken", "oldest", "hosts", "oldest_first", "load", "take", "start", "remove"])
    @pytest.mark.parametrize("passing", [0, 1, 2])
    def test_two_processes_start_each_refresh_once_and_no_more_than_allowed(self, step: str, passing: int) -> None:
        queue = QueueingService(2, *"123456")
        for tag in "123456":
            queue.wait(queue.stale(tag, int(tag)))
        found: list[StartedWaiting] = []
        queue.script.before(step, lambda: found.append(queue.other.start_waiting()), passing=passing)
        queue.one.start_waiting()
        assert queue.started_tags in (["6", "5"], ["5", "6"])
        assert (queue.running, len(queue.held), len(queue.waiting_refreshes.waiting)) == (2, 2, 4)

    def test_last_slot_is_taken_by_one_of_two_checks(self) -> None:
        queue = QueueingService(1, "1", "2")
        first, second = queue.stale("1"), queue.stale("2")
        answers: list[StartResult] = []
        queue.script.before("take", lambda: answers.append(queue.other.start(second)))
        answers.append(queue.one.start(first))
        assert answers == [StartResult.STARTED, StartResult.WAITING]
        assert (queue.started_tags, list(queue.waiting_refreshes.waiting)) == (["2"], [mirror("1").key])

    def test_nothing_is_started_where_others_took_the_slots_meanwhile(self) -> None:
        queue = QueueingService(2, *"123456")
        for tag in "123456":
            queue.wait(queue.stale(tag))
        queue.script.before("take", lambda: queue.hold("x", "y"))
        assert queue.one.start_waiting().started == ()
        assert queue.script.count("take") == 1
        assert len(queue.waiting_refreshes.waiting) == 6

    def test_end_of_a_refresh_during_another_process_starts_the_next_one_once(self) -> None:
        queue = QueueingService(1, *"123")
        queue.ask(*(queue.stale(tag) for tag in "123"))
        name = queue.end("1")
        queue.script.before("take", lambda: queue.other.start_waiting(name))
        queue.one.start_waiting(name)
        assert (queue.started_tags, queue.running, len(queue.waiting_refreshes.waiting)) == (["1", "2"], 1, 1)

    def test_end_reported_twice_frees_one_slot(self) -> None:
        queue = QueueingService(1, *"123")
        queue.ask(*(queue.stale(tag) for tag in "123"))
        name = queue.end("1")
        assert [len(queue.one.start_waiting(name).started) for _ in range(3)] == [1, 0, 0]
        assert queue.running == 1


class TestOrder:
    def test_longest_stale_is_next_whatever_arrives(self) -> None:
        younger = [f"y{number}" for number in range(200)]
        queue = QueueingService(1, "running", "old", *younger)
        queue.ask(queue.stale("running"), queue.stale("old", 5))
        for tag in younger[:100]:
            queue.ask(queue.stale(tag))
        queue.one.start_waiting(queue.end("running"))
        assert queue.started_tags == ["running", "old"]

    def test_steady_stream_is_started_in_the_order_of_staleness(self) -> None:
        tags = [f"{number:03}" for number in range(120)]
        queue = QueueingService(1, *tags)
        for number, tag in enumerate(tags):
            queue.clock.advance(minutes=1)
            queue.ask(queue.stale(tag, 0))
            if number % 2:
                queue.one.start_waiting(queue.end(queue.started_tags[-1]))
        while queue.waiting_refreshes.waiting:
            queue.one.start_waiting(queue.end(queue.started_tags[-1]))
        assert queue.started_tags == tags

    def test_younger_ones_start_after_the_older_ones(self) -> None:
        queue = QueueingService(1, "running", "young", *"123")
        queue.ask(queue.stale("running"), queue.stale("young"))
        for tag in "123":
            queue.ask(queue.stale(tag, 10 + int(tag)))
        while queue.waiting_refreshes.waiting:
            queue.one.start_waiting(queue.end(queue.started_tags[-1]))
        assert queue.started_tags == ["running", "3", "2", "1", "young"]
