"""Batches of messages: what they cost together, and that each message fails alone and no registry waits for another."""

import threading
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from itertools import islice

import pytest

from local.images import make_image
from pullahead.checks.check import CheckResult
from pullahead.checks.handle_message import MessageOutcome
from pullahead.checks.put_back import LeftToSchedule, PutBack
from pullahead.checks.timetable import next_check, next_listing
from pullahead.errors import (
    AccessDeniedError,
    RateLimitedError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
    StorageError,
)
from pullahead.messages import CheckRequest, ListRequest, Message, ReferrerNamed, StartWaitingRequest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Descriptor, Reference, parse_reference
from pullahead.refresh.ports import Slot, StartResult
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rule
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.application import InMemoryService
from tests.fakes.memory import FakeRecords
from tests.fakes.records import fresh
from tests.fakes.samples import failed, mirror, rule, rules
from tests.fakes.script import Killed
from tests.fakes.upstream import FakeUpstream

FIRST, SECOND = make_image(seed=1), make_image(seed=2)
PATIENCE_SECONDS = 10.0  # of a test that waits for another thread


def of_host(host: str, tag: str = "1.0", repository: str | None = None) -> Mirror:
    """Make a mirror of a registry, by default in a repository named after it."""
    target = repository or f"mirror/{host}"
    return mirror(tag, repository=target)._replace(upstream=parse_reference(f"{host}/{target}:{tag}"))


class Batches:
    """A service whose mirrors are fresh, of upstreams that serve FIRST."""

    def __init__(self, *mirrors: Mirror, declared: Collection[Rule] = (), max_refreshes: int = 20) -> None:
        self.mirrors = mirrors
        self.service = InMemoryService(rules(mirrors, "rules-1", *declared), max_refreshes=max_refreshes)
        self.records, self.script, self.clock = self.service.records, self.service.script, self.service.clock
        for each in mirrors:
            self.service.upstream.serve(FIRST, str(each.upstream))
            self.service.target.move_tag(each.repository, each.tag, FIRST.digest)
            known = fresh(each.key, self.clock(), upstream_digest=FIRST.digest, published_digest=FIRST.digest)
            self.records.stored[each.key] = known.with_changes(upstream=str(each.upstream))

    def requests(self) -> list[CheckRequest]:
        """Make the messages of a schedule for which everything is due."""
        by_repository: dict[str, list[str]] = {}
        for each in self.mirrors:
            by_repository.setdefault(each.repository, []).append(each.tag)
        return [self.request(repository, *tags) for repository, tags in by_repository.items()]

    def request(self, repository: str, *tags: str, reason: str = "schedule") -> CheckRequest:
        return CheckRequest.from_event(
            {"reason": reason, "repository": repository, "tags": tags, "asked_at": self.clock().isoformat()}
        )

    def move(self, *mirrors: Mirror) -> None:
        for each in mirrors:
            self.service.upstream.serve(SECOND, str(each.upstream))

    def handle(self, *messages: Message) -> list[MessageOutcome]:
        bodies = [message.to_json() for message in messages]
        return list(self.service.app.handle_messages(bodies, self.service.remaining_seconds))

    def count(self, operation: str) -> int:
        return self.script.count(operation)

    def state(self, followed: Mirror) -> State:
        return self.records.stored[followed.key].state


def states(outcome: MessageOutcome) -> list[State | None]:
    return [result.state for result in outcome.results if isinstance(result, CheckResult)]


def errors(outcomes: list[MessageOutcome]) -> list[type[Exception] | None]:
    return [None if outcome.error is None else type(outcome.error) for outcome in outcomes]


