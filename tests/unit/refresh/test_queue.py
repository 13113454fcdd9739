"""The queue of refreshes: no more at once than allowed, the longest stale first, and none that is no longer needed."""

import pytest

from pullahead.admission.seen_digests import SeenDigest, SeenDigests
from pullahead.errors import StorageError
from pullahead.messages import RefreshRequest
from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from pullahead.refresh.queue import SLOT_DURATION, StartedWaiting
from pullahead.refresh.request import ahead_request, late_request
from pullahead.rules.model import Rules
from tests.fakes.queueing import HOST, OTHER_HOST, QueueingService
from tests.fakes.samples import digest, mirror, root, rules


class TestFreeSlots:
    def test_refresh_starts_with_three_calls(self) -> None:
        queue = QueueingService(2, "1")
        request = queue.stale("1")
        assert queue.ask(request) == [StartResult.STARTED]
        assert queue.script.calls == ["hosts", "take", "start"]
        assert queue.held == {request.name: queue.clock() + SLOT_DURATION}

    def test_end_of_the_only_refresh_costs_one_write(self) -> None:
        queue = QueueingService(2, "1")
        queue.ask(queue.stale("1"))
        name = queue.end("1")
        queue.script.calls.clear()
        assert queue.one.start_waiting(name) == StartedWaiting()
        assert queue.script.calls == ["release", "oldest", "taken", "hosts"]
        assert queue.held == {}

    def test_refresh_requested_twice_takes_one_slot(self) -> None:
        queue = QueueingService(2, "1")
        request = queue.stale("1")
        assert queue.ask(request, request) == [StartResult.STARTED, StartResult.STARTED]
        assert len(queue.held) == 1

    @pytest.mark.parametrize("status", [StartResult.SUCCEEDED, StartResult.ENDED])
    def test_refresh_that_has_ended_before_frees_its_slot(self, status: StartResult) -> None:
        queue = QueueingService(1, "1")
        request = queue.stale("1")
        queue.refreshes.statuses[request.name] = status
        assert queue.ask(request) == [status]
        assert queue.held == {}

    def test_failed_start_frees_its_slot_for_the_retry(self) -> None:
        queue = QueueingService(1, "1")
        request = queue.stale("1")
        queue.script.fail("start", StorageError("throttled"))
        with pytest.raises(StorageError, match="throttled"):
            queue.one.start(request)
        assert queue.held == {}
        assert queue.ask(request) == [StartResult.STARTED]

    def test_start_whose_answer_was_lost_runs_once_with_its_slot(self) -> None:
        queue = QueueingService(1, "1")
        request = queue.stale("1")
        queue.script.fail("start", StorageError("lost"), after=True)
        with pytest.raises(StorageError, match="lost"):
            queue.one.start(request)
        assert queue.ask(request) == [StartResult.STARTED]
        assert (queue.started_tags, list(queue.held)) == (["1"], [request.name])


