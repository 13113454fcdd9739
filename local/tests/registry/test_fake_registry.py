"""The fake registry fails exactly as scripted, and otherwise answers as a registry does."""

import time
from collections.abc import Iterator
from http.client import IncompleteRead

import pytest
import requests
import urllib3

from local.images import make_image, make_index
from local.registry import FakeRegistry, SparseBlob
from pullahead.oci import media_types

IMAGE = make_index([make_image([5000], seed=1), make_image([SparseBlob(3_000_000, seed=2)], seed=2)])
LAYER = next(digest for digest, blob in IMAGE.blobs.items() if len(blob) == 3_000_000)
CONTENT = IMAGE.read_blob(LAYER)


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        running.push(IMAGE, "team/app", "1.0")
        yield running


def get(registry: FakeRegistry, path: str, **headers: str) -> requests.Response:
    """Ask as a client that accepts every kind of manifest."""
    headers = {"Accept": media_types.ACCEPT, **headers}
    return requests.get(f"{registry.url}{path}", headers=headers, timeout=10)


def test_head_and_get_differ_only_in_the_body(registry: FakeRegistry) -> None:
    url = f"{registry.url}/v2/team/app/manifests/1.0"
    head = requests.head(url, headers={"Accept": media_types.ACCEPT}, timeout=10)
    whole = get(registry, "/v2/team/app/manifests/1.0")
    assert whole.content == IMAGE.root.content
    assert (head.status_code, head.content) == (200, b"")
    for name in ("Content-Type", "Content-Length", "Docker-Content-Digest"):
        assert head.headers[name] == whole.headers[name]
    assert [(request.method, request.bytes_sent) for request in registry.requests] == [
        ("HEAD", 0),
        ("GET", len(IMAGE.root.content)),
    ]


def test_media_type_that_is_not_accepted_is_not_found(registry: FakeRegistry) -> None:
    assert get(registry, "/v2/team/app/manifests/1.0", Accept=media_types.OCI_MANIFEST).status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "first_byte", "end"),
    [
        ("bytes=0-", 206, 0, 3_000_000),
        ("bytes=10-19", 206, 10, 20),
        ("bytes=1048570-1048580", 206, 1_048_570, 1_048_581),
        ("bytes=2999999-9999999", 206, 2_999_999, 3_000_000),
        ("bytes=3000000-", 416, 0, 0),
        ("lines=1-2", 200, 0, 3_000_000),
    ],
)
def test_range_is_served_exactly(registry: FakeRegistry, asked: str, status: int, first_byte: int, end: int) -> None:
    answer = get(registry, f"/v2/team/app/blobs/{LAYER}", Range=asked)
    assert (answer.status_code, answer.content) == (status, CONTENT[first_byte:end])
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {first_byte}-{end - 1}/3000000"


