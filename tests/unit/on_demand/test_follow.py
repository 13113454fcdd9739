"""Demands of a rule: checked without asking upstream, and deleted when they expire."""

from datetime import timedelta

import pytest

from pullahead.checks.listing import ListResult, ListTags
from pullahead.errors import StorageError
from pullahead.messages import CheckRequest, ListRequest
from pullahead.mirrors.demand import Demand
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.mirrors.rule_record import limit_reached, rule_key
from pullahead.on_demand.follow import FollowDemands
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.demands import FakeDemands
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords
from tests.fakes.samples import digest
from tests.fakes.script import Script
from tests.fakes.upstream import FakeUpstream

RULES = """\
version: 1
mirrors:
  - {upstream: ghcr.io/team/own, tags: ["1.0"], repository: mirror/hub/library/own}
on_demand:
  - {name: hub, upstream: docker.io/*, repository: "mirror/hub/{path}", allow: ["library/*"], expire_after: 30d}
"""
ALPINE, APP = MirrorKey("mirror/hub/library/alpine", "3.20"), MirrorKey("mirror/hub/library/app", "1")


class Following:
    """A service in which mirrors were demanded."""

    def __init__(self, *keys: MirrorKey, kept: bool = True) -> None:
        self.script, self.clock = Script(), FakeClock()
        self.rules = load_rules(RULES, source="rules.yaml")
        self.demands, self.records = FakeDemands(self.script), FakeRecords(self.script)
        self.upstream, self.queue = FakeUpstream(self.script), FakeCheckQueue(self.script)
        for key in keys:
            self.demand(key, kept=kept)
        follow = FollowDemands(lambda: self.rules, self.demands, self.records, self.queue)
        self.listing = ListTags(lambda: self.rules, self.upstream, self.records, self.queue, self.clock, follow)

    def demand(self, key: MirrorKey = ALPINE, *, kept: bool = True) -> None:
        now = self.clock()
        self.demands.stored[key] = Demand(key, "hub", now, now, kept=kept)

    def remember(
        self, state: State, key: MirrorKey = ALPINE, *, published: bool = False, error_kind: str | None = None
    ) -> None:
        found = digest("a") if published else None
        record = MirrorRecord(
            key, "u", state, self.clock(), published_digest=found, error_kind=error_kind, on_demand=True
        )
        self.records.stored[key] = record.with_changes(version=1)

    def follow(self, **later: float) -> ListResult:
        self.clock.advance(**later)
        self.script.calls.clear()
        self.queue.sent.clear()
        result = self.listing(ListRequest(rule="hub", asked_at=self.clock()))
        assert result is not None
        return result

    @property
    def checked(self) -> list[str]:
        return [f"{request.repository}:{tag}" for request in self.queue.sent for tag in request.tags]


def test_demanded_mirrors_are_checked_by_repository() -> None:
    keys = [f"mirror/hub/library/{name}:{tag}" for name in ("a", "b") for tag in ("1", "2")]
    following = Following(*map(MirrorKey.parse, keys))
    result = following.follow(hours=1)
    now = following.clock()
    assert following.queue.sent == [
        CheckRequest("schedule", "mirror/hub/library/a", ("1", "2"), now),
        CheckRequest("schedule", "mirror/hub/library/b", ("1", "2"), now),
    ]
    assert (result.state, result.queued, result.changed) == (State.FRESH, 4, False)


def test_following_unchanged_demands_writes_nothing() -> None:
    following = Following(*(MirrorKey("mirror/hub/library/app", f"{n}") for n in range(250)))
    following.follow(hours=1)
    assert sorted(set(following.script.calls)) == ["load", "of_rule", "send"]
    assert following.script.count("of_rule") == 1
    assert len(following.checked) == 250


def test_rule_without_demands_queues_nothing() -> None:
    following = Following()
    assert following.follow().queued == 0
    assert following.checked == []


def test_fulfilled_demand_is_kept_and_its_record_is_not_read_again() -> None:
    following = Following(ALPINE, kept=False)
    following.remember(State.FRESH, published=True)
    following.follow(hours=2)
    assert following.demands.stored[ALPINE].kept
    reads = following.script.count("load")
    following.follow(hours=1)
    assert following.script.count("load") == reads - 1
    assert following.checked == [str(ALPINE)]


