"""What is put off for the sake of limits, and who goes first."""

from datetime import UTC, datetime, timedelta

import pytest

from pullahead.errors import DeferredError, RateLimitedError, RegistryUnavailableError
from pullahead.mirrors.rate_limit_budget import (
    Allowance,
    RemainingQuota,
    manifests_to_read,
    oldest_first,
    request_order,
    retry_in_words,
    seconds_until_again,
    was_not_sent,
)
from pullahead.mirrors.record import State
from pullahead.oci import Descriptor, media_types
from tests.fakes.records import fresh, unfresh
from tests.fakes.samples import digest, failed, mirror, root

T0 = datetime(2026, 11, 24, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HUB = "docker.io"


def allowance(quota: RemainingQuota | None) -> Allowance:
    return Allowance({HUB: quota}.get)


class TestAllowance:
    @pytest.mark.parametrize(
        ("quota", "manifests"),
        [
            (None, 1000),
            (RemainingQuota(19, 100, 9), 9),
            (RemainingQuota(100, 100, 90), 1000),  # it takes more than the limit ever leaves
            (RemainingQuota(56, 100, 46), 1000),
            (RemainingQuota(1, 2, 1), 9),
        ],
    )
    def test_refresh_within_the_limit_may_start(self, quota: RemainingQuota | None, manifests: int) -> None:
        assert allowance(quota).shortage(HUB, manifests) is None

    @pytest.mark.parametrize(
        ("quota", "manifests"),
        [
            (RemainingQuota(18, 100, 8), 9),
            (RemainingQuota(10, 100, 0), 1),
            (RemainingQuota(54, 100, 44), 1000),
            (RemainingQuota(0, 1, 0), 1),
        ],
    )
    def test_refresh_that_would_break_the_reserve_must_wait(self, quota: RemainingQuota, manifests: int) -> None:
        shortage = allowance(quota).shortage(HUB, manifests)
        assert shortage is not None
        assert f"docker.io leaves {quota.remaining} of its limit of {quota.limit} requests" in shortage

    def test_refreshes_keep_the_reserve_together(self) -> None:
        shared = allowance(RemainingQuota(15, 100, 5))
        shared.promise(HUB, 3)
        assert shared.shortage(HUB, 2) is None
        assert shared.shortage(HUB, 3) is not None
        shared.promise(HUB, 2)
        assert shared.shortage(HUB, 1) is not None

    def test_limit_of_one_registry_does_not_defer_refreshes_from_another(self) -> None:
        shared = allowance(RemainingQuota(10, 100, 0))
        shared.promise(HUB, 10)
        assert shared.shortage("ghcr.io", 9) is None

    @pytest.mark.parametrize(
        ("media_type", "platforms", "manifests"),
        [
            (media_types.OCI_MANIFEST, (), 1),
            (media_types.DOCKER_MANIFEST, ("linux/amd64",), 1),
            (media_types.OCI_INDEX, ("linux/amd64", "linux/arm64"), 3),
            (media_types.DOCKER_LIST, (), 9),
        ],
    )
    def test_manifests_of_a_refresh_are_estimated(
        self, media_type: str, platforms: tuple[str, ...], manifests: int
    ) -> None:
        assert manifests_to_read(Descriptor(media_type, digest("x"), 1), platforms) == manifests


class TestOrder:
    MIRRORS = tuple(mirror(f"{number}.0") for number in range(20))

    def test_longest_stale_goes_first(self) -> None:
        records = [
            unfresh("mirror/app:7.0", State.STALE, T0 + 2 * MINUTE),
            unfresh("mirror/app:3.0", State.STALE, T0 + MINUTE),
            unfresh("mirror/app:9.0", State.UNKNOWN, T0),
            fresh("mirror/app:1.0", T0 - MINUTE),
        ]
        known = {record.key: record for record in records}
        for order in (oldest_first(self.MIRRORS, known), request_order(self.MIRRORS, known, T0)):
            assert [each.tag for each in order[:3]] == ["9.0", "3.0", "7.0"]
            assert set(order) == set(self.MIRRORS)
        assert oldest_first(self.MIRRORS, {}) == list(self.MIRRORS)

    def test_order_of_fresh_tags_changes_with_every_check(self) -> None:
        firsts = {request_order(self.MIRRORS, {}, T0 + number * MINUTE)[0] for number in range(40)}
        assert len(firsts) > 10


@pytest.mark.parametrize(
    ("answer", "not_sent"),
    [
        (failed(RateLimitedError), True),
        (failed(DeferredError), True),
        (failed(RateLimitedError, status=429), False),
        (failed(RegistryUnavailableError), False),
        (root("x"), False),
    ],
)
def test_request_was_not_sent_only_where_there_is_no_status(answer: object, not_sent: bool) -> None:
    assert was_not_sent(answer) is not_sent


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (f"failed: deferred{retry_in_words(59.1)} at the latest. An account allows more.", 60.0),
        (f"failed: deferred{retry_in_words(0)}.", 0.0),
        ("failed: deferred.", None),
        ("retry in 20 s", None),
    ],
)
def test_retry_is_read_from_the_text_of_an_error(text: str, seconds: float | None) -> None:
    assert seconds_until_again(text) == seconds