def test_fault_occurs_as_often_as_scripted(registry: FakeRegistry) -> None:
    registry.fail("GET", r"/manifests/1\.0$", status=503, times=2, headers={"Retry-After": "1"}, body=b"busy")
    answers = [get(registry, "/v2/team/app/manifests/1.0") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert (answers[0].headers["Retry-After"], answers[0].content) == ("1", b"busy")


def test_fault_affects_matching_requests_only(registry: FakeRegistry) -> None:
    registry.fail("HEAD", "/manifests/")
    registry.fail("GET", "/blobs/other")
    assert get(registry, "/v2/team/app/manifests/1.0").status_code == 200
    assert get(registry, f"/v2/team/app/blobs/{LAYER}").status_code == 200


@pytest.mark.parametrize("after_bytes", [0, 1, 1_500_000])
def test_response_is_cut_after_exactly_the_given_bytes(registry: FakeRegistry, after_bytes: int) -> None:
    registry.cut("/blobs/", after_bytes=after_bytes)
    answer = urllib3.request("GET", f"{registry.url}/v2/team/app/blobs/{LAYER}", preload_content=False, retries=False)
    assert answer.read(after_bytes) == CONTENT[:after_bytes]
    with pytest.raises(urllib3.exceptions.ProtocolError) as caught:
        answer.read(1)
    assert isinstance(caught.value.args[1], IncompleteRead)
    assert get(registry, f"/v2/team/app/blobs/{LAYER}").content == CONTENT


def test_registry_that_is_down_closes_connections(registry: FakeRegistry) -> None:
    with requests.Session() as session:
        assert session.get(f"{registry.url}/v2/", timeout=10).status_code == 200
        registry.down = True
        with pytest.raises(requests.ConnectionError):
            session.get(f"{registry.url}/v2/", timeout=10)
        registry.down = False
        assert session.get(f"{registry.url}/v2/", timeout=10).status_code == 200


def test_hook_runs_before_the_response(registry: FakeRegistry) -> None:
    registry.before("GET", "/manifests/", lambda: registry.delete_tag("team/app", "1.0"))
    assert get(registry, "/v2/team/app/manifests/1.0").status_code == 404


def test_falsified_blob_and_digest_header_are_served(registry: FakeRegistry) -> None:
    registry.lie_blob(LAYER, b"lie")
    registry.lie_digest_header = "sha256:lie"
    assert get(registry, f"/v2/team/app/blobs/{LAYER}").content == b"lie"
    assert get(registry, "/v2/team/app/manifests/1.0").headers["Docker-Content-Digest"] == "sha256:lie"


def test_tag_is_moved_and_deleted(registry: FakeRegistry) -> None:
    child = next(iter(IMAGE.manifests))
    registry.tag("team/app", "1.0", child)
    assert get(registry, "/v2/team/app/manifests/1.0").headers["Docker-Content-Digest"] == child
    registry.delete_tag("team/app", "1.0")
    assert get(registry, "/v2/team/app/manifests/1.0").status_code == 404
    assert get(registry, f"/v2/team/app/manifests/{IMAGE.digest}").status_code == 200


def test_signed_url_is_valid_for_its_method_without_a_token_only(registry: FakeRegistry) -> None:
    with FakeRegistry() as storage:
        registry.redirect_blobs_to = storage
        url = f"{registry.url}/v2/team/app/blobs/{LAYER}"
        location = requests.get(url, timeout=10, allow_redirects=False).headers["Location"]
        assert requests.get(location, timeout=10).content == CONTENT
        assert requests.head(location, timeout=10).status_code == 403
        assert requests.get(location, headers={"Authorization": "Bearer x"}, timeout=10).status_code == 400
        assert requests.get(location.partition("?")[0], timeout=10).status_code == 403


def test_token_is_valid_for_its_scope_until_it_expires(registry: FakeRegistry) -> None:
    registry.token_auth = True
    refused = get(registry, "/v2/team/app/manifests/1.0")
    assert refused.status_code == 401
    assert 'scope="repository:team/app:pull"' in refused.headers["WWW-Authenticate"]
    token = get(registry, "/token?scope=repository:team/app:pull").json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    assert get(registry, "/v2/team/app/manifests/1.0", **bearer).status_code == 200
    assert get(registry, "/v2/team/other/manifests/1.0", **bearer).status_code == 401
    registry.expire_tokens()
    assert get(registry, "/v2/team/app/manifests/1.0", **bearer).status_code == 401


def test_recorded_request_has_no_credential(registry: FakeRegistry) -> None:
    get(registry, "/v2/?a=b", Authorization="Bearer s3cr3t")
    (request,) = registry.requests
    assert (request.authorized, request.path, request.query, request.status) == (True, "/v2/", "a=b", 200)
    assert "s3cr3t" not in repr(request)


def test_every_tag_is_on_one_page(registry: FakeRegistry) -> None:
    for number in range(4):
        registry.tag("team/app", f"2.{number}", IMAGE.digest)
    tags, path = [], "/v2/team/app/tags/list?n=2"
    while path:
        page = get(registry, path)
        tags += page.json()["tags"]
        path = page.links.get("next", {}).get("url", "")
    assert tags == ["1.0", "2.0", "2.1", "2.2", "2.3"]
    assert registry.count("GET", "/tags/list") == 3
    assert get(registry, "/v2/none/tags/list").status_code == 404


def test_bandwidth_limit_is_kept(registry: FakeRegistry) -> None:
    registry.limit_bytes_per_second = 20_000_000
    started = time.monotonic()
    assert get(registry, f"/v2/team/app/blobs/{LAYER}").content == CONTENT
    assert time.monotonic() - started >= 0.14  # 3,000,000 bytes take 0.15 s


def test_stopped_registry_releases_its_port_and_connections(registry: FakeRegistry) -> None:
    with requests.Session() as session:
        session.get(f"{registry.url}/v2/", timeout=10)
        registry.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(f"{registry.url}/v2/", timeout=10)
    with FakeRegistry(port=int(registry.host.partition(":")[2])) as heir:
        assert requests.get(f"{heir.url}/v2/", timeout=10).status_code == 200


def test_error_in_the_fake_itself_is_raised_when_it_stops() -> None:
    registry = FakeRegistry()
    registry.start()
    registry.before("GET", "/v2/", lambda: registry.tag("no such repository", "1.0", IMAGE.digest))
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{registry.url}/v2/", timeout=10)
    with pytest.raises(RuntimeError, match="fake registry itself"):
        registry.stop()
