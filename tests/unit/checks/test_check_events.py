"""Checks that events ask for: what each costs, and what no number of them can make cost more."""

import json
from typing import Any

import pytest

from functions.check_freshness import app as check_freshness
from local.images import make_image
from pullahead.errors import StorageError
from pullahead.messages import CheckRequest
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from tests.fakes.application import InMemoryService
from tests.fakes.lambda_context import lambda_context
from tests.fakes.records import fresh
from tests.fakes.samples import REPOSITORY, digest, mirror, rules

FIRST, SECOND = make_image(seed=1), make_image(seed=2)
UPSTREAM_CALLS = ("head_manifest", "get_manifest", "list_tags")
WRITES = ("save", "claim", "write", "start", "send")


class EventService:
    """The application with mirrors of `ghcr.io/team/app`, all fresh, and upstream serving FIRST."""

    def __init__(self, count: int = 1, made: Rules | None = None, **more: Any) -> None:
        mirrors = [mirror(str(number))._replace(**more) for number in range(count)]
        self.service = InMemoryService(made or rules(mirrors))
        self.clock, self.script = self.service.clock, self.service.script
        self.records = self.service.records.stored
        for each in mirrors:
            self.service.upstream.serve(FIRST, str(each.upstream))
            self.service.target.move_tag(REPOSITORY, each.tag, FIRST.digest)
            self.records[each.key] = fresh(
                each.key, self.clock(), upstream_digest=FIRST.digest, published_digest=FIRST.digest, episode=1
            )
            self.records[each.key] = self.records[each.key].with_changes(upstream=str(each.upstream))

    def event(self, reason: Any, tag: str = "0", pushed: Digest | None = None, **more: Any) -> CheckRequest:
        return CheckRequest(reason, REPOSITORY, (tag,), self.clock(), pushed, **more)

    def check(self, *requests: CheckRequest) -> None:
        for request in requests:
            self.service.handle(request)

    def batch(self, *events: dict[str, Any]) -> list[str]:
        """Handle a batch, and return the messages that are retried."""
        records = [
            {
                "messageId": f"m{n}",
                "body": json.dumps(event),
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
            }
            for n, event in enumerate(events)
        ]
        answer = check_freshness.handle({"Records": records}, lambda_context(), self.service.app)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def record(self, tag: str = "0") -> MirrorRecord:
        return self.records[MirrorKey(REPOSITORY, tag)]

    def count(self, *operations: str) -> int:
        return self.script.count(*operations)


def push(number: int, pushed: str, at: str = "2026-11-24T09:00:00Z") -> dict[str, Any]:
    """The event of a push."""
    detail = {"result": "SUCCESS", "repository-name": REPOSITORY, "image-digest": pushed, "action-type": "PUSH"}
    return {
        "version": "0",
        "id": f"{number}-{pushed}-{at}",
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": "123456789012",
        "time": at,
        "region": "eu-west-1",
        "resources": [],
        "detail": {**detail, "image-tag": str(number)},
    }


class TestPush:
    def test_own_push_costs_one_read(self) -> None:
        world = EventService()
        world.check(world.event("push", pushed=FIRST.digest))
        assert world.script.calls == ["paused_rules", "load"]

    @pytest.mark.parametrize("state", [State.MISSING, State.STALE])
    def test_own_push_before_its_outcome_is_recorded_costs_one_read(self, state: State) -> None:
        world = EventService()
        key = world.record().key
        world.records[key] = world.record().with_changes(state=state, published_digest=None)
        world.check(world.event("push", pushed=FIRST.digest))
        assert world.script.calls == ["paused_rules", "load"]

    @pytest.mark.parametrize("state", [State.BLOCKED, State.UNKNOWN, State.GONE])
    def test_push_of_the_wanted_digest_by_others_is_checked(self, state: State) -> None:
        world = EventService()
        world.records[world.record().key] = world.record().with_changes(state=state)
        world.check(world.event("push", pushed=FIRST.digest))
        assert world.record().state is State.FRESH

    def test_push_of_an_old_digest_by_a_slow_refresh_is_checked(self) -> None:
        world = EventService()
        world.records[world.record().key] = world.record().with_changes(upstream_digest=SECOND.digest)
        world.check(world.event("push", pushed=FIRST.digest))
        assert world.count("head_manifest") == 1

    def test_push_by_others_is_checked_and_refreshed(self) -> None:
        world = EventService()
        world.service.target.move_tag(REPOSITORY, "0", SECOND.digest)
        world.check(world.event("push", pushed=SECOND.digest))
        assert world.record().state is State.STALE
        assert (world.count("head_manifest"), world.count("start"), world.count("claim")) == (1, 1, 1)

    def test_push_of_an_unfollowed_tag_costs_nothing(self) -> None:
        world = EventService()
        world.check(world.event("push", "other", pushed=SECOND.digest))
        assert world.script.calls == ["paused_rules"]


class TestRedelivery:
    def test_redelivered_own_pushes_request_and_write_nothing(self) -> None:
        """2,000 events of our own copies in batches of ten, and all of them again: one question to the table each."""
        world = EventService(2000)
        events = [push(number, FIRST.digest) for number in range(2000)] * 2
        for start in range(0, len(events), 10):
            assert world.batch(*events[start : start + 10]) == []
        assert world.count(*UPSTREAM_CALLS, *WRITES, "published_digests") == 0
        assert world.count("load") == 400

    def test_event_delivered_twice_into_one_batch_is_checked_once(self) -> None:
        world = EventService()
        world.service.target.move_tag(REPOSITORY, "0", SECOND.digest)
        assert world.batch(*[push(0, SECOND.digest)] * 10) == []
        assert (world.count("head_manifest"), world.count("claim"), world.service.queue.sent) == (1, 1, [])

    def test_batch_reads_its_records_with_one_request(self) -> None:
        world = EventService(10)
        for number in range(10):
            world.service.target.move_tag(REPOSITORY, str(number), SECOND.digest)
        assert world.batch(*(push(number, SECOND.digest) for number in range(10))) == []
        assert (world.count("load"), world.count("head_manifest"), world.count("start")) == (1, 10, 10)

    def test_records_that_cannot_be_prefetched_are_read_by_each_message(self) -> None:
        world = EventService(2)
        world.script.fail("load", StorageError("no"))
        assert world.batch(push(0, FIRST.digest), push(1, FIRST.digest)) == []
        assert world.count("load") == 3

    def test_prefetched_record_is_read_again_after_a_conflict(self) -> None:
        world = EventService(2)
        world.service.target.move_tag(REPOSITORY, "0", SECOND.digest)
        key = world.record().key
        newer = world.record().with_changes(version=5, episode=7)
        world.script.before("published_digests", lambda: world.records.__setitem__(key, newer))
        assert world.batch(push(0, SECOND.digest), push(1, FIRST.digest)) == []
        assert (world.record().state, world.record().episode) == (State.STALE, 8)


class TestFlood:
    def test_alternating_pushes_cause_a_bounded_number_of_checks(self) -> None:
        """The same tag is pushed every second for an hour, and each refresh runs at once."""
        world = EventService()
        for second in range(3600):
            world.service.target.move_tag(REPOSITORY, "0", SECOND.digest)
            world.batch(push(0, SECOND.digest, f"2026-11-24T09:{second // 60:02}:{second % 60:02}Z"))
            world.clock.advance(seconds=1)
            for settled in world.service.queue.sent if second % 60 == 59 else ():
                world.check(settled)
            if second % 60 == 59:
                world.service.queue.sent.clear()
        assert world.count("head_manifest") <= 2 * 61
        assert world.count("start") <= 2 * 61
        assert world.count("claim") == 3600

    def test_delayed_check_sees_changes_since_the_first(self) -> None:
        world = EventService()
        world.check(*[world.event("webhook")] * 5)
        world.service.upstream.serve(SECOND, str(mirror("0").upstream))
        (later,) = world.service.queue.sent
        world.clock.advance(seconds=60)
        world.check(later)
        assert world.record().upstream_digest == SECOND.digest
        assert world.count("head_manifest") == 2

    def test_schedule_is_not_merged_into_a_flood(self) -> None:
        world = EventService()
        world.check(*[world.event("webhook")] * 5)
        world.check(*[world.event("schedule")] * 2)
        assert (world.count("head_manifest"), world.count("claim")) == (3, 5)

    def test_event_of_a_paused_rule_is_neither_counted_nor_checked(self) -> None:
        world = EventService()
        world.service.pauses.pause("app")
        world.check(world.event("webhook"), world.event("delete"))
        assert world.count("claim", "load", "head_manifest") == 0