class TestCalls:
    def test_thousand_tags_in_hundred_repositories(self) -> None:
        mirrors = [mirror(f"{n}", repository=f"mirror/{r:02}") for r in range(100) for n in range(10)]
        batches, handled, asked = Batches(*mirrors), 0, list[int]()
        for _ in range(4):
            requests = iter(batches.requests())
            while batch := list(islice(requests, 10)):  # as many as a batch of the template
                outcomes = batches.handle(*batch)
                assert errors(outcomes) == [None] * 10
                handled += sum(states(outcome).count(State.FRESH) for outcome in outcomes)
            asked.append(batches.count("published_digests") - sum(asked))
            batches.clock.advance(minutes=15)
        assert handled == 4000
        assert batches.count("load") == 40
        assert (asked[0] + asked[1], asked[2:]) == (100, asked[:2])  # each repository once in half an hour
        assert 30 <= asked[0] <= 70  # and they are spread over it
        assert (batches.count("head_manifest"), batches.count("save"), batches.count("start")) == (4000, 0, 0)

    def test_messages_of_one_repository_share_a_question_to_ecr(self) -> None:
        batches = Batches(*(mirror(f"{n}") for n in range(5)))
        batches.handle(*(batches.request("mirror/app", f"{n}") for n in range(5)))
        assert (batches.count("load"), batches.count("published_digests"), batches.count("head_manifest")) == (1, 1, 5)

    def test_scheduled_checks_read_records_that_may_be_old(self) -> None:
        batches = Batches(mirror())
        batches.handle(batches.request("mirror/app", "1.0"))
        assert batches.records.consistent_reads == 0
        for reason in ("push", "webhook", "manual", "delete"):
            batches.handle(batches.request("mirror/app", "1.0", reason=reason), batches.request("mirror/app", "1.0"))
        assert batches.records.consistent_reads == 4

    def test_old_record_is_read_again_before_anything_is_written(self) -> None:
        """The read was older than the outcome of a refresh, which a check must not undo."""
        batches = Batches(mirror())
        now, old = batches.records.stored[mirror().key], batches.records.stored[mirror().key].with_changes(version=1)
        stale = old.with_changes(state=State.STALE, unfresh_since=batches.clock(), upstream_digest=SECOND.digest)
        batches.records.stored[mirror().key] = stale

        def outcome_is_recorded() -> None:
            batches.records.stored[mirror().key] = now.with_changes(version=2)

        batches.script.before("save", outcome_is_recorded)
        (outcome,) = batches.handle(batches.request("mirror/app", "1.0"))
        assert (states(outcome), batches.state(mirror())) == ([State.FRESH], State.FRESH)
        assert batches.records.consistent_reads == 1
        assert batches.records.stored[mirror().key].version == 2


class PickyRecords(FakeRecords):
    """Records of which one cannot be read."""

    unreadable: MirrorKey | None = None

    def load(self, keys: Collection[MirrorKey], *, consistent: bool = True) -> Mapping[MirrorKey, MirrorRecord]:
        if self.unreadable in keys:
            raise StorageError(f"the item {self.unreadable} cannot be read")
        return super().load(keys, consistent=consistent)


