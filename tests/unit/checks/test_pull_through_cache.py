"""What the pull through cache tells: new repositories are followed at once, what ECR cannot fetch is fetched here."""

from typing import Any

import pytest

from local.images import make_image
from pullahead.checks.pull_through_cache import with_cache_result
from pullahead.errors import StorageError
from pullahead.messages import CacheFailure, CheckRequest
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules, Source
from pullahead.rules.sources.findings import CachedRepository, Findings, TaggedRepository
from pullahead.rules.sources.state import RulesState
from tests.fakes.application import InMemoryService
from tests.fakes.refreshes import outcome
from tests.fakes.samples import rules
from tests.fakes.sources import QUAY

IMAGE, OTHER = make_image(seed=1), make_image(seed=2)
REPOSITORY = "quay/team/app"
KEY = MirrorKey(REPOSITORY, "1.0")
DENIED = CacheFailure("UpstreamAccessDenied", "the credentials are refused")
WITHIN = ("mirror/*", "quay/*")


class CacheService:
    """A service that knows a pull through cache rule, and nothing that it has cached."""

    def __init__(self, made: Rules | None = None, **findings: Any) -> None:
        self.service = InMemoryService(made or rules([]))
        self.found = {"cache_rules": (QUAY,), "within": WITHIN, **findings}
        self.service.rules_state.save(RulesState(findings=Findings(**self.found)))
        self.service.upstream.serve(IMAGE, "quay.io/team/app:1.0")
        self.script = self.service.script

    def hold(self, digest: Digest = IMAGE.digest) -> None:
        """Let ECR have cached the tag."""
        self.service.target.move_tag(REPOSITORY, "1.0", digest)

    def notify(self, failure: CacheFailure | None = None, digest: Digest | None = IMAGE.digest) -> list[Any]:
        """Let the event of an attempt come, minutes after the last one."""
        self.service.clock.advance(minutes=5)
        served = digest if failure is None else None
        now = self.service.clock()
        request = CheckRequest("cache", REPOSITORY, ("1.0",), now, served, cache_failure=failure)
        return list(self.service.handle(request))

    @property
    def record(self) -> MirrorRecord:
        return self.service.records.stored[KEY]

    @property
    def alerts(self) -> list[tuple[AlertKind, AlertKind | None]]:
        return [(alert.kind, alert.of) for alert in self.record.pending]

    def count(self, *operations: str) -> int:
        return self.script.count(*operations)


class TestSuccess:
    def test_newly_cached_repository_is_followed_at_once(self) -> None:
        world = CacheService()
        world.hold()
        world.notify()
        assert (world.record.state, world.record.upstream) == (State.FRESH, "quay.io/team/app:1.0")
        assert world.alerts == []
        assert (world.count("head_manifest"), world.count("start")) == (1, 0)

    def test_tag_that_upstream_replaced_meanwhile_is_refreshed(self) -> None:
        world = CacheService()
        world.hold(OTHER.digest)
        world.notify(digest=OTHER.digest)
        assert (world.record.state, world.count("start")) == (State.STALE, 1)

    def test_known_cached_tag_costs_one_read(self) -> None:
        world = CacheService()
        world.hold()
        world.notify()
        world.script.calls.clear()
        world.notify()
        assert world.count("load") == 1
        assert world.count("head_manifest", "published_digests", "claim", "save") == 0

    def test_refresh_of_a_newly_cached_tag_is_recorded(self) -> None:
        world = CacheService()
        world.hold(OTHER.digest)
        world.notify(digest=OTHER.digest)
        (request,) = world.service.refreshes.requests.values()
        result = world.service.app.record_outcome(outcome(request))
        assert (result.state, world.record.state) == ("FRESH", State.FRESH)

    @pytest.mark.parametrize(
        "findings",
        [
            {"within": ()},
            {"within": ("mirror/*", "docker-hub/*")},
            {"cache_rules": ()},
            {"tagged": (TaggedRepository(REPOSITORY, {"pullahead:ignore": "true"}),)},
        ],
    )
    def test_unfollowed_cached_tag_is_ignored(self, findings: dict[str, Any]) -> None:
        world = CacheService(**findings)
        world.hold()
        assert world.notify() == []
        assert world.service.records.stored == {}
        assert world.count("head_manifest", "published_digests") == 0

    @pytest.mark.parametrize(
        "made",
        [
            Rules((), (), "r", opted_out=frozenset({"quay/team/*"})),
            Rules((), (), "r", sources=frozenset({Source.FILE, Source.RESOURCE_TAGS})),
        ],
    )
    def test_opted_out_repository_is_ignored(self, made: Rules) -> None:
        world = CacheService(made)
        world.hold()
        assert world.notify() == []

    def test_cached_tag_named_by_the_rules_file_is_its_mirror(self) -> None:
        every, after = rules().mirrors[0].check_every, rules().mirrors[0].alert_after
        upstream = rules().mirrors[0].upstream
        world = CacheService(Rules((Mirror(upstream, REPOSITORY, "1.0", every, after),), (), "r"))
        world.service.upstream.serve(IMAGE, str(upstream))
        world.hold()
        world.notify()
        assert world.record.upstream == str(upstream)


