"""How hard registries are pressed: paces, reserves and pauses, and what is deferred because of them."""

import email.utils
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.errors import DeferredError, RateLimitedError, RegistryError
from pullahead.mirrors.rate_limit_budget import RemainingQuota, seconds_until_again
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.rate_limits import Limits
from pullahead.registry.request import Inquiry, Request
from pullahead.rules.model import RateLimit, UpstreamSettings
from tests.unit.registry.harness import FakeTime, Pretended, last_blob, upstream_of

IMAGE = make_image([1000], seed=11)
HUB = Reference(Repository("docker.io", "library/alpine"), "3.20")
OTHER = Reference(Repository("ghcr.io", "library/alpine"), "3.20")
WINDOW = 21600
USUAL = RateLimit()


class Registries:
    """Docker Hub, GHCR and a client of both, whose waits take no time."""

    def __init__(self, hub: FakeRegistry, other: FakeRegistry) -> None:
        self.hub, self.other, self.time = hub, other, FakeTime()
        for registry in (hub, other):
            registry.push(IMAGE, "library/alpine", "3.20")

    def client(self, rate_limit: RateLimit = USUAL, patience: float = 1000.0) -> UpstreamRegistry:
        hosts = {"https://registry-1.docker.io": self.hub, "https://ghcr.io": self.other}
        return upstream_of(hosts, time=self.time, rate_limit=rate_limit, patience=patience)

    def say(self, remaining: int, method: str = "HEAD", times: int = 1) -> None:
        """Let the next answers about a manifest say what is left of a hundred."""
        manifest = IMAGE.root
        headers = {
            "Content-Type": manifest.descriptor.media_type,
            "Docker-Content-Digest": manifest.descriptor.digest,
            "Content-Length": str(manifest.descriptor.size),
            "ratelimit-limit": f"100;w={WINDOW}",
            "ratelimit-remaining": f"{remaining};w={WINDOW}",
        }
        body = manifest.content if method == "GET" else b""
        self.hub.fail(method, "/manifests/", 200, times=times, headers=headers, body=body)


@pytest.fixture
def registries(registry: FakeRegistry, other: FakeRegistry) -> Registries:
    return Registries(registry, other)


class TestPace:
    def test_heads_to_docker_hub_stay_below_its_abuse_limit(self, registries: Registries) -> None:
        """Some 300 within eight minutes did."""
        upstream = registries.client()
        began, within_eight_minutes = registries.time.now, 0
        while registries.time.now - began <= 480 and within_eight_minutes < 1000:
            upstream.head_manifest(HUB)
            within_eight_minutes += 1
        assert within_eight_minutes < 300

    def test_pace_of_docker_hub_does_not_slow_others(self, registries: Registries) -> None:
        upstream = registries.client()
        for _ in range(52):
            upstream.head_manifest(HUB)
        slept = list(registries.time.slept)
        assert slept == [2.0, 2.0]
        for _ in range(20):
            upstream.head_manifest(OTHER)
        assert registries.time.slept == slept

    def test_rate_of_the_rules_is_kept(self, registries: Registries) -> None:
        upstream = registries.client(RateLimit(requests_per_second=4.0))
        for _ in range(8):
            upstream.get_manifest(OTHER)
        assert registries.time.slept == [0.25] * 4

    def test_blobs_do_not_wait_for_the_pace_of_manifests(self, registries: Registries) -> None:
        upstream = registries.client(RateLimit(requests_per_second=1.0))
        for _ in range(5):
            with upstream.open_blob(OTHER.repository, last_blob(IMAGE)) as pieces:
                assert b"".join(pieces)
        assert registries.time.slept == []

    def test_request_that_cannot_go_in_time_is_deferred(self, registries: Registries) -> None:
        upstream = registries.client(RateLimit(requests_per_second=0.01), patience=10)
        upstream.head_manifest(OTHER)
        with pytest.raises(RateLimitedError, match=r"the request rate for ghcr\.io is used up") as caught:
            upstream.head_manifest(OTHER)
        assert caught.value.retry_after_seconds == pytest.approx(100)
        assert (registries.time.slept, registries.other.count("HEAD")) == ([], 1)

    @pytest.mark.parametrize(("per_second", "kind"), [(0.02, RateLimitedError), (0.01, DeferredError)])
    def test_only_a_short_wait_is_retryable(
        self, registries: Registries, per_second: float, kind: type[RateLimitedError]
    ) -> None:
        upstream = registries.client(RateLimit(requests_per_second=per_second), patience=10)
        upstream.head_manifest(OTHER)
        with pytest.raises(RateLimitedError) as caught:
            upstream.head_manifest(OTHER)
        assert type(caught.value) is kind
        assert seconds_until_again(str(caught.value)) == pytest.approx(1 / per_second, abs=1)

    def test_request_does_not_wait_beyond_its_deadline(self, registries: Registries) -> None:
        upstream = registries.client(RateLimit(requests_per_second=0.001))
        upstream.head_manifest(OTHER)
        with pytest.raises(RateLimitedError):
            upstream.head_manifest(OTHER)
        assert registries.time.slept == []