class TestOneFailureAmongThree:
    ONE, TWO, THREE = (of_host("ghcr.io", repository=f"mirror/{name}") for name in ("one", "two", "three"))

    @pytest.fixture
    def batches(self) -> Batches:
        made = Batches(self.ONE, self.TWO, self.THREE)
        made.move(self.ONE, self.TWO, self.THREE)
        return made

    def refreshed(self, batches: Batches) -> list[str]:
        return sorted(request.repository for request in batches.service.refreshes.requests.values())

    def test_record_that_cannot_be_read_fails_its_message_alone(self, batches: Batches) -> None:
        picky = PickyRecords(batches.script)
        picky.stored, picky.unreadable = batches.records.stored, self.TWO.key
        vars(batches.service.app)["_records"] = picky
        assert errors(batches.handle(*batches.requests())) == [None, StorageError, None]
        assert self.refreshed(batches) == ["mirror/one", "mirror/three"]

    @pytest.mark.parametrize("kind", [RateLimitedError, RegistryUnavailableError])
    def test_repository_for_which_ecr_fails_fails_its_message_alone(
        self, batches: Batches, kind: type[RateLimitedError | RegistryUnavailableError]
    ) -> None:
        batches.script.fail("published_digests", failed(kind, side=Side.TARGET))
        outcomes = batches.handle(*batches.requests())
        assert sorted(map(str, errors(outcomes))) == sorted(map(str, [None, None, kind]))
        failing = outcomes.index(next(outcome for outcome in outcomes if outcome.error is not None))
        assert len(self.refreshed(batches)) == 2
        assert batches.requests()[failing].repository not in self.refreshed(batches)

    def test_refused_repository_blocks_its_mirrors_alone(self, batches: Batches) -> None:
        batches.script.fail("published_digests", failed(AccessDeniedError, side=Side.TARGET))
        outcomes = batches.handle(*batches.requests())
        assert errors(outcomes) == [None] * 3
        assert sorted(state for outcome in outcomes for state in states(outcome) if state) == [
            "BLOCKED",
            "STALE",
            "STALE",
        ]

    def test_defect_in_one_mirror_fails_its_message_alone(self, batches: Batches) -> None:
        batches.script.fail("head_manifest", KeyError("defect"))
        outcomes = batches.handle(*batches.requests())
        assert sorted(map(str, errors(outcomes))) == sorted(map(str, [None, None, KeyError]))
        assert len(self.refreshed(batches)) == 2

    def test_event_that_cannot_be_merged_fails_its_message_alone(self, batches: Batches) -> None:
        batches.script.fail("claim", StorageError("no"), passing=1)
        requests = [batches.request(each.repository, "1.0", reason="webhook") for each in batches.mirrors]
        assert errors(batches.handle(*requests)) == [None, StorageError, None]
        assert self.refreshed(batches) == ["mirror/one", "mirror/three"]

    def test_message_that_cannot_be_written_fails_alone(self, batches: Batches) -> None:
        batches.script.fail("save", StorageError("no"))
        outcomes = batches.handle(*batches.requests())
        assert errors(outcomes) == [None] * 3
        failures = [r for outcome in outcomes for r in outcome.results if isinstance(r, CheckResult) and r.error]
        assert len(failures) == 1
        assert len(self.refreshed(batches)) == 2

    def test_rules_that_cannot_be_read_fail_the_checks_and_nothing_else(self, batches: Batches) -> None:
        batches.script.fail("paused_rules", StorageError("no"), times=2)
        batches.service.slots.held["ended"] = Slot("ended", "ghcr.io", batches.clock())
        outcomes = batches.handle(batches.requests()[0], StartWaitingRequest("ended"), batches.requests()[1])
        assert errors(outcomes) == [StorageError, None, StorageError]
        assert batches.service.slots.held == {}

    def test_start_of_waiting_refreshes_that_fails_fails_the_messages_whose_refreshes_wait(self) -> None:
        batches = Batches(self.ONE, self.TWO, self.THREE, max_refreshes=1)
        batches.move(self.ONE, self.TWO)
        batches.script.fail("taken", StorageError("no"))
        outcomes = batches.handle(*batches.requests())
        started = [r.started for outcome in outcomes for r in outcome.results if isinstance(r, CheckResult)]
        assert started == [StartResult.STARTED, StartResult.WAITING, None]
        assert errors(outcomes) == [None, StorageError, None]


class TestSameMirrorTwice:
    def test_requests_are_handled_in_their_order(self) -> None:
        batches = Batches(mirror())
        batches.move(mirror())
        scheduled = batches.request("mirror/app", "1.0")
        outcomes = batches.handle(scheduled, batches.request("mirror/app", "1.0", reason="pull"), scheduled)
        assert [states(outcome) for outcome in outcomes] == [[State.STALE]] * 3
        # What is written is the transition, and that its event was sent.
        assert (batches.count("load"), batches.count("head_manifest"), batches.count("save")) == (1, 3, 2)
        assert len(batches.service.refreshes.requests) == 1

    def test_other_tags_of_a_repeated_request_are_checked_once_each(self) -> None:
        batches = Batches(*(mirror(tag) for tag in "abc"))
        batches.handle(batches.request("mirror/app", "a", "b"), batches.request("mirror/app", "b", "c"))
        assert (batches.count("head_manifest"), batches.count("published_digests")) == (4, 2)