class TestFailure:
    def test_tag_that_the_cache_could_not_fetch_is_refreshed_and_alerted(self) -> None:
        world = CacheService()
        results = world.notify(DENIED)
        assert (world.record.state, world.count("start")) == (State.MISSING, 1)
        assert world.alerts == [(AlertKind.CACHE_FAILED, None)]
        assert world.record.pending[0].detail == "UpstreamAccessDenied: the credentials are refused"
        assert results[1:] == [(REPOSITORY, "1.0", "UpstreamAccessDenied", "the credentials are refused")]

    def test_cache_failure_raises_one_alert_and_one_recovery(self) -> None:
        world = CacheService()
        for _ in range(3):
            world.notify(DENIED)
        world.hold()
        for _ in range(3):
            world.notify()
        assert world.alerts == [(AlertKind.CACHE_FAILED, None), (AlertKind.RECOVERED, AlertKind.CACHE_FAILED)]
        world.notify(DENIED)
        assert len(world.alerts) == 3

    def test_another_cause_raises_no_other_alert(self) -> None:
        world = CacheService()
        world.notify(DENIED)
        world.notify(CacheFailure("UpstreamTooManyRequests"))
        assert len(world.alerts) == 1
        assert world.record.cache_failure == "UpstreamTooManyRequests"

    def test_same_code_with_another_reason_is_not_written(self) -> None:
        world = CacheService()
        world.notify(DENIED)
        before = world.record
        assert with_cache_result(before, CacheFailure(DENIED.code, "request 4711"), world.service.clock()) is before

    def test_successful_refresh_does_not_end_a_cache_failure(self) -> None:
        world = CacheService()
        world.notify(DENIED)
        (request,) = world.service.refreshes.requests.values()
        world.service.app.record_outcome(outcome(request))
        assert world.record.state is State.FRESH
        assert world.alerts == [(AlertKind.CACHE_FAILED, None)]
        assert world.record.cache_failure is not None

    def test_cache_failure_that_cannot_be_recorded_retries_the_message(self) -> None:
        world = CacheService()
        world.script.fail("save", StorageError("no"), passing=1)
        with pytest.raises(StorageError):
            world.notify(DENIED)

    def test_cache_failure_of_an_unfollowed_tag_is_only_logged(self) -> None:
        world = CacheService(within=())
        assert [type(result).__name__ for result in world.notify(DENIED)] == ["CacheFailed"]
        assert world.service.records.stored == {}


def test_deleted_cached_tag_is_not_restored() -> None:
    world = CacheService(cached=(CachedRepository(REPOSITORY, ("1.0",)),))
    world.hold()
    world.notify()
    world.service.target.delete_tag(REPOSITORY, "1.0")
    world.script.calls.clear()
    world.service.handle(CheckRequest("delete", REPOSITORY, ("1.0",), world.service.clock()))
    assert world.count("head_manifest", "start", "save", "claim") == 0
