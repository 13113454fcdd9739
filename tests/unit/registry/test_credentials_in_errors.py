"""Errors of a registry name the credential that was sent: its user and where it was found, never its secret."""

from collections.abc import Iterator

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from local.registry.answers import Answer, error_answer
from local.registry.journal import RecordedRequest
from pullahead.errors import AccessDeniedError, NotFoundError, RegistryError, RegistryUnavailableError
from pullahead.oci import Repository
from pullahead.oci.reference import Reference
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from tests.unit.registry.harness import SECRET, upstream_of

PATH = "team/app"
ROBOT = Credential("robot", SECRET, source="the secret pullahead/ghcr")
SENT_AS_ROBOT = "sent as user robot of the secret pullahead/ghcr"
ANONYMOUSLY = "sent without a credential"


class ForbiddingRegistry(FakeRegistry):
    """Asks for a login, and answers every login with `refusal`; its token service lets everybody in."""

    def __init__(self) -> None:
        super().__init__()
        self.refusal = 401
        self.push(make_image(seed=14), PATH, "1.0")

    def answer(self, request: RecordedRequest, authorization: str | None) -> Answer:
        if request.path == "/token":
            return super().answer(request, authorization)
        if authorization is not None:
            return error_answer(self.refusal, "DENIED", "not you")
        if self.token_auth:
            return super().answer(request, None)
        return error_answer(401, "UNAUTHORIZED", "who are you?", {"WWW-Authenticate": 'Basic realm="here"'})


@pytest.fixture(params=["basic", "token"])
def forbidding(request: pytest.FixtureRequest) -> Iterator[ForbiddingRegistry]:
    with ForbiddingRegistry() as registry:
        registry.token_auth = request.param == "token"
        yield registry


def error_of(registry: FakeRegistry, upstream: UpstreamRegistry) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        upstream.head_manifest(Reference(Repository(registry.host, PATH), "1.0"))
    assert SECRET not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("status", [401, 403])
def test_denial_names_user_and_source(forbidding: ForbiddingRegistry, status: int) -> None:
    forbidding.refusal = status
    error = error_of(forbidding, upstream_of(credentials=lambda _: ROBOT))
    assert type(error) is AccessDeniedError
    assert f"(HTTP {status}); {SENT_AS_ROBOT}. Check that its password or token is still valid" in str(error)


def test_denial_without_a_credential_says_how_to_configure_one(registry: FakeRegistry) -> None:
    registry.fail(None, "/v2/", 401, times=9)
    error = error_of(registry, upstream_of())
    assert f"{ANONYMOUSLY}. Check the name" in str(error)
    assert f"`credentials` of {registry.host} in the rules" in str(error)


def test_credential_that_the_token_service_refuses_is_named(registry: FakeRegistry) -> None:
    registry.token_auth = True
    registry.fail("GET", "/token", 401, times=9)
    error = error_of(registry, upstream_of(credentials=lambda _: ROBOT))
    assert "token service" in str(error)
    assert f"{SENT_AS_ROBOT}. It does not accept this user name, password or token" in str(error)


def test_credential_that_the_registry_did_not_ask_for_is_named(registry: FakeRegistry) -> None:
    registry.fail(None, "/v2/", 403, times=9)
    error = error_of(registry, upstream_of(credentials=lambda _: ROBOT))
    assert f"{ANONYMOUSLY}, as the registry did not ask for that of user robot of the secret" in str(error)
    assert "docker login" not in str(error)


def test_not_found_says_whether_a_credential_was_sent(registry: FakeRegistry) -> None:
    registry.token_auth = True
    anonymous = error_of(registry, upstream_of())
    robot = error_of(registry, upstream_of(credentials=lambda _: ROBOT))
    assert type(anonymous) is type(robot) is NotFoundError
    assert f"(HTTP 404); {ANONYMOUSLY}." in str(anonymous)
    assert f"(HTTP 404); {SENT_AS_ROBOT}." in str(robot)


@pytest.mark.parametrize("name", ["ghp_0123456789abcdef", "glpat-abcdef", "dckr_pat_abc", "eyJhbGciOi", "x" * 61])
def test_user_name_that_looks_like_a_token_is_not_shown(registry: FakeRegistry, name: str) -> None:
    registry.token_auth = True
    registry.fail("GET", "/token", 401, times=9)
    error = error_of(registry, upstream_of(credentials=lambda _: Credential(name, SECRET, source="the secret x")))
    assert name not in str(error)
    assert "a user whose name looks like a token of the secret x" in str(error)


def test_passing_trouble_says_how_often_it_was_tried(registry: FakeRegistry) -> None:
    registry.fail(None, "/v2/", 503, times=9)
    error = error_of(registry, upstream_of())
    assert type(error) is RegistryUnavailableError
    assert "tried 3 times" in str(error)


def test_forgotten_access_uses_the_credential_that_there_is_now(registry: FakeRegistry) -> None:
    registry.token_auth = True
    registry.push(make_image(seed=15), PATH, "1.0")
    held = [Credential("old", SECRET), Credential("new", SECRET)]
    upstream = upstream_of(credentials=lambda _: held[0])
    reference = Reference(Repository(registry.host, PATH), "1.0")
    upstream.head_manifest(reference)
    del held[0]
    upstream.head_manifest(reference)
    assert registry.count("GET", "/token") == 1, "the token is still valid"
    upstream.forget_access(Repository(registry.host, "team/other"))
    upstream.head_manifest(reference)
    assert registry.count("GET", "/token") == 1, "another repository's token is kept"
    upstream.forget_access(reference.repository)
    upstream.head_manifest(reference)
    assert registry.count("GET", "/token") == 2