class HeldUpstream(FakeUpstream):
    """An upstream of which some registries answer only when they are released."""

    def __init__(self, service: InMemoryService, *held: str) -> None:
        vars(self).update(vars(service.upstream))
        self.held, self.released = held, threading.Event()
        vars(service.app)["_upstream"] = self

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:
        self._wait(reference.repository.registry)
        return super().head_manifest(reference, by_event=by_event)

    def list_tags(self, repository: object) -> tuple[str, ...]:
        self._wait("list")
        return super().list_tags(repository)  # type: ignore[arg-type]

    def _wait(self, what: str) -> None:
        if what in self.held and not self.released.wait(PATIENCE_SECONDS):
            raise AssertionError(f"{what} was never released: something waited for it")


class TestSlowRegistry:
    """Each test fails unless what it waits for happens while the slow registry holds its answers back."""

    def test_registries_do_not_wait_for_each_other(self) -> None:
        slow = [of_host("slow.example", f"{n}") for n in range(100)]
        others = [of_host(f"r{n}.example", f"{m}") for n in range(9) for m in range(10)]
        batches = Batches(*slow, *others, max_refreshes=200)
        batches.move(*slow, *others)
        upstream = HeldUpstream(batches.service, "slow.example")
        for _ in others[1:]:
            batches.script.before("start", lambda: None)
        batches.script.before("start", upstream.released.set)  # the last refresh of the others
        batches.handle(*batches.requests())
        assert {batches.state(each) for each in (*slow, *others)} == {State.STALE}

    def test_tags_of_one_registry_are_recorded_as_they_come(self) -> None:
        tags = [mirror(f"{n}") for n in range(9)]
        batches = Batches(*tags)
        batches.move(*tags)
        upstream = HeldUpstream(batches.service)
        upstream.held = ()
        first = threading.Event()

        def hold_the_last(reference: Reference, *, by_event: bool = False) -> Descriptor:
            if not first.is_set() and batches.count("head_manifest") == 8:
                assert first.wait(PATIENCE_SECONDS), "nothing was recorded before the last answer"
            return FakeUpstream.head_manifest(upstream, reference, by_event=by_event)

        vars(upstream)["head_manifest"] = hold_the_last
        batches.script.before("save", first.set)
        batches.handle(*batches.requests())
        assert {batches.state(each) for each in tags} == {State.STALE}

    def test_checks_do_not_wait_for_a_listing(self) -> None:
        choosing = rule(tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),)), name="listed")
        batches = Batches(of_host("other.example"), declared=[choosing])
        batches.move(*batches.mirrors)
        batches.service.upstream.serve(FIRST, "ghcr.io/team/app:9")
        upstream = HeldUpstream(batches.service, "list")
        batches.script.before("start", upstream.released.set)
        outcomes = batches.handle(ListRequest(rule="listed", asked_at=batches.clock()), *batches.requests())
        assert errors(outcomes) == [None, None]
        assert [request.tags for request in batches.service.queue.sent] == [("9",)]

    def test_killed_function_leaves_nothing_half_done(self) -> None:
        batches = Batches(of_host("one.example"), of_host("two.example"))
        batches.move(*batches.mirrors)
        batches.script.fail("start", Killed("start"))
        with pytest.raises(Killed):
            batches.handle(*batches.requests())
        batches.handle(*batches.requests())
        assert len(batches.service.refreshes.requests) == 2
        assert len({request.name for request in batches.service.refreshes.requests.values()}) == 2


def not_sent(seconds: float = 40) -> RateLimitedError:
    return RateLimitedError(
        "deferred, not sent", operation="HEAD", side=Side.UPSTREAM, reference="r", retry_after_seconds=seconds
    )


def put_back(outcomes: list[MessageOutcome]) -> list[PutBack]:
    return [each for outcome in outcomes for each in outcome.results if isinstance(each, PutBack)]


