"""Repositories below a namespace, from registries that list them, refuse to, or lie."""

import json

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.errors import ListingRefusedError, RegistryUnavailableError, ResponseTooLargeError
from pullahead.registry.client import UpstreamRegistry

IMAGE = make_image(seed=1)


def serve(registry: FakeRegistry, *paths: str) -> None:
    for path in paths:
        registry.push(IMAGE, path, "1.0")


def answer(registry: FakeRegistry, status: int, body: bytes = b"") -> None:
    """Answer every catalog with this."""
    registry.fail("GET", "/_catalog", status, times=10, headers={"Content-Type": "application/json"}, body=body)


def test_only_what_is_below_the_path_is_listed(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, "team/app", "team/deep/er", "teams/app", "team", "other/team/app", "alone")
    assert upstream.list_repositories(registry.host, "team") == ("team/app", "team/deep/er")
    assert upstream.list_repositories(registry.host, "team/deep") == ("team/deep/er",)


def test_all_pages_are_read(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    serve(registry, *(f"team/app{number:04}" for number in range(2500)))
    assert len(upstream.list_repositories(registry.host, "team")) == 2500
    assert registry.count("GET", "/v2/_catalog") == 3


def test_token_for_the_catalog_is_fetched(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.token_auth = True
    serve(registry, "team/app")
    assert upstream.list_repositories(registry.host, "team") == ("team/app",)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 400, 501])
def test_refused_catalog_is_reported_as_not_supported(
    registry: FakeRegistry, upstream: UpstreamRegistry, status: int
) -> None:
    answer(registry, status, b'{"errors": [{"code": "UNSUPPORTED", "message": "as it says"}]}')
    with pytest.raises(ListingRefusedError, match=r"does not list its repositories.*Name its repositories") as refused:
        upstream.list_repositories(registry.host, "team")
    assert refused.value.reference == f"{registry.host}/team/*"
    assert not refused.value.retryable


@pytest.mark.parametrize("body", [b'{"repositories": null}', b"{}", b'{"repositories": ["teams/app", "other"]}'])
def test_empty_listing_is_refused(registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes) -> None:
    answer(registry, 200, body)
    with pytest.raises(ListingRefusedError, match="lists no repository there"):
        upstream.list_repositories(registry.host, "team")


@pytest.mark.parametrize("status", [500, 503])
def test_registry_that_is_down_is_unavailable(registry: FakeRegistry, upstream: UpstreamRegistry, status: int) -> None:
    answer(registry, status)
    with pytest.raises(RegistryUnavailableError):
        upstream.list_repositories(registry.host, "team")


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"\xff",
        b'{"repositories": 3}',
    ],
)
def test_listing_that_is_not_understood_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes
) -> None:
    answer(registry, 200, body)
    with pytest.raises(RegistryUnavailableError):
        upstream.list_repositories(registry.host, "team")


@pytest.mark.parametrize("odd", ['"team/\\u001b[2J"', '"team/A"', '"team/app:1.0"', f'"team/{"a" * 256}"', "null", "3"])
def test_entry_that_is_no_repository_is_left_out_and_logged(
    registry: FakeRegistry, upstream: UpstreamRegistry, caplog: pytest.LogCaptureFixture, odd: str
) -> None:
    answer(registry, 200, f'{{"repositories": ["team/a", {odd}, "team/b"]}}'.encode())
    assert upstream.list_repositories(registry.host, "team") == ("team/a", "team/b")
    assert "1 entries left out" in caplog.text


@pytest.mark.parametrize("sizes", [["1000"], ["1000", "100"]])
def test_smaller_pages_are_requested_where_large_ones_are_refused(
    registry: FakeRegistry, upstream: UpstreamRegistry, sizes: list[str]
) -> None:
    registry.push(IMAGE, "team/app")
    registry.fail(
        "GET", "/_catalog", 400, times=len(sizes), body=b'{"errors": [{"code": "PAGINATION_NUMBER_INVALID"}]}'
    )
    assert upstream.list_repositories(registry.host, "team") == ("team/app",)
    assert [request.query for request in registry.requests[: len(sizes)]] == [f"n={size}" for size in sizes]


def test_listing_without_end_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    body = json.dumps({"repositories": [f"team/{number}" for number in range(10_001)]})
    answer(registry, 200, body.encode())
    with pytest.raises(ResponseTooLargeError, match="10000"):
        upstream.list_repositories(registry.host, "team")