class TestReserve:
    def test_reserve_is_kept(self, registries: Registries) -> None:
        upstream = registries.client()
        registries.say(12)
        upstream.head_manifest(HUB)
        upstream.get_manifest(HUB)
        upstream.get_manifest(HUB)
        with pytest.raises(
            RateLimitedError, match=r"deferred, not sent: 10 of .* are left, and a reserve of 10% "
        ) as caught:
            upstream.get_manifest(HUB)
        assert (type(caught.value), caught.value.retry_after_seconds) == (DeferredError, WINDOW)
        assert seconds_until_again(str(caught.value)) == WINDOW
        assert registries.hub.count("GET") == 2

    def test_docker_hub_is_still_asked_by_head(self, registries: Registries) -> None:
        """A HEAD costs nothing there."""
        upstream = registries.client()
        registries.say(0, times=3)
        for _ in range(3):
            assert upstream.head_manifest(HUB) == IMAGE.root.descriptor

    def test_blobs_are_not_deferred(self, registries: Registries) -> None:
        upstream = registries.client()
        registries.say(0)
        upstream.head_manifest(HUB)
        with upstream.open_blob(HUB.repository, last_blob(IMAGE)) as pieces:
            assert b"".join(pieces)

    def test_reserve_of_the_rules_is_kept(self, registries: Registries) -> None:
        upstream = registries.client(RateLimit(reserve=0.5))
        registries.say(51)
        upstream.head_manifest(HUB)
        upstream.get_manifest(HUB)
        with pytest.raises(RateLimitedError, match="reserve of 50%"):
            upstream.get_manifest(HUB)

    def test_limit_without_a_reserve_is_used_up(self, registries: Registries) -> None:
        upstream = registries.client(RateLimit(reserve=0.0))
        registries.say(1)
        upstream.head_manifest(HUB)
        upstream.get_manifest(HUB)
        with pytest.raises(RateLimitedError):
            upstream.get_manifest(HUB)

    def test_recovered_limit_is_noticed(self, registries: Registries) -> None:
        upstream = registries.client()
        registries.say(5)
        upstream.head_manifest(HUB)
        registries.say(90)
        with pytest.raises(RateLimitedError):
            upstream.get_manifest(HUB)
        registries.time.now += 60
        assert upstream.get_manifest(HUB) == IMAGE.root
        assert [request.method for request in registries.hub.requests] == ["HEAD", "HEAD", "GET"]

    def test_limit_that_has_not_recovered_is_read_by_head(self, registries: Registries) -> None:
        upstream = registries.client()
        registries.say(5, times=2)
        upstream.head_manifest(HUB)
        registries.time.now += 60
        with pytest.raises(RateLimitedError):
            upstream.get_manifest(HUB)
        assert (registries.hub.count("HEAD"), registries.hub.count("GET")) == (2, 0)

    def test_limit_is_forgotten_after_its_end(self, registries: Registries) -> None:
        upstream = registries.client()
        registries.say(5)
        upstream.head_manifest(HUB)
        registries.time.now += WINDOW
        assert upstream.quota("docker.io") is None
        upstream.get_manifest(HUB)
        assert registries.hub.count("HEAD") == 1

    def test_limit_that_was_reached_is_not_reached_again(self, registries: Registries) -> None:
        """Docker Hub says no Retry-After then, but what is left: nothing."""
        headers = {"ratelimit-limit": f"100;w={WINDOW}", "ratelimit-remaining": f"0;w={WINDOW}"}
        registries.hub.fail("GET", "/manifests/", 429, times=9, headers=headers)
        with pytest.raises(RateLimitedError, match="deferred, not sent") as caught:
            registries.client().get_manifest(HUB)
        assert registries.hub.count("GET") == 1
        assert caught.value.retry_after_seconds == pytest.approx(WINDOW, abs=2)

    def test_changed_rules_are_obeyed(self, registries: Registries) -> None:
        rate_limit = RateLimit(reserve=0.5)
        upstream = UpstreamRegistry(
            lambda host: UpstreamSettings(host, rate_limit=rate_limit),
            adapter=Pretended({"https://registry-1.docker.io": registries.hub}),
            wall_clock=registries.time,
            sleep=registries.time.sleep,
        )
        registries.say(40)
        upstream.head_manifest(HUB)
        with pytest.raises(RateLimitedError):
            upstream.get_manifest(HUB)
        rate_limit = RateLimit(reserve=0.1)
        upstream.get_manifest(HUB)