class TestPutBack:
    """Mirrors are checked daily here, so that the schedule queues none of them anew."""

    TAGS = tuple(of_host("paced.example", f"{n}")._replace(check_every=timedelta(days=1)) for n in range(5))
    CHOOSING = rule(
        tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),)), name="listed", check_every=timedelta(days=1)
    )

    @pytest.fixture
    def batches(self) -> Batches:
        made = Batches(*self.TAGS, of_host("other.example"), declared=[self.CHOOSING])
        made.service.upstream.serve(FIRST, "ghcr.io/team/app:9")
        made.clock.now = next_check(self.TAGS[0], made.clock())
        return made

    def requests(self, batches: Batches) -> list[CheckRequest]:
        return [batches.request("mirror/paced.example", *"01234"), batches.request("mirror/other.example", "1.0")]

    def test_what_a_rate_does_not_allow_comes_again_and_the_rest_is_done(self, batches: Batches) -> None:
        PacedUpstream(batches.service, "paced.example", allowed=3)
        outcomes = batches.handle(*self.requests(batches))
        assert errors(outcomes) == [None, None]
        assert sorted(map(str, states(outcomes[0]))) == ["FRESH"] * 5  # as they were
        (later,) = put_back(outcomes)
        sent = list(zip(batches.service.queue.sent, batches.service.queue.delays, strict=True))
        ((again, delay),) = [each for each in sent if each[0].reason == "schedule"]  # others look for referrers
        assert (later.request, later.delay_seconds, later.checks) == (again, delay, 2)
        assert 40 <= delay <= 60
        assert again.asked_at == self.requests(batches)[0].asked_at
        assert batches.count("head_manifest") == 3 + 1
        assert batches.count("save") == 0
        batches.clock.advance(seconds=delay)
        PacedUpstream(batches.service, "paced.example", allowed=3)
        assert put_back(batches.handle(again)) == []
        assert batches.count("head_manifest") == 5 + 1

    def test_nothing_is_asked_of_ecr_where_nothing_could_be_asked_upstream(self, batches: Batches) -> None:
        PacedUpstream(batches.service, "paced.example", allowed=0)
        batches.handle(self.requests(batches)[0])
        assert (batches.count("published_digests"), batches.count("load")) == (0, 1)

    def test_what_the_schedule_queues_anew_is_not_put_back(self, batches: Batches) -> None:
        late = self.requests(batches)[0]
        batches.clock.advance(hours=23, minutes=59, seconds=30)
        PacedUpstream(batches.service, "paced.example", allowed=0)
        (outcome,) = batches.handle(late)
        assert (put_back([outcome]), batches.service.queue.sent, outcome.error) == ([], [], None)
        deferred = [each for each in outcome.results if isinstance(each, CheckResult) and each.deferred]
        assert len(deferred) == 5

    def test_message_that_cannot_be_put_back_is_retried_alone(self, batches: Batches) -> None:
        PacedUpstream(batches.service, "paced.example", allowed=0)
        batches.script.fail("send", StorageError("no"))
        assert errors(batches.handle(*self.requests(batches))) == [StorageError, None]

    def test_message_that_is_retried_is_not_put_back_besides(self, batches: Batches) -> None:
        batches.move(*self.TAGS)
        PacedUpstream(batches.service, "paced.example", allowed=1)
        batches.script.fail("save", StorageError("no"))
        (outcome,) = batches.handle(self.requests(batches)[0])
        assert [each.error is not None for each in outcome.results if isinstance(each, CheckResult)].count(True) == 1
        assert batches.service.queue.sent == []

    def test_listing_that_a_rate_does_not_allow_comes_again(self, batches: Batches) -> None:
        batches.script.fail("list_tags", not_sent())
        listing = ListRequest(rule="listed", asked_at=next_listing(self.CHOOSING, batches.clock()))
        batches.clock.now = listing.asked_at
        (outcome,) = batches.handle(listing)
        assert [each.request for each in put_back([outcome])] == batches.service.queue.listings == [listing]
        assert batches.records.of_rules == {}
        batches.handle(listing)
        assert [request.tags for request in batches.service.queue.sent] == [("9",)]

    def test_listing_that_has_come_until_the_next_one_is_recorded_as_failed(self, batches: Batches) -> None:
        batches.script.fail("list_tags", not_sent())
        listing = ListRequest(rule="listed", asked_at=next_listing(self.CHOOSING, batches.clock()))
        batches.clock.now = listing.asked_at + timedelta(days=1)
        batches.handle(listing)
        assert [record.state for record in batches.records.of_rules.values()] == [State.UNKNOWN]


