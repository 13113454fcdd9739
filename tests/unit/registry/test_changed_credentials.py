"""A credential that is replaced in a running process: the old one is refused, and the new one is used."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from local.registry.answers import Answer, error_answer
from local.registry.journal import RecordedRequest
from pullahead.errors import AccessDeniedError
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential, from_basic
from pullahead.registry.request import Inquiry
from tests.unit.registry.harness import last_blob, upstream_of

IMAGE = make_image([1000], seed=13)
PATH = "team/app"
OLD, NEW = Credential("robot", "old-s3cr3t"), Credential("robot", "new-s3cr3t")


class PrivateRegistry(FakeRegistry):
    """Lets in who knows the secret: by Basic, or with a token that its token service gives for the secret only."""

    def __init__(self) -> None:
        super().__init__()
        self.good, self.refusal = OLD, 401
        self.push(IMAGE, PATH, "1.0")

    def answer(self, request: RecordedRequest, authorization: str | None) -> Answer:
        asks_secret = not self.token_auth or request.path == "/token"
        if not asks_secret or authorization == self.good.basic:
            return super().answer(request, authorization)
        status = 401 if authorization is None else self.refusal
        return error_answer(status, "DENIED", "not you", {"WWW-Authenticate": 'Basic realm="here"'})

    def change(self, credential: Credential) -> None:
        """Know another secret from now on, and none of the tokens that were had by the old one."""
        self.good = credential
        self.expire_tokens()


class Vault:
    """Where the credential is looked up. What it found is kept until it is refused."""

    def __init__(self) -> None:
        self.stored, self.kept = OLD, OLD
        self.reported: list[tuple[Repository, Credential]] = []
        self._lock = threading.Lock()

    def find(self, _: Repository) -> Credential:
        return self.kept

    def refused(self, repository: Repository, credential: Credential) -> None:
        with self._lock:
            self.reported.append((repository, credential))
            self.kept = self.stored


@pytest.fixture(params=["basic", "token"])
def private(request: pytest.FixtureRequest) -> Iterator[PrivateRegistry]:
    with PrivateRegistry() as registry:
        registry.token_auth = request.param == "token"
        yield registry


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def upstream(vault: Vault) -> UpstreamRegistry:
    return upstream_of(credentials=vault.find, refused=vault.refused)


def head(private: PrivateRegistry, upstream: UpstreamRegistry) -> None:
    """Resolve a tag, which must go well."""
    assert upstream.head_manifest(private.reference(PATH, "1.0")) == IMAGE.root.descriptor


@pytest.mark.parametrize("refusal", [401, 403])
def test_new_secret_is_used_without_a_restart(
    private: PrivateRegistry, vault: Vault, upstream: UpstreamRegistry, refusal: int
) -> None:
    head(private, upstream)
    private.refusal = refusal
    private.change(NEW)
    vault.stored = NEW
    head(private, upstream)
    assert vault.reported == [(private.repository(PATH), OLD)]
    private.forget_requests()
    head(private, upstream)
    assert [request.status for request in private.requests] == [200]


def test_blob_is_read_on_with_the_new_secret(
    private: PrivateRegistry, vault: Vault, upstream: UpstreamRegistry
) -> None:
    head(private, upstream)
    private.change(NEW)
    vault.stored = NEW
    with upstream.open_blob(private.repository(PATH), last_blob(IMAGE)) as pieces:
        assert len(b"".join(pieces)) == 1000


def test_first_secret_that_is_wrong_is_replaced(
    private: PrivateRegistry, vault: Vault, upstream: UpstreamRegistry
) -> None:
    private.change(NEW)
    vault.stored = NEW
    head(private, upstream)
    assert vault.reported == [(private.repository(PATH), OLD)]


def test_wrong_secret_is_tried_once(private: PrivateRegistry, vault: Vault, upstream: UpstreamRegistry) -> None:
    private.change(NEW)
    with pytest.raises(AccessDeniedError, match="access denied") as caught:
        head(private, upstream)
    assert len(vault.reported) == 1
    assert len([request for request in private.requests if request.authorized]) == 1
    for secret in (OLD.secret, NEW.secret):
        assert secret not in str(caught.value)


def test_second_wrong_secret_is_tried_once(private: PrivateRegistry, vault: Vault, upstream: UpstreamRegistry) -> None:
    private.change(NEW)
    vault.stored = Credential("robot", "wrong too")
    with pytest.raises(AccessDeniedError):
        head(private, upstream)
    assert len([request for request in private.requests if request.authorized]) == 2


def test_new_secret_found_by_another_thread_is_used(
    private: PrivateRegistry, vault: Vault, upstream: UpstreamRegistry
) -> None:
    head(private, upstream)
    private.change(NEW)
    vault.stored = NEW
    all_refused = threading.Barrier(4)

    def wait_for_all() -> None:
        all_refused.wait(10)

    private.before("HEAD", "/manifests/", wait_for_all, times=4)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: head(private, upstream), range(4)))
    assert set(vault.reported) == {(private.repository(PATH), OLD)}


def test_refusal_without_a_challenge_reports_no_credential(registry: FakeRegistry, vault: Vault) -> None:
    """It never asked who we are, so that no credential was refused."""
    registry.fail(None, "/manifests/", 403, times=9)
    with pytest.raises(AccessDeniedError):
        upstream_of(credentials=vault.find, refused=vault.refused).head_manifest(registry.reference(PATH, "1.0"))
    assert vault.reported == []


def test_refusal_by_docker_hub_is_reported_under_the_name_in_the_rules(registry: FakeRegistry, vault: Vault) -> None:
    alpine = Reference(Repository("docker.io", "library/alpine"), "3.20")
    registry.fail("HEAD", "/manifests/", 401, headers={"WWW-Authenticate": 'Basic realm="r"'}, times=9)
    hosts = {"https://registry-1.docker.io": registry}
    with pytest.raises(AccessDeniedError):
        upstream_of(hosts, credentials=vault.find, refused=vault.refused).head_manifest(alpine)
    assert vault.reported == [(alpine.repository, OLD)]


def test_connection_is_kept_if_a_credential_cannot_be_looked_up(registry: FakeRegistry) -> None:
    inquiry = Inquiry("find credential", "app")

    def find(_: Repository) -> Credential:
        raise inquiry.error(AccessDeniedError, "there is no such secret")

    registry.fail("HEAD", "/manifests/", 401, headers={"WWW-Authenticate": 'Basic realm="r"'}, times=9)
    upstream = upstream_of(credentials=find)
    for _ in range(3):
        with pytest.raises(AccessDeniedError, match="no such secret"):
            upstream.head_manifest(registry.reference(PATH, "1.0"))
    assert registry.connections == 1


@pytest.mark.parametrize("encoded", ["%%%", "AAAA", "c2VjcmV0", "/////w=="])
def test_malformed_basic_credential_is_not_quoted(encoded: str) -> None:
    with pytest.raises(ValueError, match="it ") as caught:
        from_basic(encoded)
    assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True) or not caught.value.__context__
    assert "secret" not in str(caught.value).replace("name and secret", "")


def test_padding_of_docker_is_not_part_of_the_secret() -> None:
    assert from_basic("bWU6cGE6c3MAAA==") == Credential("me", "pa:ss")