class TestDeletion:
    def test_deleted_tag_is_restored(self) -> None:
        world = EventService()
        world.service.target.delete_tag(REPOSITORY, "0")
        world.check(world.event("delete", pushed=FIRST.digest))
        assert world.record().state is State.MISSING
        assert world.count("start") == 1

    def test_tag_that_pruning_removes_is_not_restored_by_the_event_of_its_deletion(self) -> None:
        world = EventService()
        world.service.target.delete_tag(REPOSITORY, "0")
        missing = Missing(PruneReason.UNCHOSEN, world.clock(), 40, world.clock(), removed_at=world.clock())
        world.service.records.put(world.record().with_changes(missing=missing))
        world.check(world.event("delete", pushed=FIRST.digest))
        assert world.count("start", "head_manifest", "save") == 0

    def test_deleted_tag_that_is_only_missing_from_its_rule_is_restored(self) -> None:
        world = EventService()
        world.service.target.delete_tag(REPOSITORY, "0")
        missing = Missing(PruneReason.UNCHOSEN, world.clock(), 40, world.clock())
        world.service.records.put(world.record().with_changes(missing=missing))
        world.check(world.event("delete", pushed=FIRST.digest))
        assert world.count("start") == 1

    def test_deleted_tag_of_a_rule_that_leaves_it_is_recorded_once(self) -> None:
        world = EventService(restored=False)
        world.service.target.delete_tag(REPOSITORY, "0")
        world.check(world.event("delete"), world.event("delete"), world.event("schedule"))
        assert world.record().state is State.DELETED
        assert (world.count("start"), world.count("save"), world.count("claim")) == (0, 1, 1)

    @pytest.mark.parametrize("reason", ["manual", "pull", "cache"])
    def test_deleted_tag_is_restored_on_request(self, reason: str) -> None:
        world = EventService(restored=False)
        world.service.target.delete_tag(REPOSITORY, "0")
        world.check(world.event("delete"), world.event("schedule"))
        world.clock.advance(minutes=2)
        world.check(world.event(reason))
        assert world.record().state is State.MISSING
        assert world.count("start") == 1

    def test_deletion_of_an_unknown_tag_costs_one_read(self) -> None:
        world = EventService()
        world.records.clear()
        world.check(world.event("delete"))
        assert world.script.calls == ["paused_rules", "load"]

    def test_late_deletion_event_of_a_present_tag_writes_nothing(self) -> None:
        world = EventService()
        world.check(world.event("delete"))
        assert (world.count("head_manifest"), world.count("save")) == (1, 0)


def test_events_read_the_rules_no_more_often_than_once_a_minute() -> None:
    world = EventService()
    for _ in range(30):
        world.clock.advance(seconds=1)
        world.check(world.event("webhook"), world.event("delete"), world.event("push", pushed=digest("x")))
    assert world.service.rules_state.script.count("load_rules_state") <= 1


def test_scheduled_check_uses_the_newest_rules() -> None:
    world = EventService()
    world.check(world.event("push", pushed=FIRST.digest))
    world.clock.advance(seconds=1)
    world.check(world.event("schedule"))
    assert world.service.rules_state.script.count("load_rules_state") == 2
