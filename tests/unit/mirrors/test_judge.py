"""What a check concludes, from every observation after every state."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from pullahead.errors import (
    AccessDeniedError,
    NotFoundError,
    PullaheadError,
    RateLimitedError,
    RegistryUnavailableError,
)
from pullahead.mirrors.judge import Observation, Verdict, judge, needs_no_upstream_check
from pullahead.mirrors.record import MirrorRecord, Published, RefreshFailure, State
from pullahead.oci import Descriptor, media_types
from tests.fakes.samples import KEY, UPSTREAM, failed, mirror, root

T0 = datetime(2026, 11, 24, 9, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NEW, OLD = root("new"), root("old")
DENIED = failed(AccessDeniedError)

FRESH = Observation(NEW, NEW.digest)
STALE = Observation(NEW, OLD.digest)
MISSING = Observation(NEW, None)
GONE = Observation(failed(NotFoundError), OLD.digest)
UNREACHABLE = Observation(failed(RegistryUnavailableError), OLD.digest)


def record(state: State, **more: object) -> MirrorRecord:
    unfresh = None if state is State.FRESH else T0
    known = MirrorRecord(
        KEY, UPSTREAM, state, T0, unfresh, upstream_digest=OLD.digest, published_digest=OLD.digest, version=3
    )
    return known.with_changes(**more)


def blocked(retry_at: datetime = T0 + 6 * HOUR, wanted: Descriptor = NEW) -> MirrorRecord:
    failure = RefreshFailure(wanted.digest, "TagImmutableError", "the tag is immutable", True, 1, retry_at)
    return record(State.BLOCKED, upstream_digest=wanted.digest, failure=failure)


def judged(observed: Observation, before: MirrorRecord | None, after: timedelta = MINUTE) -> Verdict:
    return judge(observed, before, mirror(), T0 + after)


class Case(NamedTuple):
    observed: Observation
    state: State
    refresh: bool


CASES = [
    Case(FRESH, State.FRESH, False),
    Case(STALE, State.STALE, True),
    Case(MISSING, State.MISSING, True),
    Case(GONE, State.GONE, False),
    Case(Observation(failed(NotFoundError), None), State.GONE, False),
    Case(UNREACHABLE, State.UNKNOWN, False),
    Case(Observation(failed(RegistryUnavailableError), None), State.UNKNOWN, False),
    Case(Observation(failed(AccessDeniedError), None), State.UNKNOWN, False),
    Case(Observation(failed(RateLimitedError), None), State.UNKNOWN, False),
    Case(Observation(NEW, DENIED), State.BLOCKED, False),
    Case(Observation(failed(RegistryUnavailableError), DENIED), State.BLOCKED, False),
]


@pytest.mark.parametrize("before", [None, *map(record, State)], ids=lambda known: known.state if known else "NEW")
@pytest.mark.parametrize("case", CASES)
def test_state_follows_from_the_observation_alone(case: Case, before: MirrorRecord | None) -> None:
    verdict = judged(case.observed, before)
    assert (verdict.record.state, verdict.refresh) == (case.state, case.refresh)
    kept = before is not None and before.state is case.state
    assert verdict.record.since == (T0 if kept else T0 + MINUTE)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("before", [None, *map(record, State)], ids=lambda known: known.state if known else "NEW")
def test_same_observation_gives_the_same_verdict(case: Case, before: MirrorRecord | None) -> None:
    once = judged(case.observed, before).record
    assert judged(case.observed, once, 2 * MINUTE).record.says_the_same_as(once)


@pytest.mark.parametrize("before", [record(state) for state in State], ids=lambda known: known.state)
@pytest.mark.parametrize("observed", [UNREACHABLE, GONE])
def test_unreachable_upstream_changes_no_known_digest(observed: Observation, before: MirrorRecord) -> None:
    after = judged(observed, before).record
    assert (after.upstream_digest, after.published_digest) == (OLD.digest, OLD.digest)


def test_refusal_by_ecr_keeps_the_published_digest() -> None:
    after = judged(Observation(NEW, DENIED), record(State.FRESH)).record
    assert (after.published_digest, after.error_kind) == (OLD.digest, "AccessDeniedError")


def test_unfresh_since_is_kept_until_the_mirror_is_fresh() -> None:
    known = None
    for minutes, observed in enumerate([MISSING, UNREACHABLE, STALE, GONE, UNREACHABLE]):
        known = judged(observed, known, minutes * MINUTE).record
        assert known.unfresh_since == T0
    assert judged(FRESH, known).record.unfresh_since is None


def test_changed_error_text_is_no_transition() -> None:
    before = judged(Observation(failed(RateLimitedError, "retry after 1 s"), None), None).record
    after = judged(Observation(failed(RateLimitedError, "retry after 2 s"), None), before, 2 * MINUTE).record
    assert after.error != before.error
    assert after.says_the_same_as(before)


def test_changed_error_class_is_a_transition() -> None:
    before = judged(Observation(failed(RateLimitedError), None), None).record
    assert not judged(UNREACHABLE, before).record.says_the_same_as(before)


def test_reason_tells_an_overwritten_tag_from_a_moved_upstream() -> None:
    fresh = record(State.FRESH, upstream_digest=NEW.digest, published_digest=NEW.digest)
    assert judged(STALE, fresh).reason == "the tag was overwritten in ECR"
    assert judged(STALE, record(State.FRESH)).reason == "upstream moved"


class TestBlocked:
    @pytest.mark.parametrize("observed", [STALE, MISSING])
    def test_blocked_mirror_is_not_retried_early(self, observed: Observation) -> None:
        verdict = judged(observed, blocked(), 6 * HOUR - MINUTE)
        assert (verdict.record.state, verdict.refresh, verdict.reason) == (State.BLOCKED, False, "the tag is immutable")

    def test_blocked_mirror_is_retried_in_time_and_stays_blocked(self) -> None:
        verdict = judged(STALE, blocked(), 6 * HOUR)
        assert (verdict.record.state, verdict.refresh) == (State.BLOCKED, True)

    def test_blocked_mirror_is_refreshed_at_once_when_upstream_moves(self) -> None:
        verdict = judged(STALE, blocked(wanted=OLD))
        assert (verdict.record.state, verdict.refresh) == (State.STALE, True)

    def test_fresh_mirror_forgets_its_failure(self) -> None:
        verdict = judged(FRESH, blocked())
        assert (verdict.record.state, verdict.record.failure) == (State.FRESH, None)

    def test_unreachable_upstream_keeps_the_failure(self) -> None:
        silent = judged(UNREACHABLE, blocked()).record
        assert silent.state is State.UNKNOWN
        assert judged(STALE, silent, 2 * MINUTE).record.state is State.BLOCKED


@pytest.mark.parametrize("observed", [STALE, MISSING])
@pytest.mark.parametrize(("waited", "refresh"), [(4 * MINUTE, False), (5 * MINUTE, True)])
def test_failed_refresh_is_retried_in_time(observed: Observation, waited: timedelta, refresh: bool) -> None:
    failure = RefreshFailure(NEW.digest, "StorageError", "no", False, 1, T0 + 5 * MINUTE)
    before = record(State.STALE, upstream_digest=NEW.digest, failure=failure)
    verdict = judged(observed, before, waited)
    assert verdict.refresh is refresh
    assert verdict.record.state is not State.BLOCKED


@pytest.mark.parametrize("error", [failed(AccessDeniedError), failed(RateLimitedError), RegistryUnavailableError])
def test_failed_upstream_check_never_reports_a_missing_tag(
    error: PullaheadError | type[RegistryUnavailableError],
) -> None:
    """Nothing is overwritten on a guess, whatever else is known."""
    observed = Observation(failed(error) if isinstance(error, type) else error, None)
    for before in (None, *map(record, State), blocked()):
        verdict = judged(observed, before, 48 * HOUR)
        assert (verdict.record.state, verdict.refresh) == (State.UNKNOWN, False)


class TestPlatforms:
    """ECR then serves another digest than upstream, which only the refresh that made it could know."""

    AMD64, BOTH = ("linux/amd64",), ("linux/amd64", "linux/arm64")
    INDEX = Descriptor(media_types.OCI_INDEX, NEW.digest, 500)
    MADE = Published(NEW.digest, BOTH, root("smaller").digest)

    def observe(self, published: Descriptor | None, before: MirrorRecord | None, *platforms: str) -> Verdict:
        observed = Observation(self.INDEX, published.digest if published else None)
        return judge(observed, before, mirror(platforms=platforms or self.BOTH), T0 + MINUTE)

    def known(self, **changes: object) -> MirrorRecord:
        digests = {"upstream_digest": NEW.digest, "published_digest": self.MADE.digest}
        return record(State.FRESH, platforms=self.BOTH, filtered=self.MADE, **digests).with_changes(**changes)

    def test_filtered_index_of_this_upstream_digest_is_fresh(self) -> None:
        verdict = self.observe(root("smaller"), self.known())
        assert (verdict.record.state, verdict.refresh) == (State.FRESH, False)
        assert verdict.record == self.known()

    def test_order_of_platforms_is_ignored(self) -> None:
        assert self.observe(root("smaller"), self.known(), *reversed(self.BOTH)).record == self.known()

    def test_filtered_index_of_an_older_upstream_digest_is_stale(self) -> None:
        older = self.known(upstream_digest=OLD.digest, filtered=Published(OLD.digest, self.BOTH, self.MADE.digest))
        verdict = self.observe(root("smaller"), older)
        assert (verdict.record.state, verdict.refresh, verdict.reason) == (State.STALE, True, "upstream moved")

    def test_change_of_platforms_makes_the_mirror_stale_once(self) -> None:
        once = self.observe(root("smaller"), self.known(), *self.AMD64)
        assert (once.record.state, once.refresh) == (State.STALE, True)
        assert once.reason == "the rules select other platforms"
        assert once.record.episode == self.known().episode + 1
        again = self.observe(root("smaller"), once.record, *self.AMD64)
        assert again.record.says_the_same_as(once.record)

    def test_removed_platforms_make_the_mirror_stale(self) -> None:
        verdict = judge(Observation(self.INDEX, self.MADE.digest), self.known(), mirror(), T0 + MINUTE)
        assert (verdict.record.state, verdict.refresh) == (State.STALE, True)

    def test_whole_index_is_stale_where_platforms_are_selected(self) -> None:
        """Whether all of it fits, only reading it can tell: the refresh does, and copies nothing that is there."""
        assert self.observe(NEW, None).refresh
        assert self.observe(NEW, record(State.FRESH, upstream_digest=NEW.digest, published_digest=NEW.digest)).refresh

    def test_single_manifest_is_fresh_whatever_the_platforms(self) -> None:
        verdict = judge(FRESH, None, mirror(platforms=self.BOTH), T0)
        assert (verdict.record.state, verdict.refresh) == (State.FRESH, False)

    def test_deleted_tag_is_missing(self) -> None:
        assert self.observe(None, self.known()).record.state is State.MISSING

    def test_reason_tells_an_overwritten_tag_from_a_moved_upstream_with_platforms(self) -> None:
        assert self.observe(OLD, self.known()).reason == "the tag was overwritten in ECR"

    def test_change_of_platforms_unblocks(self) -> None:
        failure = RefreshFailure(NEW.digest, "ConfigError", "no platform", True, 1, T0 + 6 * HOUR)
        stuck = self.known(state=State.BLOCKED, filtered=None, failure=failure)
        assert self.observe(OLD, stuck).record.state is State.BLOCKED
        mended = self.observe(OLD, stuck, *self.AMD64)
        assert (mended.record.state, mended.refresh, mended.record.failure) == (State.STALE, True, None)


class TestSettled:
    IMMUTABLE = mirror(immutable=True)

    def known(self, **changes: object) -> MirrorRecord:
        return record(State.FRESH, upstream=str(self.IMMUTABLE.upstream)).with_changes(**changes)

    def test_immutable_fresh_tag_needs_no_upstream_check(self) -> None:
        assert needs_no_upstream_check(self.IMMUTABLE, self.known(), OLD.digest)

    def test_mutable_tag_needs_an_upstream_check(self) -> None:
        assert not needs_no_upstream_check(mirror(), self.known(), OLD.digest)

    @pytest.mark.parametrize("published", [None, NEW.digest, DENIED])
    def test_immutable_tag_that_ecr_lost_needs_an_upstream_check(self, published: object) -> None:
        assert not needs_no_upstream_check(self.IMMUTABLE, self.known(), published)  # type: ignore[arg-type]

    def test_unknown_immutable_tag_needs_an_upstream_check(self) -> None:
        assert not needs_no_upstream_check(self.IMMUTABLE, None, OLD.digest)

    @pytest.mark.parametrize(
        "change",
        [{"state": state} for state in State if state is not State.FRESH]
        + [{"upstream": "docker.io/else/where:1.0"}, {"platforms": ("linux/amd64",)}, {"outbox": ("event",)}]
        + [{"expires_at": T0}],
    )
    def test_immutable_tag_whose_record_must_change_needs_an_upstream_check(self, change: dict[str, object]) -> None:
        assert not needs_no_upstream_check(self.IMMUTABLE, self.known(**change), OLD.digest)