@pytest.mark.parametrize("state", [State.MISSING, State.STALE, State.BLOCKED, State.UNKNOWN])
def test_demand_whose_copy_is_running_is_checked(state: State) -> None:
    following = Following(ALPINE, kept=False)
    following.remember(state)
    following.follow(minutes=15)
    assert following.checked == [str(ALPINE)]
    assert not following.demands.stored[ALPINE].kept


def test_demand_without_a_record_is_checked() -> None:
    following = Following(ALPINE, kept=False)
    following.follow(minutes=15)
    assert following.checked == [str(ALPINE)]


@pytest.mark.parametrize(("state", "error_kind"), [(State.GONE, "NotFoundError"), (State.UNKNOWN, "AccessDeniedError")])
def test_demand_that_upstream_never_had_is_not_checked_and_deleted(state: State, error_kind: str) -> None:
    following = Following(ALPINE, kept=False)
    following.remember(state, error_kind=error_kind)
    assert following.follow(days=2).changed is False
    assert following.checked == []
    assert following.follow(days=1).changed
    assert following.demands.stored == {}
    assert following.records.stored[ALPINE].expires_at is not None
    assert following.records.decided == []


def test_published_mirror_is_checked_although_it_is_gone_upstream() -> None:
    following = Following(ALPINE)
    following.remember(State.GONE, published=True)
    following.follow(days=10)
    assert following.checked == [str(ALPINE)]


def test_expired_demand_is_deleted_without_an_alert() -> None:
    following = Following(ALPINE, APP)
    following.remember(State.FRESH, published=True)
    following.clock.advance(days=20)
    following.demand(APP)
    assert following.follow(days=9, hours=23).queued == 2
    result = following.follow(hours=1)
    assert (result.queued, result.changed) == (1, True)
    assert following.checked == [str(APP)]
    assert following.demands.stored.keys() == {APP}
    assert following.records.stored[ALPINE].expires_at is not None
    assert following.records.decided == []


def test_pull_at_the_same_time_keeps_the_demand() -> None:
    following = Following(ALPINE)
    following.script.before("forget", following.demand)
    assert following.follow(days=31).changed is False
    assert ALPINE in following.demands.stored


def test_record_of_another_rule_is_kept_when_a_demand_expires() -> None:
    own = MirrorKey("mirror/hub/library/own", "1.0")
    following = Following(own)
    following.remember(State.FRESH, own, published=True)
    assert following.follow(days=1).queued == 0
    following.follow(days=31)
    assert following.demands.stored == {}
    assert following.records.stored[own].expires_at is None


def test_demand_that_the_rule_no_longer_allows_is_not_checked() -> None:
    following = Following(ALPINE)
    following.rules = load_rules(RULES.replace('allow: ["library/*"]', 'allow: ["grafana/*"]'), source="rules.yaml")
    assert following.follow(hours=1).queued == 0
    assert ALPINE in following.demands.stored


def test_unreadable_demands_are_a_storage_error() -> None:
    following = Following(ALPINE)
    following.script.fail("of_rule", StorageError("no"))
    with pytest.raises(StorageError):
        following.follow()


class TestLimit:
    def test_limit_recovers_once_on_the_next_day(self) -> None:
        following = Following(ALPINE)
        rule = following.rules.rules[-1]
        reached = limit_reached(None, rule, MirrorKey.parse("mirror/hub/library/x:1"), following.clock())
        following.records.of_rules[rule_key(rule)] = reached.with_changes(version=1)
        following.follow(hours=14)
        assert following.records.of_rules[rule_key(rule)].state is State.BLOCKED
        for _ in range(3):
            following.follow(hours=1)
        record = following.records.of_rules[rule_key(rule)]
        assert (record.state, record.alerted) == (State.FRESH, ())
        assert [(alert.kind, alert.of) for alert in record.pending] == [
            ("DEMAND_LIMIT", None),
            ("RECOVERED", "DEMAND_LIMIT"),
        ]
        assert following.records.writes == 0  # in the last round

    def test_limit_reached_on_another_day_is_alerted_again(self) -> None:
        following = Following()
        rule, now = following.rules.rules[-1], following.clock()
        first = limit_reached(None, rule, MirrorKey.parse("a:1"), now)
        assert limit_reached(first, rule, MirrorKey.parse("a:2"), now + timedelta(hours=1)) is first
        following.records.of_rules[rule_key(rule)] = first.with_changes(version=1)
        following.follow(days=1)
        over = following.records.of_rules[rule_key(rule)]
        assert limit_reached(over, rule, MirrorKey.parse("a:3"), following.clock()).state is State.BLOCKED