class TestFull:
    def test_longest_stale_starts_first(self) -> None:
        queue = QueueingService(1, "1", "2", "3", "4")
        queue.ask(*(queue.stale(tag, hours) for tag, hours in (("1", 1), ("2", 2), ("3", 4), ("4", 3))))
        for _ in range(3):
            queue.one.start_waiting(queue.end(queue.started_tags[-1]))
        assert queue.started_tags == ["1", "3", "4", "2"]
        assert queue.waiting_refreshes.waiting == {}

    def test_younger_refresh_waits_behind_older_ones_though_a_slot_is_free(self) -> None:
        queue = QueueingService(2, "1", "2", "3")
        queue.wait(queue.stale("2", 5))
        queue.wait(queue.stale("3", 4))
        queue.hold("somebody")
        assert queue.ask(queue.stale("1")) == [StartResult.WAITING]
        assert queue.started_tags == ["2"]

    def test_full_queue_is_not_read_again_for_five_seconds(self) -> None:
        tags = [str(number) for number in range(30)]
        queue = QueueingService(1, *tags)
        requests = [queue.stale(tag) for tag in tags]
        queue.one.start(requests[0])
        queue.script.calls.clear()
        for request in requests[1:]:
            assert queue.one.start(request) is StartResult.WAITING
        assert queue.script.count("hosts", "take", "oldest_first") == 2
        queue.clock.advance(seconds=6)
        queue.script.calls.clear()
        queue.one.start(requests[1])
        assert queue.script.calls == ["hosts", "add"]

    def test_no_free_slot_costs_two_reads_and_changes_nothing(self) -> None:
        queue = QueueingService(1, "1", "2")
        queue.ask(queue.stale("1"), queue.stale("2"))
        queue.script.calls.clear()
        assert not queue.one.start_waiting().changed
        assert queue.script.calls == ["oldest", "taken"]
        assert queue.one.start_waiting(queue.end("1")).changed

    def test_newer_refresh_replaces_the_waiting_one_of_its_mirror(self) -> None:
        queue = QueueingService(1, "1", "2")
        queue.ask(queue.stale("1"), queue.stale("2"))
        moved = queue.stale("2", episode=2)
        queue.ask(moved)
        queue.one.start_waiting(queue.end("1"))
        assert queue.refreshes.requests.keys() >= {moved.name}
        assert queue.started_tags == ["1", "2"]

    def test_nothing_starts_above_a_lowered_limit(self) -> None:
        queue = QueueingService(3, "1", "2", "3", "4")
        queue.ask(*(queue.stale(tag) for tag in "1234"))
        queue.at_most = 1
        lowered = queue.process()
        for tag in ("1", "2"):
            assert lowered.start_waiting(queue.end(tag)).started == ()
        assert lowered.start_waiting(queue.end("3")).started == (mirror("4").key,)

    def test_waiting_refreshes_are_counted_on_request(self) -> None:
        queue = QueueingService(2, *"12345")
        queue.ask(*(queue.stale(tag) for tag in "12345"))
        assert queue.one.start_waiting().waiting is None
        assert queue.one.start_waiting(count=True) == StartedWaiting(running=2, waiting=3)
        assert queue.one.start_waiting(queue.end("1"), count=True)[3:5] == (2, 2)

    def test_counts_of_slots_are_compared_with_them_by_the_schedule_alone(self) -> None:
        queue = QueueingService(2, *"12345")
        queue.ask(*(queue.stale(tag) for tag in "12345"))
        queue.one.start_waiting(queue.end("1"))
        assert queue.script.count("recount") == 0
        queue.one.start_waiting(count=True)
        assert queue.script.count("recount") == 1


