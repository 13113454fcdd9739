"""Which checks a tick queues, and what a tick that fails leaves for the next."""

import math
from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest

from pullahead.checks.schedule import Scheduled, schedule_checks
from pullahead.checks.timetable import SCHEME
from pullahead.errors import StorageError
from pullahead.messages import ListRequest
from pullahead.mirrors.store import Heartbeat
from pullahead.oci import parse_reference
from pullahead.rules.model import Rules
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords
from tests.fakes.samples import mirror, rule, rules
from tests.fakes.script import Killed, Script

REPOSITORIES = tuple(f"mirror/{number:02}" for number in range(50))
TAGS = ("1", "2", "3", "4", "5")
ALL = sorted(f"{repository}:{tag}" for repository in REPOSITORIES for tag in TAGS)


class Scheduling:
    """A service with 250 mirrors in 50 repositories that are checked every 15 minutes."""

    def __init__(self) -> None:
        self.script = Script()
        self.records, self.queue, self.clock = FakeRecords(self.script), FakeCheckQueue(self.script), FakeClock()
        self.rules = rules([mirror(tag, repository=repository) for repository in REPOSITORIES for tag in TAGS])

    def tick(self, known: Rules | None = None, **later: float) -> Scheduled:
        self.clock.advance(**later)
        return schedule_checks(known or self.rules, self.records, self.queue, self.clock())

    @property
    def tags(self) -> list[str]:
        return [f"{request.repository}:{tag}" for request in self.queue.sent for tag in request.tags]


def test_first_schedule_queues_every_mirror_by_repository() -> None:
    scheduling = Scheduling()
    assert scheduling.tick() == Scheduled(250, 250)
    assert [(request.repository, request.tags) for request in scheduling.queue.sent] == [
        (repository, TAGS) for repository in REPOSITORIES
    ]
    first = scheduling.queue.sent[0]
    assert (first.reason, first.digest, first.asked_at) == ("schedule", None, scheduling.clock())


def test_message_has_at_most_hundred_tags() -> None:
    scheduling = Scheduling()
    scheduling.tick(rules([mirror(f"{n}") for n in range(250)]))
    assert [len(request.tags) for request in scheduling.queue.sent] == [100, 100, 50]


def test_schedules_over_an_interval_queue_every_mirror_once() -> None:
    scheduling = Scheduling()
    scheduling.tick()
    scheduling.queue.sent.clear()
    for _ in range(3):
        assert scheduling.tick(minutes=5).due < 250
    assert sorted(scheduling.tags) == ALL


