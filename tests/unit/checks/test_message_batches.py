"""Batches of messages: what they cost together, and that each message fails alone and no registry waits for another."""

import threading
from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import pytest

from local.images import make_image
from pullahead.checks.check import CheckResult
from pullahead.checks.handle_message import MessageOutcome
from pullahead.errors import AccessDeniedError, RateLimitedError, RegistryUnavailableError, Side, StorageError
from pullahead.messages import CheckRequest, ListRequest, Message, StartWaitingRequest
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
        return list(self.service.app.handle_messages([message.to_json() for message in messages]))

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
        batches, handled = Batches(*mirrors), 0
        requests = iter(batches.requests())
        while batch := list(islice(requests, 10)):  # as many as a batch of the template
            outcomes = batches.handle(*batch)
            assert errors(outcomes) == [None] * 10
            handled += sum(states(outcome).count(State.FRESH) for outcome in outcomes)
        assert handled == 1000
        assert (batches.count("load"), batches.count("published_digests")) == (10, 100)
        assert (batches.count("head_manifest"), batches.count("save"), batches.count("start")) == (1000, 0, 0)

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

    def head_manifest(self, reference: Reference) -> Descriptor:
        self._wait(reference.repository.registry)
        return super().head_manifest(reference)

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

        def hold_the_last(reference: Reference) -> Descriptor:
            if not first.is_set() and batches.count("head_manifest") == 8:
                assert first.wait(PATIENCE_SECONDS), "nothing was recorded before the last answer"
            return FakeUpstream.head_manifest(upstream, reference)

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


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("ThreadPoolExecutor"):
            thread.join(PATIENCE_SECONDS)
    assert threading.active_count() <= before