class TestTimeOfTheFunction:
    def test_what_there_is_no_time_for_comes_again_at_once(self) -> None:
        batches = Batches(*(of_host("a.example", f"{n}") for n in range(3)))
        batches.clock.now = next_check(batches.mirrors[0], batches.clock())
        batches.service.seconds_left = 30.0
        (request,) = batches.requests()
        (outcome,) = batches.handle(request)
        assert put_back([outcome]) == [PutBack(request, 0)]
        assert (batches.service.queue.sent, batches.service.queue.delays) == ([request], [0])
        assert (batches.count("head_manifest"), batches.count("published_digests"), outcome.error) == (0, 0, None)
        assert batches.records.writes == 0

    def test_what_was_found_before_the_time_ended_is_recorded(self) -> None:
        tags = [of_host("a.example", f"{n:02}") for n in range(50)]
        batches = Batches(*tags)
        batches.clock.now = next_check(batches.mirrors[0], batches.clock())
        batches.move(*tags)
        for _ in range(20):
            batches.script.before("head_manifest", lambda: None)
        batches.script.before("head_manifest", lambda: setattr(batches.service, "seconds_left", 10.0))
        (outcome,) = batches.handle(*batches.requests())
        stale = {each.tag for each in tags if batches.state(each) is State.STALE}
        again = {tag for request in batches.service.queue.sent for tag in request.tags}
        assert 10 <= len(stale) <= 29
        assert stale | again == {each.tag for each in tags}
        assert stale & again == set()
        assert outcome.error is None
        started = {request.tag for request in batches.service.refreshes.requests.values()}
        waiting = {key.tag for key in batches.service.waiting_refreshes.waiting}  # all but twenty
        assert started | waiting == stale

    def test_looks_for_referrers_come_last_and_later_if_there_is_no_time(self) -> None:
        batches = Batches(of_host("a.example"))
        look = batches.request("mirror/a.example", "1.0", reason="referrers")
        batches.service.seconds_left = 50.0
        first, second = batches.handle(look, *batches.requests())
        assert (put_back([first]), states(second)) == ([PutBack(look, 30)], [State.FRESH])
        assert batches.service.queue.sent == [look]

    def test_looks_at_mirrors_for_which_there_is_no_time_left_are_put_back(self) -> None:
        tags = [of_host("a.example", f"{n}") for n in range(3)]
        batches = Batches(*tags)
        batches.script.before("list_referrers", lambda: setattr(batches.service, "seconds_left", 60.0))
        (outcome,) = batches.handle(batches.request("mirror/a.example", "0", "1", "2", reason="referrers"))
        ((again, delay),) = put_back([outcome])
        assert isinstance(again, CheckRequest)
        assert (again.tags, delay) == (("1", "2"), 30)
        assert batches.service.queue.sent == [again]

    def test_look_that_never_has_time_waits_longer_each_time_and_is_left_to_the_schedule_after_an_hour(self) -> None:
        batches = Batches(of_host("a.example"))
        request, began = batches.request("mirror/a.example", "1.0", reason="referrers"), batches.clock()
        batches.service.seconds_left = 50.0
        waits = list[int]()
        while len(waits) < 100:
            (outcome,) = batches.handle(request)
            if not (found := put_back([outcome])):
                break
            waits.append(found[0].delay_seconds)
            batches.clock.advance(seconds=waits[-1])
        assert waits == [30, 30, 60, 120, 240, 480, 900, 900]
        assert batches.clock() - began <= timedelta(hours=1)
        why = "for an hour there was no time to look for its referrers"
        assert outcome.results == [LeftToSchedule("mirror/a.example", 1, why)]

    def test_webhook_for_more_mirrors_than_are_looked_up_says_how_many_are_left(self) -> None:
        batches = Batches(*(of_host("a.example", f"{number}") for number in range(1001)))
        (outcome,) = batches.handle(ReferrerNamed("a.example/mirror/a.example", f"sha256:{0:064}", batches.clock()))
        *_, left = outcome.results
        assert isinstance(left, LeftToSchedule)
        assert (left.repository, left.mirrors) == ("a.example/mirror/a.example", 1)

    def test_slow_listing_of_referrers_does_not_make_checks_leave_the_registry_alone(self) -> None:
        batches = Batches(of_host("a.example"))
        batches.script.fail("list_referrers", failed(RegistryTimeoutError), times=9)
        for _ in range(3):
            batches.handle(batches.request("mirror/a.example", "1.0", reason="referrers"))
        (outcome,) = batches.handle(*batches.requests())
        assert states(outcome) == [State.FRESH]


