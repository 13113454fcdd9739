"""Redirects: where they may lead, and what must not go with them."""

import pytest

from local.images import SparseBlob, make_image
from local.registry import FakeRegistry
from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.registry.request import MAX_REDIRECTS, Inquiry, Request, redirected
from tests.unit.registry.harness import SECRET, FakeTime, last_blob, upstream_of
from tests.unit.registry.push.harness import Reply, ScriptedRegistry

IMAGE = make_image([100_000], seed=5)
BLOB = last_blob(IMAGE)


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "team/app", "1.0")


def read(registry: FakeRegistry, upstream: UpstreamRegistry, first_byte: int = 0) -> bytes:
    """Read the blob to its end."""
    with upstream.open_blob(registry.repository("team/app"), BLOB, first_byte) as pieces:
        return b"".join(pieces)


def redirect(registry: FakeRegistry, location: str, status: int = 307, times: int = 1) -> None:
    """Answer the next manifest requests with a redirect."""
    registry.fail(None, "/manifests/", status, times=times, headers={"Location": location} if location else {})


def test_authorization_does_not_follow_a_redirect(
    registry: FakeRegistry, other: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    registry.token_auth = True
    registry.redirect_blobs_to = other
    for first_byte in (0, 99_000):
        assert read(registry, upstream, first_byte) == IMAGE.read_blob(BLOB.digest)[first_byte:]
    assert [request.authorized for request in registry.requests if request.status == 307] == [True]
    assert [request.authorized for request in other.requests] == [False, False]
    assert other.requests[-1].headers["range"] == "bytes=99000-"


@pytest.mark.parametrize("challenged", ["/v2/", "/artifacts/"])
def test_authorization_stays_where_the_registry_itself_has_the_blob_elsewhere(challenged: str) -> None:
    """What it names there is no repository: the token is that for the one that was asked for."""
    with ScriptedRegistry() as scripted:
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{scripted.host}/token"'}
        wanted = Reply(307, {"Location": "/artifacts/1?signed=1"})
        scripted.on("GET", challenged, Reply(401, challenge))
        scripted.on("GET", "/blobs/", *[wanted] * 3)
        scripted.on("GET", "/artifacts/", *[Reply(200, body=IMAGE.read_blob(BLOB.digest))] * 2)
        scripted.on("GET", "/token", Reply(200, body=b'{"token": "t"}'))
        upstream = upstream_of(credentials=lambda _: Credential("user", SECRET))
        for _ in range(2):
            with upstream.open_blob(Repository(scripted.host, "team/app"), BLOB) as pieces:
                assert b"".join(pieces) == IMAGE.read_blob(BLOB.digest)
        asked = [(each.path.partition("?")[0], each.authorization) for each in scripted.asked]
        assert asked[-2:] == [(f"/v2/team/app/blobs/{BLOB.digest}", "Bearer t"), ("/artifacts/1", "Bearer t")]
        token = next(each for each in scripted.asked if each.path.startswith("/token"))
        assert "scope=repository%3Ateam%2Fapp%3Apull" in token.path
        assert (token.authorization or "").startswith("Basic ")
        assert scripted.count("GET", "/token") == 1


class TestBlobThatIsReadInParts:
    """Hundreds of ranges of one blob must not become as many questions to the registry."""

    def test_address_is_looked_up_once_for_all_parts(self, registry: FakeRegistry, other: FakeRegistry) -> None:
        registry.redirect_blobs_to = other
        upstream = upstream_of()
        for first_byte in (1000, 2000, 3000):
            assert read(registry, upstream, first_byte) == IMAGE.read_blob(BLOB.digest)[first_byte:]
        assert (registry.count("GET", "/blobs/"), other.count("GET", "/storage/")) == (1, 3)

    def test_address_is_forgotten_after_a_minute(self, registry: FakeRegistry, other: FakeRegistry) -> None:
        registry.redirect_blobs_to = other
        time = FakeTime()
        upstream = upstream_of(time=time)
        for _ in range(2):
            read(registry, upstream, 1000)
            time.now += 61
        assert registry.count("GET", "/blobs/") == 2

    @pytest.mark.parametrize("status", [403, 404, 503])
    def test_address_that_expired_is_looked_up_anew(
        self, registry: FakeRegistry, other: FakeRegistry, status: int
    ) -> None:
        registry.redirect_blobs_to = other
        upstream = upstream_of()
        read(registry, upstream, 1000)
        other.fail("GET", "/storage/", status, times=3 if status == 503 else 1)
        assert read(registry, upstream, 2000) == IMAGE.read_blob(BLOB.digest)[2000:]
        assert registry.count("GET", "/blobs/") == 2

    def test_whole_blob_is_looked_up_anew(self, registry: FakeRegistry, other: FakeRegistry) -> None:
        registry.redirect_blobs_to = other
        upstream = upstream_of()
        read(registry, upstream, 1000)
        read(registry, upstream)
        assert registry.count("GET", "/blobs/") == 2

    def test_kept_address_gets_no_authorization(self, registry: FakeRegistry, other: FakeRegistry) -> None:
        registry.token_auth = True
        registry.redirect_blobs_to = other
        upstream = upstream_of()
        for _ in range(2):
            read(registry, upstream, 1000)
        assert [request.authorized for request in other.requests] == [False, False]


def test_registry_after_a_redirect_may_ask_for_a_token_of_its_own(
    registry: FakeRegistry, other: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    registry.token_auth = other.token_auth = True
    registry.redirect_manifests_to = other
    other.push(IMAGE, "team/app", "1.0")
    for _ in range(2):
        assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
    assert (registry.count("GET", "/token"), other.count("GET", "/token")) == (1, 1)
    assert (registry.count("HEAD"), other.count("HEAD")) == (3, 3)
    assert not other.requests[0].authorized  # the first registry's token is not shown to the second


def test_redirects_use_kept_connections(
    registry: FakeRegistry, other: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    registry.redirect_blobs_to = other
    for _ in range(3):
        read(registry, upstream)
    assert (registry.connections, other.connections) == (1, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_head_stays_a_head(registry: FakeRegistry, upstream: UpstreamRegistry, status: int) -> None:
    redirect(registry, f"/v2/team/app/manifests/{IMAGE.digest}", status)
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
    assert [request.method for request in registry.requests] == ["HEAD", "HEAD"]
    assert registry.requests[-1].headers["accept"] == registry.requests[0].headers["accept"]


def test_loop_is_an_error(registry: FakeRegistry) -> None:
    time = FakeTime()
    redirect(registry, "/v2/team/app/manifests/1.0", times=99)
    with pytest.raises(RegistryUnavailableError, match="more than 5 times"):
        upstream_of(time=time).head_manifest(registry.reference("team/app", "1.0"))
    assert registry.count("HEAD") == MAX_REDIRECTS + 1
    assert time.slept == []


def test_five_redirects_are_followed(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    redirect(registry, "/v2/team/app/manifests/1.0", times=MAX_REDIRECTS)
    assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://elsewhere.example/x",
        "file:///etc/passwd",
        "https:///x",
        "http://[::1/x",
        "http://elsewhere.example:port/x",
        f"http://user:{SECRET}@elsewhere.example/x",
        "http://else where.example/x",
        "http://elsewhere.example/" + "x" * 20_000,
    ],
)
def test_redirect_to_an_invalid_address_is_an_error(
    registry: FakeRegistry, upstream: UpstreamRegistry, location: str
) -> None:
    redirect(registry, location)
    with pytest.raises(RegistryUnavailableError, match="invalid address") as caught:
        upstream.head_manifest(registry.reference("team/app", "1.0"))
    assert SECRET not in str(caught.value)
    assert registry.count("HEAD") == 1


def test_redirect_from_https_to_http_is_refused(registry: FakeRegistry, other: FakeRegistry) -> None:
    upstream = upstream_of({"https://registry.example": registry, "http://elsewhere.example": other})
    redirect(registry, "http://elsewhere.example/v2/team/app/manifests/1.0")
    with pytest.raises(AccessDeniedError, match="https to http"):
        upstream.head_manifest(Reference(Repository("registry.example", "team/app"), "1.0"))
    assert other.requests == []


def test_endless_body_of_a_redirect_is_not_read(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    location = {"Location": "/v2/team/app/manifests/1.0"}
    registry.fail("GET", "/manifests/", 307, headers=location, body=SparseBlob(1 << 40))
    assert upstream.get_manifest(registry.reference("team/app", "1.0")) == IMAGE.root
    assert registry.requests[0].bytes_sent < 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("asked", "location", "leads_to"),
    [
        ("https://r.example/v2/a/blobs/b?x=1", "/c?y=2", "https://r.example/c?y=2"),
        ("https://r.example/v2/a/blobs/b", "d", "https://r.example/v2/a/blobs/d"),
        ("https://r.example/v2/a", "//s.example/c", "https://s.example/c"),
        ("http://r.example/v2/a", "https://s.example/c", "https://s.example/c"),
        ("http://r.example/v2/a", "http://s.example:81/c", "http://s.example:81/c"),
        ("http://[::1]:5000/v2/a", "/c", "http://[::1]:5000/c"),
    ],
)
def test_relative_redirect_is_resolved(asked: str, location: str, leads_to: str) -> None:
    assert redirected(Request("GET", asked, {}, Inquiry("open_blob", "r.example/a")), location) == leads_to


@pytest.mark.parametrize("status", [401, 403])
def test_expired_signature_is_resolved_again(
    registry: FakeRegistry, other: FakeRegistry, upstream: UpstreamRegistry, status: int
) -> None:
    registry.redirect_blobs_to = other
    other.fail("GET", "/storage/", status)
    assert read(registry, upstream) == IMAGE.read_blob(BLOB.digest)
    assert (registry.count("GET", "/blobs/"), other.count("GET", "/storage/")) == (2, 2)
    assert len({request.query for request in other.requests}) == 2


def test_storage_that_keeps_refusing_is_named(
    registry: FakeRegistry, other: FakeRegistry, upstream: UpstreamRegistry
) -> None:
    registry.redirect_blobs_to = other
    other.fail("GET", "/storage/", 403, times=99)
    with pytest.raises(
        AccessDeniedError, match=f"access denied by {other.host}, to which the registry redirects"
    ) as caught:
        read(registry, upstream)
    assert "Signature" not in str(caught.value)
    assert other.count("GET") == 3


def test_docker_hub_is_asked_at_its_api_host(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "library/alpine", "3.20")
    upstream = upstream_of({"https://registry-1.docker.io": registry})
    reference = Reference(Repository("docker.io", "library/alpine"), "3.20")
    assert upstream.head_manifest(reference) == IMAGE.root.descriptor
