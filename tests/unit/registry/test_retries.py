"""Which requests are retried, how often and after how long, and which are not."""

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.errors import (
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
)
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.errors import retry_after_seconds
from pullahead.registry.request import Timeouts
from tests.unit.registry.harness import FakeTime, last_blob, upstream_of

IMAGE = make_image([1000], seed=6)


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "team/app", "1.0")


def head(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    """Resolve a tag, which must go well."""
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 522])
def test_passing_trouble_is_retried(registry: FakeRegistry, status: int) -> None:
    time = FakeTime()
    registry.fail("HEAD", "/manifests/", status, times=2)
    head(registry, upstream_of(time=time))
    assert registry.count("HEAD") == 3
    assert time.slept == [1.0, 2.0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, RateLimitedError),
        (502, RegistryUnavailableError),
        (503, RegistryUnavailableError),
        (504, RegistryTimeoutError),
    ],
)
def test_lasting_trouble_is_an_error_after_three_tries(
    registry: FakeRegistry, status: int, kind: type[RegistryError]
) -> None:
    time = FakeTime()
    registry.fail("HEAD", "/manifests/", status, times=99)
    with pytest.raises(kind):
        head(registry, upstream_of(time=time))
    assert registry.count("HEAD") == 3
    assert len(time.slept) == 2


@pytest.mark.parametrize("status", [400, 403, 501])
def test_answer_that_will_not_change_is_not_retried(registry: FakeRegistry, status: int) -> None:
    time = FakeTime()
    registry.fail(None, "/manifests/", status, times=99)
    with pytest.raises(RegistryError):
        head(registry, upstream_of(time=time))
    assert (registry.count("HEAD"), time.slept) == (1, [])


def test_registry_that_is_down_is_tried_three_times(registry: FakeRegistry) -> None:
    time = FakeTime()
    registry.down = True
    with pytest.raises(RegistryUnavailableError, match="connection broke"):
        head(registry, upstream_of(time=time))
    assert len(time.slept) == 2


def test_kept_connection_that_has_died_is_replaced(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    head(registry, upstream)
    registry.down = True
    with pytest.raises(RegistryUnavailableError):
        head(registry, upstream)
    registry.down = False
    head(registry, upstream)


def test_opening_a_blob_is_retried(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("GET", "/blobs/", 503, times=2)
    with upstream.open_blob(registry.repository("team/app"), last_blob(IMAGE)) as pieces:
        assert len(b"".join(pieces)) == 1000
    assert registry.count("GET") == 3


def test_waits_have_jitter(registry: FakeRegistry) -> None:
    time = FakeTime()
    registry.fail("HEAD", "/manifests/", 503, times=2)
    head(registry, upstream_of(time=time, jitter=0.25))
    assert time.slept == [0.25, 0.5]


@pytest.mark.parametrize("status", [429, 503])
def test_short_retry_after_is_kept(registry: FakeRegistry, status: int) -> None:
    time = FakeTime()
    registry.fail("HEAD", "/manifests/", status, headers={"Retry-After": "7"})
    head(registry, upstream_of(time=time))
    assert time.slept == [7.0]


def test_long_retry_after_is_an_error(registry: FakeRegistry) -> None:
    time = FakeTime()
    registry.fail("HEAD", "/manifests/", 429, headers={"Retry-After": "11"})
    with pytest.raises(RateLimitedError) as caught:
        head(registry, upstream_of(time=time))
    assert (caught.value.retry_after_seconds, registry.count("HEAD"), time.slept) == (11.0, 1, [])


def test_tries_end_with_the_time_for_them(registry: FakeRegistry) -> None:
    time = FakeTime()
    registry.fail("HEAD", "/manifests/", 503, times=99, headers={"Retry-After": "10"})
    with pytest.raises(RegistryUnavailableError):
        head(registry, upstream_of(time=time, timeouts=Timeouts(total=15)))
    assert (registry.count("HEAD"), time.slept) == (2, [10.0])


def test_missing_tag_is_not_retried(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.delete_tag("team/app", "1.0")
    with pytest.raises(NotFoundError):
        head(registry, upstream)
    assert registry.count("HEAD") == 1


DATE = "Tue, 24 Nov 2026 06:49:20 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": " 120 "}, 120.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "soon", "Date": DATE}, None),
        ({"Retry-After": "1e999", "Date": DATE}, None),
        ({"Retry-After": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT", "Date": DATE}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 06:50:00 GMT", "Date": DATE}, 40.0),
        ({"Retry-After": "Tue, 24 Nov 2026 06:00:00 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "Tue, 24 Nov 2026 06:50:00 GMT"}, None),
        ({"Retry-After": "Tue, 24 Nov 2026 06:50:00 -0000", "Date": DATE}, None),
    ],
)
def test_retry_after_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds
