"""Tags from registries that page in their own ways, go round in circles, or never end."""

import itertools
import json

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.errors import (
    NotFoundError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.listings import find_next
from tests.unit.registry.harness import FakeTime, upstream_of

IMAGE = make_image(seed=1)


def serve(registry: FakeRegistry, tags: list[str] | None, link: str = "", body: bytes | None = None) -> None:
    """Answer the next page of tags with this."""
    headers = {"Content-Type": "application/json", **({"Link": link} if link else {})}
    content = json.dumps({"name": "team/app", "tags": tags}).encode() if body is None else body
    registry.fail("GET", "/tags/list", 200, headers=headers, body=content)


def list_tags(registry: FakeRegistry, upstream: UpstreamRegistry) -> tuple[str, ...]:
    return upstream.list_tags(registry.repository("team/app"))


def refusal(registry: FakeRegistry, upstream: UpstreamRegistry) -> RegistryError:
    """List, which must fail, and return how."""
    with pytest.raises(RegistryError) as refused:
        list_tags(registry, upstream)
    return refused.value


def test_all_pages_are_read(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    names = [f"v{number:04}" for number in range(2500)]
    for name in names:
        registry.push(IMAGE, "team/app", name)
    assert list(list_tags(registry, upstream)) == names
    assert registry.count("GET", "/tags/list") == 3
    assert registry.connections == 1


def test_token_is_fetched_once_for_all_pages(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.token_auth = True
    for number in range(1500):
        registry.push(IMAGE, "team/app", f"v{number:04}")
    assert len(list_tags(registry, upstream)) == 1500
    assert [request.path.rpartition("/")[2] for request in registry.requests] == ["list", "token", "list", "list"]
    assert "repository%3Ateam%2Fapp%3Apull" in registry.requests[1].query


@pytest.mark.parametrize(
    "link",
    [
        '</v2/team/app/tags/list?last=a&n=1>; rel="next"',
        "</v2/team/app/tags/list?last=a&n=1>; rel=next",
        '<?last=a&n=1>; rel="next"',
        '<list?last=a&n=1>;rel="next"',
        '</team/app/tags/list?last=a&n=1>; rel="next"',  # Artifactory leaves out a virtual repository's prefix
        '</v2/team/app/tags/list?n=1>; rel="first", </v2/team/app/tags/list?last=a&n=1>; rel="next"',
        '</v2/team/app/tags/list?last=a&n=1>; title="a, b"; REL="prev next"',
        '/v2/team/app/tags/list?last=a&n=1; rel="next"',
        "</v2/team/app/tags/list?last=a&n=1>",
        "</v2/team/app/tags/list?last=a&n=1>; rel='next'",
    ],
)
def test_next_page_is_found(registry: FakeRegistry, upstream: UpstreamRegistry, link: str) -> None:
    serve(registry, ["a"], link)
    serve(registry, ["b"])
    assert list_tags(registry, upstream) == ("a", "b")
    assert [request.path for request in registry.requests] == ["/v2/team/app/tags/list"] * 2
    assert registry.requests[1].query == "last=a&n=1"


def test_link_by_another_scheme_and_port_is_taken_for_its_query(
    registry: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    serve(registry, ["a"], '<https://127.0.0.1/v2/team/app/tags/list?last=a>; rel="next"')  # a proxy's doing
    serve(registry, ["b"])
    assert list_tags(registry, upstream) == ("a", "b")


def test_foreign_host_is_not_asked_for_the_next_page(
    registry: FakeRegistry, other: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    elsewhere = other.url.replace("127.0.0.1", "localhost")
    serve(registry, ["a"], f'<{elsewhere}/v2/team/app/tags/list?last=a>; rel="next"')
    error = refusal(registry, upstream)
    assert isinstance(error, RegistryUnavailableError)
    assert "another host" in str(error)
    assert other.requests == []
    assert registry.count("GET") == 1


@pytest.mark.parametrize("link", ['</v2/team/app/tags/list>; rel="next"', '<http://[>; rel="next"'])
def test_link_without_a_query_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry, link: str) -> None:
    serve(registry, ["a"], link)
    assert isinstance(refusal(registry, upstream), RegistryUnavailableError)
    assert registry.count("GET") == 1


def test_circle_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for last in ("a", "b", "a"):
        serve(registry, [last], f'<?last={last}>; rel="next"')
    assert "circle" in str(refusal(registry, upstream))
    assert registry.count("GET") == 3


def test_same_page_under_ever_new_links_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for number in range(20):
        serve(registry, ["a"], f'<?page={number}>; rel="next"')
    assert "nothing new" in str(refusal(registry, upstream))
    assert registry.count("GET") == 11


def test_listing_without_end_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for number in range(1001):
        serve(registry, [f"v{number}"], f'<?page={number}>; rel="next"')
    error = refusal(registry, upstream)
    assert isinstance(error, ResponseTooLargeError)
    assert registry.count("GET") == 1000


def test_slow_listing_times_out(registry: FakeRegistry) -> None:
    time = FakeTime()
    numbers = itertools.count()

    def dawdle() -> None:
        time.now += 50
        serve(registry, [f"v{next(numbers)}"], f'<?page={next(numbers)}>; rel="next"')

    registry.before("GET", "/tags/list", dawdle, times=100)
    error = refusal(registry, upstream_of(time=time))
    assert isinstance(error, RegistryTimeoutError)
    assert registry.count("GET") == 12


def test_endless_page_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, None, body=b" " * (65 * 1024 * 1024))
    assert isinstance(refusal(registry, upstream), ResponseTooLargeError)


@pytest.mark.parametrize("body", [b'{"name": "team/app", "tags": null}', b"{}", b'{"tags": []}'])
def test_empty_repository_has_no_tags(registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes) -> None:
    serve(registry, None, body=body)
    assert list_tags(registry, upstream) == ()


@pytest.mark.parametrize("body", [b"<html>", b'{"tags": 3}', b"\xff", b"[" * 100_000])
def test_page_that_is_not_understood_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes
) -> None:
    serve(registry, None, body=body)
    assert isinstance(refusal(registry, upstream), RegistryUnavailableError)


@pytest.mark.parametrize("odd", ['"\\u001b[2J"', '"-ot-beta-jmx"', '"sha256:abc"', "null", "3", '["a"]'])
def test_entry_that_is_no_tag_is_left_out_and_logged(
    registry: FakeRegistry, upstream: UpstreamRegistry, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    serve(registry, None, body=f'{{"tags": ["a", {odd}, "b"]}}'.encode())
    assert list_tags(registry, upstream) == ("a", "b")
    assert "1 entries left out, which are no tags" in caplog.text
    assert "\x1b" not in caplog.text


def test_missing_repository_is_not_found(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    assert isinstance(refusal(registry, upstream), NotFoundError)


@pytest.mark.parametrize(
    "header",
    [
        "",
        '<a>; rel="previous"',
        '<a>; rel="nextish"',
        '<a>; rel=last; title="rel=next"',
        '<a>; rel="last"; title="; rel=next"',
    ],
)
def test_link_of_another_relation_is_not_followed(header: str) -> None:
    assert find_next(header) is None


@pytest.mark.parametrize(
    "header",
    [
        '"next"',
        "<a",
        "<a>; rel=",
        '<a>; rel=""',
        '<a>; rel="next',
        '<>; rel="next"',
        '<a> <b>; rel="next"',
        '<a>;;rel="next"',
        "<a>;" + '"' * 8_000,
        "<" * 8_000,
        "<a>; rel=next, " * 10_000,
    ],
)
def test_link_that_is_not_understood_is_an_error(header: str) -> None:
    with pytest.raises(ValueError, match="it "):
        find_next(header)


def test_page_with_a_link_that_is_not_understood_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    serve(registry, ["a"], '</v2/team/app/tags/list?last=a; rel="next"')
    assert "Link header" in str(refusal(registry, upstream))
