"""The credential for an upstream registry, and which hosts receive it."""

import base64
from urllib.parse import urlsplit

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from local.registry.answers import Answer, error_answer
from local.registry.journal import RecordedRequest
from pullahead.errors import AccessDeniedError, NotFoundError
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential, Credentials, may_be_told
from tests.unit.registry.harness import SECRET, last_blob, upstream_of

IMAGE = make_image([1000], seed=7)
HUB = Reference(Repository("docker.io", "library/alpine"), "3.20")
CREDENTIAL = Credential("user", SECRET)


@pytest.mark.parametrize(
    ("asker", "realm"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://hub.example.co.uk", "https://auth.example.co.uk/token"),
        ("https://mine.azurecr.io", "https://mine.azurecr.io/oauth2/token"),
        ("https://10.0.0.5:5000", "https://10.0.0.5:5001/token"),
        ("http://localhost:5000", "http://localhost:5001/token"),
        ("http://localhost:5000", "https://localhost/token"),
    ],
)
def test_own_token_service_gets_the_credential(asker: str, realm: str) -> None:
    assert may_be_told(urlsplit(realm), urlsplit(asker))


@pytest.mark.parametrize(
    ("asker", "realm"),
    [
        ("https://registry-1.docker.io", "https://docker.io.example/token"),
        ("https://registry-1.docker.io", "https://notdocker.io/token"),
        ("https://registry-1.docker.io", "http://auth.docker.io/token"),
        ("https://hub.example.co.uk", "https://auth.thief.co.uk/token"),
        ("https://mine.azurecr.io", "https://theirs.azurecr.io/oauth2/token"),
        ("https://a.us-central1.run.app", "https://b.us-central1.run.app/token"),
        ("https://10.0.0.5:5000", "https://10.1.0.5/token"),
        ("https://[2001:db8::1]", "https://[2001:db8::2]/token"),
        ("http://localhost:5000", "http://127.0.0.1:5000/token"),
        ("https://registry", "https://auth/token"),
    ],
)
def test_foreign_token_service_gets_no_credential(asker: str, realm: str) -> None:
    assert not may_be_told(urlsplit(realm), urlsplit(asker))


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "library/alpine", "3.20")


def upstream_with(credentials: Credentials, *registries: tuple[str, FakeRegistry]) -> UpstreamRegistry:
    return upstream_of(dict(registries), credentials=credentials)


