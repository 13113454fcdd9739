"""Requests are counted by registry and kind, once each, and never by more hosts than there is money for metrics."""

from concurrent.futures import ThreadPoolExecutor

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.mirrors.rate_limit_budget import UpstreamUse
from pullahead.oci import parse_reference
from pullahead.registry.request import Inquiry, Request
from pullahead.registry.request_counts import ELSEWHERE, Kind, RequestCounts, RequestKind
from tests.unit.registry.harness import upstream_of


def request(url: str, method: str = "GET") -> Request:
    return Request(method, url, {}, Inquiry("test", "test"))


def test_requests_are_counted_by_kind() -> None:
    tally, root = RequestCounts(), "https://ghcr.io/v2/team/app"
    for method, url in (
        ("HEAD", f"{root}/manifests/1.0"),
        ("GET", f"{root}/manifests/1.0"),
        ("GET", f"{root}/blobs/sha256:00"),
        ("GET", f"{root}/tags/list?n=100"),
        ("GET", "https://ghcr.io/token?scope=a"),
        ("GET", "https://cdn.example/blob?signature=secret"),
    ):
        tally.count(request(url, method))
    assert tally.take() == {
        RequestKind("ghcr.io", Kind.HEAD): 1,
        RequestKind("ghcr.io", Kind.MANIFEST): 1,
        RequestKind("ghcr.io", Kind.BLOB): 1,
        RequestKind("ghcr.io", Kind.LIST): 1,
        RequestKind(ELSEWHERE, Kind.OTHER): 2,
    }


def test_docker_hub_is_counted_under_the_name_of_references() -> None:
    tally = RequestCounts()
    tally.count(request("https://registry-1.docker.io/v2/library/alpine/manifests/3", "HEAD"))
    assert list(tally.take()) == [RequestKind("docker.io", Kind.HEAD)]


def test_count_is_taken_once() -> None:
    tally = RequestCounts()
    tally.count(request("https://ghcr.io/v2/a/manifests/1"))
    assert sum(tally.take().values()) == 1
    assert tally.take() == {}


def test_only_the_busiest_registries_have_a_name() -> None:
    tally = RequestCounts()
    for number in range(30):
        for _ in range(number + 1):
            tally.count(request(f"https://r{number:02}.example/v2/a/manifests/1", "HEAD"))
    taken = tally.take()
    assert {asked.host for asked in taken} == {ELSEWHERE, *(f"r{number}.example" for number in range(20, 30))}
    assert sum(taken.values()) == sum(range(1, 31))


def test_no_request_is_lost_between_threads() -> None:
    tally = RequestCounts()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: tally.count(request("https://ghcr.io/v2/a/manifests/1")), range(2000)))
    assert sum(tally.take().values()) == 2000


def test_client_reports_requests_and_what_is_left() -> None:
    with FakeRegistry() as registry:
        registry.push(make_image(seed=1), "team/app", "1.0")
        upstream = upstream_of()
        for _ in range(2):
            upstream.head_manifest(parse_reference(f"{registry.host}/team/app:1.0"))
        assert upstream.take_use() == (UpstreamUse(registry.host, "HEAD", 2),)
        assert upstream.take_use() == ()