class TestQuota:
    def test_quota_is_what_the_registry_said(self, registries: Registries) -> None:
        upstream = registries.client()
        assert upstream.quota("docker.io") is None
        registries.say(30)
        upstream.head_manifest(HUB)
        resets_at = datetime.fromtimestamp(registries.time.now + WINDOW, UTC)
        assert upstream.quota("docker.io") == RemainingQuota(30, 100, 20, resets_at)
        assert upstream.quota("ghcr.io") is None

    def test_request_under_way_is_counted(self, registries: Registries) -> None:
        upstream = registries.client()
        registries.say(30)
        upstream.head_manifest(HUB)
        upstream.get_manifest(HUB)
        quota = upstream.quota("docker.io")
        assert quota is not None
        assert quota.remaining == 29

    def test_quota_without_an_end_has_none(self, registries: Registries) -> None:
        upstream = registries.client()
        said = {"X-RateLimit-Limit": "60", "X-RateLimit-Remaining": "30"}
        registries.other.fail("HEAD", "/manifests/", 404, headers=said)
        upstream.head_manifest(OTHER)
        assert upstream.quota("ghcr.io") == RemainingQuota(29, 60, 23, None)


class TestWindow:
    REQUEST = Request("HEAD", "https://example.com/v2/app/manifests/3.20", {}, Inquiry("HEAD manifest", "app"))

    @pytest.mark.parametrize(("status", "at_once"), [(200, 64), (404, 64), (429, 32), (503, 32)])
    def test_complaint_halves_the_window(self, status: int, at_once: int) -> None:
        time = FakeTime()
        limits = Limits(lambda _: USUAL, clock=time, sleep=time.sleep)
        with limits.turn(self.REQUEST, 60) as answered:
            answered(status, {})
        with ExitStack() as under_way:
            for _ in range(at_once):
                under_way.enter_context(limits.turn(self.REQUEST, 60))
            with pytest.raises(RateLimitedError, match=r"too many requests to example\.com are waiting"):
                under_way.enter_context(limits.turn(self.REQUEST, 0.01))
        with limits.turn(self.REQUEST, 0.01):
            pass


class TestPause:
    @pytest.mark.parametrize("status", [429, 503])
    def test_pause_holds_for_later_requests(self, registries: Registries, status: int) -> None:
        upstream = registries.client(patience=30)
        registries.other.fail("HEAD", "/manifests/", status, headers={"Retry-After": "20"})
        with pytest.raises(RegistryError, match="HTTP"):
            upstream.head_manifest(OTHER)
        upstream.get_manifest(OTHER)
        assert registries.time.slept == [20.0]

    def test_long_pause_defers(self, registries: Registries) -> None:
        upstream = registries.client(patience=30)
        registries.other.fail("HEAD", "/manifests/", 429, headers={"Retry-After": "600"})
        for waited, expected in [(0, 600), (100, 500)]:
            registries.time.now += waited
            with pytest.raises(RateLimitedError) as caught:
                upstream.head_manifest(OTHER)
            assert caught.value.retry_after_seconds == expected
        assert (registries.other.count("HEAD"), registries.time.slept) == (1, [])
        upstream.head_manifest(HUB)
        registries.time.now += 500
        upstream.head_manifest(OTHER)

    def test_pause_until_a_date_is_kept(self, registries: Registries) -> None:
        upstream = registries.client(patience=30)
        at = email.utils.format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
        registries.other.fail("HEAD", "/manifests/", 503, headers={"Retry-After": at})
        with pytest.raises(RegistryError, match="HTTP 503"):
            upstream.head_manifest(OTHER)
        with pytest.raises(RateLimitedError) as caught:
            upstream.head_manifest(OTHER)
        assert caught.value.retry_after_seconds == pytest.approx(600, abs=60)

    def test_absurd_pause_ends_after_an_hour(self, registries: Registries) -> None:
        upstream = registries.client()
        registries.other.fail("HEAD", "/manifests/", 429, headers={"Retry-After": "999999999"})
        with pytest.raises(RateLimitedError):
            upstream.head_manifest(OTHER)
        registries.time.now += 3600
        upstream.head_manifest(OTHER)

    def test_blobs_are_not_requested_in_a_pause(self, registries: Registries) -> None:
        upstream = registries.client(patience=30)
        registries.other.fail("HEAD", "/manifests/", 429, headers={"Retry-After": "600"})
        with pytest.raises(RateLimitedError):
            upstream.head_manifest(OTHER)
        with (
            pytest.raises(RateLimitedError, match=r"ghcr\.io asked for a pause"),
            upstream.open_blob(OTHER.repository, last_blob(IMAGE)),
        ):
            pass
        assert registries.other.count("GET") == 0