@pytest.mark.parametrize(("tags", "repositories"), [(1000, 100), (1000, 1000), (300, 1)])
def test_interval_costs_one_message_for_each_repository_and_hundred_tags(tags: int, repositories: int) -> None:
    scheduling = Scheduling()
    each = range(tags // repositories)
    known = rules([mirror(f"{n}", repository=f"mirror/{r:04}") for r in range(repositories) for n in each])
    scheduling.tick(known)
    scheduling.queue.sent.clear()
    for _ in range(15):
        scheduling.tick(known, minutes=1)
    assert len(scheduling.tags) == tags
    assert len(scheduling.queue.sent) == repositories * math.ceil(len(each) / 100)


def test_heartbeat_of_a_version_with_other_times_makes_every_mirror_due_once() -> None:
    """In version 0.1 each mirror had times of its own: some would wait for up to two intervals else."""
    scheduling = Scheduling()
    scheduling.records.heartbeat = Heartbeat(scheduling.clock(), "rules-1")
    assert scheduling.tick(minutes=5).due == 250
    assert scheduling.tick(seconds=1).due < 250


def test_schedule_with_nothing_due_writes_a_heartbeat() -> None:
    scheduling = Scheduling()
    scheduling.tick()
    scheduling.queue.sent.clear()
    assert scheduling.tick().due == 0
    assert scheduling.queue.sent == []
    assert scheduling.records.heartbeat == Heartbeat(scheduling.clock(), "rules-1", SCHEME)


def test_changed_rules_make_every_mirror_due() -> None:
    scheduling = Scheduling()
    scheduling.tick()
    assert scheduling.tick(rules([mirror(), mirror("2")], "rules-2")) == Scheduled(2, 2)


def test_missed_schedules_make_every_mirror_due_once() -> None:
    scheduling = Scheduling()
    scheduling.tick()
    assert scheduling.tick(days=3).due == 250


def test_heartbeat_of_the_future_makes_every_mirror_due_once() -> None:
    scheduling = Scheduling()
    scheduling.tick()
    scheduling.records.heartbeat = Heartbeat(scheduling.clock() + timedelta(days=365), "rules-1", SCHEME)
    assert scheduling.tick(minutes=5).due == 250
    assert scheduling.tick().due == 0


def test_clock_that_is_a_little_behind_makes_nothing_due_again() -> None:
    scheduling = Scheduling()
    scheduling.tick()
    assert scheduling.tick(seconds=-30).due == 0


def _calls_of_a_schedule() -> list[str]:
    scheduling = Scheduling()
    scheduling.tick()
    scheduling.script.resume()
    scheduling.tick(minutes=15)
    return list(scheduling.script.calls)


def test_heartbeat_is_written_last() -> None:
    first, *sends, last = _calls_of_a_schedule()
    assert (first, set(sends), last) == ("load_heartbeat", {"send"}, "save_heartbeat")


@pytest.mark.parametrize("call", range(len(_calls_of_a_schedule())))
def test_killed_schedule_is_repeated_by_the_next(call: int) -> None:
    """Sent twice is cheap, never sent is not."""
    scheduling = Scheduling()
    scheduling.tick()
    scheduling.queue.sent.clear()
    scheduling.script.resume()
    scheduling.script.kill_at = call
    with pytest.raises(Killed):
        scheduling.tick(minutes=15)
    scheduling.script.resume()
    assert scheduling.tick(seconds=1).due >= 250
    assert sorted(set(scheduling.tags)) == ALL
    assert scheduling.script.calls[-1] == "save_heartbeat"


def test_failing_queue_keeps_the_heartbeat() -> None:
    scheduling = Scheduling()
    scheduling.tick()
    before = scheduling.records.heartbeat
    scheduling.script.fail("send", StorageError("no"))
    with pytest.raises(StorageError):
        scheduling.tick(minutes=15)
    assert scheduling.records.heartbeat == before


class TestListings:
    CHOOSING = rule(tags=TagSelection(names=("named",), patterns=(TagPattern(PatternKind.GLOB, "*"),)), name="choosing")
    NAMESPACE = rule("1.0", upstream="quay.io/team/*", repository="quay/{name}", name="namespace")
    NAMING = rule("named", name="naming")

    def test_only_rules_that_select_are_listed(self) -> None:
        scheduling = Scheduling()
        scheduled = scheduling.tick(rules([], "r", self.CHOOSING, self.NAMESPACE, self.NAMING))
        assert (scheduled.mirrors, scheduled.due, scheduled.listings) == (0, 0, 2)
        now = scheduling.clock()
        assert scheduling.queue.listings == [ListRequest(rule=name, asked_at=now) for name in ("choosing", "namespace")]

    def test_each_rule_is_listed_once_in_its_interval(self) -> None:
        scheduling = Scheduling()
        slow = self.NAMESPACE._replace(check_every=timedelta(hours=1))
        known = rules([], "r", self.CHOOSING, slow)
        scheduling.tick(known)
        scheduling.queue.listings.clear()
        for _ in range(12):
            scheduling.tick(known, minutes=5)
        listed = [request.rule for request in scheduling.queue.listings]
        assert (listed.count("choosing"), listed.count("namespace")) == (4, 1)


def test_rules_without_mirrors_queue_nothing() -> None:
    assert Scheduling().tick(rules([])) == Scheduled(0, 0)


def test_mirrors_keep_their_own_intervals() -> None:
    scheduling = Scheduling()
    slow, fast = mirror("slow", check_every=timedelta(hours=24)), mirror("fast", check_every=timedelta(minutes=5))
    scheduling.tick(rules([slow, fast]))
    scheduling.queue.sent.clear()
    for _ in range(24 * 12):
        scheduling.tick(rules([slow, fast]), minutes=5)
    assert (scheduling.tags.count(str(slow.key)), scheduling.tags.count(str(fast.key))) == (1, 24 * 12)
    assert len(scheduling.queue.sent) == 24 * 12  # when the slow one is due, so is the fast one


class TestRates:
    """Checks of a registry with a rate come as it allows them, and always at the same moment of their interval."""

    def sent(self, host: str, tags: int, *, of_each: int = 10) -> list[tuple[int, int]]:
        """Schedule new tags of a host; return the delays of the messages, and how many tags each has."""
        upstreams = [parse_reference(f"{host}/team/app:{number}") for number in range(tags)]
        made = [
            mirror(str(number), repository=f"mirror/{number // of_each:04}")._replace(upstream=upstream)
            for number, upstream in enumerate(upstreams)
        ]
        scheduling = Scheduling()
        scheduling.tick(rules(made))
        sizes = [len(each.tags) for each in scheduling.queue.sent]
        scheduling.queue.delays.remove(0)  # of what starts waiting refreshes
        return list(zip(scheduling.queue.delays, sizes, strict=True))

    def test_registry_without_a_rate_is_asked_as_fast_as_functions_handle_messages(self) -> None:
        sent = self.sent("registry.example.com", 5000)
        assert max(Counter(delay for delay, _ in sent).values()) == 75  # in five seconds
        assert max(delay for delay, _ in sent) == 30

    @pytest.mark.parametrize(("host", "tags"), [("docker.io", 50), ("public.ecr.aws", 5), ("registry.example", 700)])
    def test_few_checks_are_not_delayed(self, host: str, tags: int) -> None:
        assert {delay for delay, _ in self.sent(host, tags)} == {0}

    @pytest.mark.parametrize(("host", "per_second"), [("docker.io", 0.5), ("public.ecr.aws", 1.0), ("quay.io", 30.0)])
    def test_delays_are_those_of_the_rate(self, host: str, per_second: float) -> None:
        sent = self.sent(host, 400)
        for after in (100, 300, 600):
            due = sum(tags for delay, tags in sent if delay < after)
            assert due <= per_second * after + 10 or due == 400

    @pytest.mark.parametrize("host", ["registry.example.com", "quay.io"])
    def test_each_repository_is_checked_once_in_its_interval_and_at_the_same_moment_of_it(self, host: str) -> None:
        upstream = parse_reference(f"{host}/team/app:1")
        made = [
            mirror(str(tag), repository=f"mirror/{number:04}")._replace(upstream=upstream)
            for number in range(300)
            for tag in range(10)
        ]
        scheduling, known = Scheduling(), rules(made)
        scheduling.tick(known)
        came: dict[str, list[float]] = {}
        for run in range(9):
            scheduling.queue.sent.clear()
            scheduling.queue.delays.clear()
            scheduling.tick(known, minutes=5)
            scheduling.queue.delays.remove(0)  # of what starts waiting refreshes
            for each, delay in zip(scheduling.queue.sent, scheduling.queue.delays, strict=True):
                came.setdefault(each.repository, []).append(300.0 * run + delay)
        assert len(came) == 300
        gaps = [later - earlier for moments in came.values() for earlier, later in pairwise(moments)]
        assert len(gaps) == 600
        assert {gap for gap in gaps if abs(gap - 900) > 20} == set()
        assert len({moment for moments in came.values() for moment in moments}) > 100  # not all at once

    def test_message_has_no_more_tags_than_the_rate_allows_at_once(self) -> None:
        assert {tags for _, tags in self.sent("public.ecr.aws", 400, of_each=100)} == {5}
        assert {tags for _, tags in self.sent("quay.io", 400, of_each=100)} == {100}

    def test_what_has_no_place_before_the_longest_delay_comes_then(self) -> None:
        sent = self.sent("docker.io", 1000)
        assert max(delay for delay, _ in sent) == 900
        assert sum(tags for _, tags in sent) == 1000