class PacedUpstream(FakeUpstream):
    """An upstream of which one registry allows so many requests for now."""

    def __init__(self, service: InMemoryService, registry: str, allowed: int) -> None:
        vars(self).update(vars(service.upstream))
        self.registry, self.allowed, self.lock = registry, allowed, threading.Lock()
        vars(service.app)["_upstream"] = self
        vars(service.app).pop("_check_mirrors", None)
        vars(service.app).pop("_handle_messages", None)

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:
        if reference.repository.registry == self.registry:
            with self.lock:
                self.allowed -= 1
                if self.allowed < 0:
                    raise not_sent()
        return super().head_manifest(reference, by_event=by_event)


class TestSilentRegistry:
    def test_its_mirrors_become_unknown_and_the_others_are_checked(self) -> None:
        silent = [of_host("silent.example", f"{n}") for n in range(100)]
        others = [of_host("other.example", f"{n}") for n in range(10)]
        batches = Batches(*silent, *others)
        upstream = SilentUpstream(batches.service, "silent.example")
        outcomes = batches.handle(*batches.requests())
        assert errors(outcomes) == [None, None]
        assert {batches.state(each) for each in silent} == {State.UNKNOWN}
        assert {batches.state(each) for each in others} == {State.FRESH}
        assert upstream.asked <= 16
        texts = {batches.records.stored[each.key].error or "" for each in silent}
        assert len(texts) == 100  # each names its own tag
        assert any("did not answer another request just now" in text for text in texts)

    def test_its_mirrors_are_checked_again_before_long_and_once_only(self) -> None:
        silent = [of_host("silent.example", f"{n}")._replace(check_every=timedelta(hours=6)) for n in range(100)]
        batches = Batches(*silent)
        batches.clock.now = next_check(silent[0], batches.clock())
        SilentUpstream(batches.service, "silent.example")
        batches.handle(*batches.requests())
        (again,), (delay,) = batches.service.queue.sent, batches.service.queue.delays
        assert set(again.tags) == {each.tag for each in silent}
        assert 300 <= delay <= 450
        batches.clock.advance(seconds=delay)
        batches.handle(again)
        assert len(batches.service.queue.sent) == 1


class SilentUpstream(FakeUpstream):
    """An upstream of which one registry times out."""

    def __init__(self, service: InMemoryService, registry: str) -> None:
        vars(self).update(vars(service.upstream))
        self.registry, self.asked = registry, 0
        vars(service.app)["_upstream"] = self

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:
        if reference.repository.registry == self.registry:
            self.asked += 1
            raise RegistryTimeoutError("timed out", operation="HEAD", side=Side.UPSTREAM, reference=str(reference))
        return super().head_manifest(reference, by_event=by_event)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(PATIENCE_SECONDS)
    assert threading.active_count() <= before