class TestShares:
    def test_registry_that_holds_most_slots_lets_the_others_start(self) -> None:
        """Twelve refreshes of a registry that trickles are older than all others, and four slots are free for them."""
        others = [f"other-{number}" for number in range(12)]
        queue = QueueingService(4, "1", "2", *others)
        queue.ask(*(queue.stale(tag, 10) for tag in others))
        assert len(queue.started_tags) == 3
        assert queue.ask(queue.stale("1"), queue.stale("2")) == [StartResult.WAITING] * 2
        assert queue.started_tags[3:] == ["1"]
        queue.one.start_waiting(queue.end("1"))
        assert queue.started_tags[3:] == ["1", "2"]

    def test_registries_get_equal_shares_and_the_rest_goes_by_age(self) -> None:
        usual, others = [str(number) for number in range(6)], [f"other-{number}" for number in range(6)]
        queue = QueueingService(6, *usual, *others)
        for number in range(6):
            queue.wait(queue.stale(usual[number], 20 - number))
            queue.wait(queue.stale(others[number], 9 - number))
        queue.one.start_waiting()
        assert sorted(queue.started_tags) == sorted(usual[:3] + others[:3])
        for tag in ("other-3", "other-4", "other-5"):
            queue.waiting_refreshes.waiting.pop(mirror(tag).key)
        queue.one.start_waiting(queue.end("other-0"))
        assert queue.started_tags[6:] == ["3"]

    def test_only_registry_of_the_rules_takes_all_slots(self) -> None:
        queue = QueueingService(4, *"12345")
        queue.ask(*(queue.stale(tag) for tag in "12345"))
        assert queue.running == 4

    @pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 1), (3, 2), (4, 3), (20, 15), (500, 375)])
    def test_most_slots_of_one_registry(self, slots: int, most: int) -> None:
        others = [f"other-{number}" for number in range(slots + 1)]
        queue = QueueingService(slots, "1", *others)
        queue.ask(*(queue.stale(tag) for tag in others))
        assert queue.running == most

    def test_line_of_a_registry_that_may_take_no_more_is_not_read_through(self) -> None:
        others = [f"other-{number}" for number in range(400)]
        queue = QueueingService(4, "1", *others)
        for tag in others:
            queue.wait(queue.stale(tag, 10))
        queue.hold("a", "b", "c", host=OTHER_HOST)
        queue.wait(queue.stale("1"))
        queue.script.calls.clear()
        assert queue.one.start_waiting().started == (mirror("1").key,)
        assert queue.script.count("oldest_first") == 2
        assert queue.script.count("take") == 1

    def test_empty_lines_are_forgotten_and_one_that_was_forgotten_too_early_is_found_by_the_schedule(self) -> None:
        queue = QueueingService(1, "1", "2", "other-1")
        queue.ask(queue.stale("1"), queue.stale("2"))
        queue.waiting_refreshes.remember("gone.example")
        queue.one.start_waiting(queue.end("1"))
        assert queue.waiting_refreshes.remembered == {HOST}
        queue.waiting_refreshes.add(queue.stale("other-1"))  # and another process forgets its host just before
        name = queue.end("2")
        assert queue.one.start_waiting(name).started == ()
        assert queue.one.start_waiting(count=True).started == (mirror("other-1").key,)

    def test_line_of_version_0_1_is_started_by_the_schedule_and_what_follows(self) -> None:
        queue = QueueingService(1, "1", "2")
        for tag in "12":
            queue.waiting_refreshes.add(queue.stale(tag))
            queue.waiting_refreshes.lines[mirror(tag).key] = ""
        assert queue.one.start_waiting(count=True).started == (mirror("1").key,)
        assert queue.one.start_waiting(queue.end("1")).started == (mirror("2").key,)


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
        queue = QueueingService(1, "1", "2", "3")
        queue.ask(queue.stale("1"), queue.stale("2", 9), queue.stale("3"))
        queue.records.stored[mirror("2").key] = queue.records.stored[mirror("2").key].with_changes(**changes)
        filled = queue.one.start_waiting(queue.end("1"))
        assert filled.started == (mirror("3").key,)
        assert filled.dropped == (f"{mirror('2').key}: the refresh is no longer needed",)
        assert queue.waiting_refreshes.waiting == {}

    def test_mirror_without_a_record_is_dropped(self) -> None:
        queue = QueueingService(1, "1")
        queue.wait(queue.stale("1"))
        queue.records.stored.clear()
        assert queue.one.start_waiting().started == ()
        assert queue.waiting_refreshes.waiting == {}

    def test_unreadable_request_is_dropped(self) -> None:
        queue = QueueingService(1, "1", "2")
        for request in (queue.stale("1", 9), queue.stale("2")):
            queue.wait(request)
        queue.waiting_refreshes.spoil(mirror("1").key)
        filled = queue.one.start_waiting()
        assert filled.started == (mirror("2").key,)
        assert filled.dropped == (f"{mirror('1').key}: this version cannot read the request",)

    @pytest.mark.parametrize("paused", [True, False])
    def test_refresh_of_a_paused_or_removed_rule_is_dropped(self, paused: bool) -> None:
        queue = QueueingService(1, "1")
        queue.wait(queue.stale("1"))
        followed = queue.rules
        queue.rules = (
            Rules(followed.mirrors, (), "p", followed.rules, paused=frozenset({"app"})) if paused else rules([])
        )
        filled = queue.one.start_waiting()
        assert filled.dropped == (
            f"{mirror('1').key}: no rule names the mirror any more, or the rule is paused or skipped",
        )
        assert (queue.started_tags, queue.waiting_refreshes.waiting, queue.held) == ([], {}, {})

    def test_refresh_of_what_a_pull_through_cache_has_just_cached_is_started(self) -> None:
        queue = QueueingService(1, "1")
        queue.wait(queue.stale("1"))
        queue.rules = rules([])  # which name it when the next findings do
        queue.newly_cached[mirror("1").key] = mirror("1")
        assert queue.one.start_waiting().started == (mirror("1").key,)

    def test_number_of_examined_refreshes_is_bounded(self) -> None:
        tags = [str(number) for number in range(1500)]
        queue = QueueingService(20, *tags)
        for tag in tags:
            queue.wait(queue.stale(tag))
        queue.records.stored.clear()
        first = queue.one.start_waiting()
        assert (len(first.dropped), first.more) == (1000, True)
        assert queue.script.count("load") <= 1000 / 20
        second = queue.one.start_waiting()
        assert (len(second.dropped), second.more) == (500, False)

    def test_refreshes_that_a_newer_version_will_start_are_not_examined_again_and_again(self) -> None:
        tags = [str(number) for number in range(1001)]
        queue = QueueingService(20, *tags)
        for tag in tags:
            queue.wait(queue.stale(tag))
            queue.waiting_refreshes.take_over(mirror(tag).key)
        assert not queue.one.start_waiting().more