def test_credential_is_looked_up_by_the_name_in_the_reference(registry: FakeRegistry, other: FakeRegistry) -> None:
    header = {"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'}
    registry.fail("HEAD", "/manifests/", 401, headers=header)
    asked: list[Repository] = []

    def find(repository: Repository) -> Credential:
        asked.append(repository)
        return CREDENTIAL

    upstream = upstream_with(find, ("https://registry-1.docker.io", registry), ("https://auth.docker.io", other))
    assert upstream.head_manifest(HUB) == IMAGE.root.descriptor
    assert [(each.path, each.authorized) for each in other.requests] == [("/token", True)]
    assert set(asked) == {HUB.repository}


def test_basic_challenge_is_answered(registry: FakeRegistry) -> None:
    registry.fail("HEAD", "/manifests/", 401, headers={"WWW-Authenticate": 'Basic realm="r"'})
    upstream = upstream_with(lambda _: CREDENTIAL, ("https://registry-1.docker.io", registry))
    assert upstream.head_manifest(HUB) == IMAGE.root.descriptor
    assert upstream.get_manifest(HUB) == IMAGE.root
    assert [each.authorized for each in registry.requests] == [False, True, True]


def test_basic_challenge_without_a_credential_is_a_refusal(registry: FakeRegistry) -> None:
    registry.fail("HEAD", "/manifests/", 401, headers={"WWW-Authenticate": 'Basic realm="r"'}, times=9)
    with pytest.raises(AccessDeniedError):
        upstream_with(lambda _: None, ("https://registry-1.docker.io", registry)).head_manifest(HUB)
    assert len(registry.requests) == 1


def test_registry_after_a_redirect_gets_no_credential(registry: FakeRegistry, other: FakeRegistry) -> None:
    """Not even who we are to that one: it was not the one that was asked for."""
    there = {"Location": "https://ghcr.io/v2/library/alpine/manifests/3.20"}
    registry.fail("HEAD", "/manifests/", 307, headers=there, times=9)
    other.fail("HEAD", "/manifests/", 401, headers={"WWW-Authenticate": 'Basic realm="r"'}, times=9)
    upstream = upstream_with(
        lambda _: CREDENTIAL, ("https://registry-1.docker.io", registry), ("https://ghcr.io", other)
    )
    with pytest.raises(AccessDeniedError):
        upstream.head_manifest(HUB)
    assert {each.authorized for each in other.requests} == {False}


def test_redirect_from_another_registry_carries_no_credential(registry: FakeRegistry, other: FakeRegistry) -> None:
    """What we may do there is not for another registry's redirect to use."""
    other.push(IMAGE, "library/alpine", "3.20")
    there = {"Location": "https://ghcr.io/v2/library/alpine/manifests/3.20"}
    registry.fail("HEAD", "/manifests/", 307, headers=there)
    other.fail("HEAD", "/manifests/", 401, headers={"WWW-Authenticate": 'Basic realm="r"'})
    upstream = upstream_with(
        lambda _: CREDENTIAL, ("https://registry-1.docker.io", registry), ("https://ghcr.io", other)
    )
    upstream.head_manifest(Reference(Repository("ghcr.io", "library/alpine"), "3.20"))
    upstream.head_manifest(HUB)
    assert [each.authorized for each in other.requests] == [False, True, False]


def test_redirect_of_a_token_service_carries_no_credential(registry: FakeRegistry, other: FakeRegistry) -> None:
    header = {"WWW-Authenticate": 'Bearer realm="https://registry-1.docker.io/token"'}
    registry.fail("HEAD", "/manifests/", 401, headers=header)
    registry.fail("GET", "/token", 307, headers={"Location": "https://thief.example/token"})
    upstream = upstream_with(
        lambda _: CREDENTIAL, ("https://registry-1.docker.io", registry), ("https://thief.example", other)
    )
    assert upstream.head_manifest(HUB) == IMAGE.root.descriptor
    assert [each.authorized for each in other.requests] == [False]


def test_storage_gets_no_credential(registry: FakeRegistry, other: FakeRegistry) -> None:
    blob = last_blob(IMAGE)
    registry.fail("GET", "/blobs/", 401, headers={"WWW-Authenticate": 'Basic realm="r"'})
    registry.fail("GET", "/blobs/", 307, headers={"Location": "https://cdn.example/v2/library/alpine/blobs/x"})
    other.fail("GET", "/blobs/", 200, body=IMAGE.read_blob(blob.digest))
    upstream = upstream_with(
        lambda _: CREDENTIAL, ("https://registry-1.docker.io", registry), ("https://cdn.example", other)
    )
    with upstream.open_blob(HUB.repository, blob) as pieces:
        assert b"".join(pieces) == IMAGE.read_blob(blob.digest)
    assert [each.authorized for each in other.requests] == [False]


def test_credential_is_sent_as_utf8() -> None:
    encoded = Credential("bücher", "pä:ss").basic.removeprefix("Basic ")
    assert base64.b64decode(encoded).decode() == "bücher:pä:ss"


class Nexus(FakeRegistry):
    """Serves public repositories anonymously and private ones with a login; only the root of the API challenges."""

    def __init__(self, hides: int) -> None:
        super().__init__()
        self.hides = hides
        self.push(IMAGE, "team/app", "1.0")

    def answer(self, request: RecordedRequest, authorization: str | None) -> Answer:
        if authorization == CREDENTIAL.basic:
            return super().answer(request, authorization)
        if request.path == "/v2/":
            return error_answer(401, "UNAUTHORIZED", "who are you", {"WWW-Authenticate": 'Basic realm="r"'})
        return error_answer(self.hides, "NAME_UNKNOWN", "not here")


@pytest.mark.parametrize("hides", [401, 403, 404])
def test_login_is_sent_to_a_registry_that_challenges_at_its_root_only(hides: int) -> None:
    with Nexus(hides) as registry:
        upstream = upstream_of(credentials=lambda _: CREDENTIAL)
        for _ in range(2):
            assert upstream.head_manifest(registry.reference("team/app", "1.0")) == IMAGE.root.descriptor
        assert registry.count("GET", "^/v2/$") == 1


def test_root_is_not_asked_without_a_login() -> None:
    with Nexus(404) as registry:
        with pytest.raises(NotFoundError):
            upstream_of().head_manifest(registry.reference("team/app", "1.0"))
        assert registry.count("GET", "^/v2/$") == 0


def test_registry_that_wants_no_login_is_asked_for_a_challenge_once(registry: FakeRegistry) -> None:
    upstream = upstream_of(credentials=lambda _: CREDENTIAL)
    for _ in range(3):
        with pytest.raises(NotFoundError):
            upstream.head_manifest(registry.reference("team/app", "missing"))
    assert registry.count("GET", "^/v2/$") == 1
