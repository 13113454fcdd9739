"""What the end of a refresh does to a record."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from pullahead.mirrors.record import LastRefresh, MirrorRecord, Published, RefreshFailure, State
from pullahead.mirrors.refresh_outcome import BLOCKING_ERRORS, after_failure, after_success
from tests.fakes.samples import KEY, UPSTREAM, digest

T0 = datetime(2026, 11, 24, 9, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NEW, OLD, NEWER = digest("new"), digest("old"), digest("newer")
SUCCESS = Published(NEW, (), NEW)
REFRESH = LastRefresh(T0 + MINUTE, 50.0, 60.0, 1000, "arn")
STALE = MirrorRecord(KEY, UPSTREAM, State.STALE, T0, T0, upstream_digest=NEW, published_digest=OLD, version=4)
FRESH = MirrorRecord(KEY, UPSTREAM, State.FRESH, T0, None, upstream_digest=NEW, published_digest=NEW, version=4)


def failure(wanted: str = NEW, count: int = 1, *, blocking: bool = False) -> RefreshFailure:
    return RefreshFailure(digest("new") if wanted == NEW else digest("newer"), "E", "text", blocking, count, T0)


def test_success_makes_the_mirror_fresh() -> None:
    after = after_success(STALE.with_changes(failure=failure()), SUCCESS, REFRESH)
    assert (after.state, after.since, after.unfresh_since) == (State.FRESH, REFRESH.ended_at, None)
    assert (after.published_digest, after.last_refresh, after.failure) == (NEW, REFRESH, None)


def test_success_of_an_old_digest_leaves_the_mirror_stale() -> None:
    after = after_success(STALE.with_changes(upstream_digest=NEWER), SUCCESS, REFRESH)
    assert (after.state, after.since, after.unfresh_since) == (State.STALE, T0, T0)
    assert (after.published_digest, after.last_refresh) == (NEW, REFRESH)


@pytest.mark.parametrize("state", [State.GONE, State.UNKNOWN])
def test_success_leaves_an_unreachable_upstream_unknown(state: State) -> None:
    after = after_success(STALE.with_changes(state=state), SUCCESS, REFRESH)
    assert (after.state, after.unfresh_since, after.published_digest) == (state, T0, NEW)


def test_failure_begins_another_episode() -> None:
    assert after_failure(STALE, NEW, "StorageError", "no", T0).episode == STALE.episode + 1


def test_late_success_keeps_the_failure_of_a_newer_digest() -> None:
    blocked = STALE.with_changes(upstream_digest=NEWER, failure=failure(NEWER, blocking=True), state=State.BLOCKED)
    after = after_success(blocked, SUCCESS, REFRESH)
    assert (after.state, after.failure) == (State.BLOCKED, blocked.failure)


def test_success_of_a_fresh_mirror_keeps_since() -> None:
    assert after_success(FRESH, SUCCESS, REFRESH).since == T0


class TestPlatforms:
    AMD64, BOTH = ("linux/amd64",), ("linux/amd64", "linux/arm64")
    SMALLER = digest("smaller")

    def test_filtered_index_is_recorded_and_fresh(self) -> None:
        made = Published(NEW, self.AMD64, self.SMALLER)
        after = after_success(STALE.with_changes(platforms=self.AMD64), made, REFRESH)
        assert (after.state, after.published_digest, after.filtered) == (State.FRESH, self.SMALLER, made)
        assert after.wanted_digest == self.SMALLER

    def test_late_success_for_other_platforms_is_not_fresh(self) -> None:
        late = Published(NEW, self.AMD64, self.SMALLER)
        after = after_success(STALE.with_changes(platforms=self.BOTH), late, REFRESH)
        assert (after.state, after.published_digest, after.wanted_digest) == (State.STALE, self.SMALLER, None)

    def test_late_success_for_an_older_upstream_is_not_fresh(self) -> None:
        late = Published(OLD, self.AMD64, self.SMALLER)
        assert after_success(STALE.with_changes(platforms=self.AMD64), late, REFRESH).state is State.STALE

    def test_success_with_all_platforms_forgets_the_filtered_index(self) -> None:
        known = STALE.with_changes(filtered=Published(NEW, self.AMD64, self.SMALLER))
        after = after_success(known, SUCCESS, REFRESH)
        assert (after.state, after.filtered, after.wanted_digest) == (State.FRESH, None, NEW)


@pytest.mark.parametrize("kind", sorted(BLOCKING_ERRORS))
def test_error_that_needs_a_human_blocks(kind: str) -> None:
    after = after_failure(STALE, NEW, kind, "why", T0 + MINUTE)
    assert (after.state, after.since) == (State.BLOCKED, T0 + MINUTE)
    assert after.failure == RefreshFailure(NEW, kind, "why", True, 1, T0 + MINUTE + 6 * HOUR)


@pytest.mark.parametrize("kind", ["States.Timeout", "StorageError", "TransferStalledError", "MissingContentError"])
def test_other_errors_keep_the_state_and_are_retried(kind: str) -> None:
    after = after_failure(STALE, NEW, kind, "why", T0 + MINUTE)
    assert (after.state, after.since, after.unfresh_since) == (State.STALE, T0, T0)
    assert after.failure == RefreshFailure(NEW, kind, "why", False, 1, T0 + 6 * MINUTE)


def test_back_off_doubles_up_to_six_hours() -> None:
    record, waits = STALE, []
    for _ in range(2000):
        record = after_failure(record, NEW, "StorageError", "why", T0)
        assert record.failure is not None
        waits.append((record.failure.retry_at - T0) / MINUTE)
    assert waits[:8] == [5, 10, 20, 40, 80, 160, 320, 360]
    assert set(waits[8:]) == {360}
    assert record.failure is not None
    assert record.failure.count == 2000


def test_another_digest_restarts_the_back_off() -> None:
    record = STALE.with_changes(upstream_digest=NEWER, failure=failure(NEW, count=9))
    after = after_failure(record, NEWER, "StorageError", "why", T0)
    assert after.failure is not None
    assert (after.failure.count, after.failure.retry_at) == (1, T0 + 5 * MINUTE)


class TestDeferral:
    @pytest.mark.parametrize(
        ("error", "wait"),
        [
            ("deferred; retry in 1200 s at the latest.", 20 * MINUTE),
            ("deferred; retry in 21600 s at the latest.", HOUR),
            ("deferred", 5 * MINUTE),
        ],
    )
    def test_deferral_counts_as_no_failure(self, error: str, wait: timedelta) -> None:
        after = after_failure(STALE, NEW, "DeferredError", error, T0)
        assert after.failure == RefreshFailure(NEW, "DeferredError", error, False, 0, T0 + wait)
        assert (after.state, after.since, after.episode) == (State.STALE, T0, STALE.episode + 1)

    def test_refresh_that_is_no_longer_wanted_counts_as_no_failure(self) -> None:
        after = after_failure(STALE, NEW, "NoLongerWantedError", "why", T0)
        assert after.failure == RefreshFailure(NEW, "NoLongerWantedError", "why", False, 0, T0 + 5 * MINUTE)
        assert (after.state, after.episode) == (State.STALE, STALE.episode + 1)

    @pytest.mark.parametrize("blocking", [False, True])
    def test_deferral_keeps_the_cause_of_earlier_failures(self, blocking: bool) -> None:
        state = State.BLOCKED if blocking else State.STALE
        known = failure(count=3, blocking=blocking)
        after = after_failure(
            STALE.with_changes(state=state, failure=known), NEW, "DeferredError", "; retry in 60 s", T0
        )
        assert (after.state, after.failure) == (state, structs.replace(known, retry_at=T0 + MINUTE))

    def test_failure_after_a_deferral_counts_as_the_first(self) -> None:
        deferred = after_failure(STALE, NEW, "DeferredError", "deferred", T0)
        after = after_failure(deferred, NEW, "StorageError", "why", T0)
        assert after.failure == RefreshFailure(NEW, "StorageError", "why", False, 1, T0 + 5 * MINUTE)

    def test_deferral_of_an_unwanted_digest_is_not_recorded(self) -> None:
        record = STALE.with_changes(upstream_digest=NEWER)
        assert after_failure(record, NEW, "DeferredError", "deferred", T0) is record


@pytest.mark.parametrize("record", [FRESH, STALE.with_changes(upstream_digest=NEWER)], ids=["fresh", "moved on"])
def test_late_failure_is_not_recorded(record: MirrorRecord) -> None:
    assert after_failure(record, NEW, "TagImmutableError", "why", T0 + HOUR) is record