class TestCopiesAhead:
    def ahead(self, queue: QueueingService, state: State) -> RefreshRequest:
        """Store a mirror whose tag may not serve yet what it was to serve before its rule demanded anything."""
        queue.stale("2")
        waits, key = root("2-1"), mirror("2").key
        seen = SeenDigests((SeenDigest(waits, queue.clock()),))
        record = queue.records.stored[key].with_changes(state=state, admission=seen)
        assert record.upstream_digest == waits.digest
        queue.records.stored[key] = record
        return ahead_request(mirror("2"), waits, record, queue.clock())

    @pytest.mark.parametrize("state", [State.COOLING, State.HELD])
    def test_they_start_when_a_slot_is_free_though_the_record_has_wanted_the_digest_before(self, state: State) -> None:
        queue = QueueingService(1, "1", "2")
        queue.ask(queue.stale("1"), self.ahead(queue, state))
        assert queue.one.start_waiting(queue.end("1")).dropped == ()
        assert queue.started_tags == ["1", "2"]

    def test_they_are_dropped_where_the_tag_is_to_serve_the_digest(self) -> None:
        queue = QueueingService(1, "1", "2")
        queue.ask(queue.stale("1"), self.ahead(queue, State.STALE))
        assert queue.one.start_waiting(queue.end("1")).dropped == (
            f"{mirror('2').key}: the refresh is no longer needed",
        )


class TestLateReferrers:
    """Copies of referrers that came after their image, which is fresh."""

    def late(self, queue: QueueingService, tag: str) -> RefreshRequest:
        queue.stale(tag)
        key = mirror(tag).key
        record = queue.records.stored[key].with_changes(state=State.FRESH, unfresh_since=None)
        queue.records.stored[key] = record
        return late_request(mirror(tag), root(f"{tag}-1"), record, "f1", queue.clock())

    def test_they_wait_behind_stale_images(self) -> None:
        queue = QueueingService(1, "1", "2", "3")
        queue.ask(queue.stale("1"), self.late(queue, "2"), queue.stale("3", hours=0.1))
        queue.one.start_waiting(queue.end("1"))
        queue.one.start_waiting(queue.end("3"))
        assert queue.started_tags == ["1", "3", "2"]

    def test_they_are_dropped_where_upstream_has_moved(self) -> None:
        queue = QueueingService(1, "1", "2")
        request = self.late(queue, "2")
        queue.ask(queue.stale("1"), request)
        record = queue.records.stored[mirror("2").key]
        queue.records.stored[record.key] = record.with_changes(upstream_digest=digest("newer"))
        queue.one.start_waiting(queue.end("1"))
        assert queue.started_tags == ["1"]
        assert queue.waiting_refreshes.waiting == {}

    def test_copy_that_had_ended_is_left_to_the_next_look(self) -> None:
        queue = QueueingService(1, "1", "2")
        request = self.late(queue, "2")
        queue.ask(queue.stale("1"), request)
        queue.refreshes.statuses[request.name] = StartResult.ENDED
        before = queue.records.stored[mirror("2").key]
        queue.one.start_waiting(queue.end("1"))
        assert queue.records.stored[mirror("2").key] == before
