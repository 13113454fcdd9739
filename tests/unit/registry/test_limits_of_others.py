"""A registry that leads us to others: what these say of limits is its own trouble, and never that of their mirrors."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from local.images import make_image
from local.registry.answers import Answer, error_answer, json_answer
from pullahead.errors import DeferredError, RateLimitedError, RegistryError
from pullahead.mirrors.rate_limit_budget import RemainingQuota
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.rate_limits import Limits
from pullahead.registry.request import Inquiry, Request, moved
from pullahead.registry.request_counts import ELSEWHERE, Kind, RequestCounts, RequestKind
from pullahead.rules.model import RateLimit, UpstreamSettings
from tests.fakes.internet import HttpRequest, Internet, Site
from tests.unit.registry.harness import FakeTime, last_blob

IMAGE = make_image([3000], seed=15)
BLOB = last_blob(IMAGE)
CONTENT = IMAGE.read_blob(BLOB.digest)
HOSTILE, VICTIM, HONEST, AUTH = "hostile.example", "victim.example", "honest.example", "auth.example"
HOUR = {"Retry-After": "3600"}
NOTHING: Mapping[str, str] = MappingProxyType({})
NONE_LEFT = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}


def tag(host: str, name: str = "1.0") -> Reference:
    return Reference(Repository(host, "team/app"), name)


def manifest(_: HttpRequest, more: Mapping[str, str] = NOTHING) -> Answer:
    root = IMAGE.root
    headers = {"Content-Type": root.descriptor.media_type, "Docker-Content-Digest": root.descriptor.digest}
    return Answer(200, {**headers, **more}, root.content)


def to_victim(asked: HttpRequest) -> Answer:
    return Answer(307, {"Location": f"https://{VICTIM}{asked.path}?by=hostile"})


def unless_led_here(refuse: Site, serve: Site = manifest) -> Site:
    """Serve what we ask for; refuse what another registry has us ask for."""

    def answer(asked: HttpRequest) -> Answer:
        return refuse(asked) if "by" in asked.query else serve(asked)

    return answer


def busy(_: HttpRequest) -> Answer:
    return error_answer(429, "TOOMANYREQUESTS", "enough", HOUR)


def token_of(realm: str) -> Site:
    """Ask for a token of a service."""

    def answer(asked: HttpRequest) -> Answer:
        if asked.authorization == "Bearer t":
            return manifest(asked)
        return Answer(401, {"WWW-Authenticate": f'Bearer realm="https://{realm}",service="s"'})

    return answer


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def internet() -> Iterator[Internet]:
    sites: dict[str, Site] = {
        HOSTILE: to_victim,
        VICTIM: manifest,
        HONEST: manifest,
        AUTH: lambda _: json_answer(200, {"token": "t"}),
    }
    with (outside := Internet(sites)).up():
        yield outside


@pytest.fixture
def upstream(internet: Internet, time: FakeTime) -> UpstreamRegistry:
    return UpstreamRegistry(
        lambda host: UpstreamSettings(host, ca=internet.certified.certificate),
        network=internet.network,
        wall_clock=time,
        sleep=time.sleep,
        patience=30.0,
    )


def count(internet: Internet, host: str) -> int:
    return sum(each.host == host for each in internet.asked)


def read(upstream: UpstreamRegistry, host: str, first_byte: int = 0) -> bytes:
    with upstream.open_blob(Repository(host, "team/app"), BLOB, first_byte) as pieces:
        return b"".join(pieces)


def storage(_: HttpRequest) -> Answer:
    return Answer(206, {"Content-Range": f"bytes 1000-{BLOB.size - 1}/{BLOB.size}"}, CONTENT[1000:])


@pytest.mark.parametrize("status", [429, 503])
def test_redirect_to_a_victim_that_refuses_pauses_the_redirecting_registry_alone(
    internet: Internet, upstream: UpstreamRegistry, time: FakeTime, status: int
) -> None:
    internet.sites[VICTIM] = unless_led_here(lambda _: error_answer(status, "TOOMANYREQUESTS", "enough", HOUR))
    with pytest.raises(RegistryError, match=f"HTTP {status}"):
        upstream.head_manifest(tag(HOSTILE))
    with pytest.raises(RateLimitedError, match=r"victim\.example asked for a pause"):
        upstream.head_manifest(tag(HOSTILE, "2.0"))
    assert upstream.head_manifest(tag(VICTIM)) == IMAGE.root.descriptor
    assert (time.slept, count(internet, VICTIM)) == ([], 2)


def test_redirect_to_a_victim_spends_none_of_what_the_victim_leaves(
    internet: Internet, upstream: UpstreamRegistry
) -> None:
    internet.sites[VICTIM] = unless_led_here(lambda asked: manifest(asked, NONE_LEFT))
    assert upstream.get_manifest(tag(HOSTILE)).descriptor == IMAGE.root.descriptor
    assert (upstream.quota(VICTIM), upstream.quota(HOSTILE)) == (None, None)
    assert upstream.get_manifest(tag(VICTIM)).descriptor == IMAGE.root.descriptor
    with pytest.raises(DeferredError, match=r"0 of victim\.example's limit of 100 requests are left"):
        upstream.get_manifest(tag(HOSTILE, "2.0"))


def test_victim_as_token_service_pauses_the_registry_that_names_it_alone(
    internet: Internet, upstream: UpstreamRegistry
) -> None:
    internet.sites.update({HOSTILE: token_of(f"{VICTIM}/token?by=hostile"), VICTIM: unless_led_here(busy)})
    with pytest.raises(RateLimitedError, match=r"token service victim\.example"):
        upstream.head_manifest(tag(HOSTILE))
    assert upstream.head_manifest(tag(VICTIM)) == IMAGE.root.descriptor
    with pytest.raises(RateLimitedError, match=r"victim\.example asked for a pause"):
        upstream.head_manifest(tag(HOSTILE, "2.0"))
    assert count(internet, VICTIM) == 2


def test_token_service_that_leads_to_a_victim_is_no_trouble_of_the_victim(
    internet: Internet, upstream: UpstreamRegistry
) -> None:
    sites = {HOSTILE: token_of(f"{AUTH}/token"), AUTH: to_victim, VICTIM: unless_led_here(busy)}
    internet.sites.update(sites)
    with pytest.raises(RateLimitedError):
        upstream.head_manifest(tag(HOSTILE))
    assert upstream.head_manifest(tag(VICTIM)) == IMAGE.root.descriptor


def test_shared_token_service_that_refuses_one_registry_is_asked_by_the_other(
    internet: Internet, upstream: UpstreamRegistry
) -> None:
    internet.sites.update({HOSTILE: token_of(f"{AUTH}/token?by=hostile"), HONEST: token_of(f"{AUTH}/token")})
    internet.sites[AUTH] = unless_led_here(busy, lambda _: json_answer(200, {"token": "t"}))
    with pytest.raises(RateLimitedError):
        upstream.head_manifest(tag(HOSTILE))
    assert upstream.head_manifest(tag(HONEST)) == IMAGE.root.descriptor


def test_token_service_of_its_own_that_asks_for_a_pause_is_left_alone(
    internet: Internet, upstream: UpstreamRegistry, time: FakeTime
) -> None:
    internet.sites.update({HONEST: token_of(f"{AUTH}/token"), AUTH: busy})
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            upstream.head_manifest(tag(HONEST))
    assert count(internet, AUTH) == 1
    internet.sites[AUTH] = lambda _: json_answer(200, {"token": "t"})
    time.now += 3600
    assert upstream.head_manifest(tag(HONEST)) == IMAGE.root.descriptor


@pytest.mark.parametrize("reads", [1, 2], ids=["redirected", "kept address"])
def test_blobs_at_a_victim_pause_the_redirecting_registry_alone(
    internet: Internet, upstream: UpstreamRegistry, reads: int
) -> None:
    for _ in range(reads - 1):
        internet.sites[VICTIM] = storage
        assert read(upstream, HOSTILE, 1000) == CONTENT[1000:]
    internet.sites[VICTIM] = unless_led_here(busy)
    with pytest.raises(RateLimitedError):
        read(upstream, HOSTILE, 1000)
    assert upstream.head_manifest(tag(VICTIM)) == IMAGE.root.descriptor


def test_layer_that_a_manifest_names_at_a_victim_pauses_the_naming_registry_alone(
    internet: Internet, upstream: UpstreamRegistry
) -> None:
    internet.sites[VICTIM] = unless_led_here(busy)
    url = f"https://{VICTIM}/layer?by=hostile"
    for _ in range(2):
        with (
            pytest.raises(RateLimitedError),
            upstream.open_url(Repository(HOSTILE, "team/app"), url, BLOB, 1000) as pieces,
        ):
            b"".join(pieces)
    assert count(internet, VICTIM) == 1
    assert upstream.head_manifest(tag(VICTIM)) == IMAGE.root.descriptor


def test_page_of_tags_at_a_victim_pauses_the_redirecting_registry_alone(
    internet: Internet, upstream: UpstreamRegistry
) -> None:
    internet.sites[VICTIM] = unless_led_here(busy)
    with pytest.raises(RateLimitedError):
        upstream.list_tags(Repository(HOSTILE, "team/app"))
    assert upstream.head_manifest(tag(VICTIM)) == IMAGE.root.descriptor


def test_victim_in_a_pause_is_not_asked_because_another_leads_there(
    internet: Internet, upstream: UpstreamRegistry, time: FakeTime
) -> None:
    internet.sites[VICTIM] = busy
    with pytest.raises(RateLimitedError):
        upstream.head_manifest(tag(VICTIM))
    with pytest.raises(RateLimitedError, match=r"victim\.example asked for a pause"):
        upstream.head_manifest(tag(HOSTILE))
    assert count(internet, VICTIM) == 1
    internet.sites[VICTIM] = manifest
    time.now += 3600
    assert upstream.head_manifest(tag(HOSTILE)) == IMAGE.root.descriptor


def test_reserve_of_a_victim_is_kept_from_those_who_lead_there(internet: Internet, upstream: UpstreamRegistry) -> None:
    internet.sites[VICTIM] = lambda asked: manifest(asked, NONE_LEFT)
    upstream.get_manifest(tag(VICTIM))
    assert upstream.quota(VICTIM) == RemainingQuota(0, 100, 0, datetime.fromtimestamp(22600, UTC))
    with pytest.raises(DeferredError, match=r"0 of victim\.example's limit of 100 requests are left"):
        upstream.get_manifest(tag(HOSTILE))
    assert count(internet, VICTIM) == 1


def test_redirect_that_comes_back_counts_for_the_registry_itself(
    internet: Internet, upstream: UpstreamRegistry
) -> None:
    internet.sites[HOSTILE] = unless_led_here(busy, to_victim)
    internet.sites[VICTIM] = lambda asked: Answer(307, {"Location": f"https://{HOSTILE}{asked.path}?by=itself"})
    with pytest.raises(RateLimitedError):
        upstream.head_manifest(tag(HOSTILE))
    with pytest.raises(RateLimitedError, match=r"hostile\.example asked for a pause"):
        upstream.head_manifest(tag(HOSTILE, "2.0"))


def test_thousands_of_names_that_a_registry_leads_to_make_no_other_limit_forgotten(time: FakeTime) -> None:
    limits = Limits(lambda _: RateLimit(), clock=time, sleep=time.sleep)
    first = Request("HEAD", f"https://{HONEST}/v2/app/manifests/1", {}, Inquiry("HEAD manifest", "app"))
    led = moved(first, {"Location": f"https://{AUTH}/token"})
    for request in (first, led):
        with limits.turn(request, 10) as answered:
            answered(429, HOUR)
    hostile = first._replace(url=f"https://{HOSTILE}/v2/app/manifests/1")
    for number in range(3000):
        with limits.turn(moved(hostile, {"Location": f"https://h{number}.example/"}), 10) as answered:
            answered(429, HOUR)
    for request in (first, led):
        with pytest.raises(RateLimitedError, match="asked for a pause"), limits.turn(request, 10):
            pass


def test_names_that_a_registry_leads_to_make_no_metrics() -> None:
    counts = RequestCounts()
    hostile = Request("HEAD", f"https://{HOSTILE}/v2/app/manifests/1", {}, Inquiry("HEAD manifest", "app"))
    for number in range(5):
        counts.count(moved(hostile, {"Location": f"https://h{number}.example/v2/app/manifests/1"}))
    assert counts.take() == {RequestKind(ELSEWHERE, Kind.OTHER): 5}
