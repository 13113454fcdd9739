"""Authorization of pushes: how often tokens are requested, for which scopes, and which hosts get no credential."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from pullahead.errors import AccessDeniedError, RegistryUnavailableError, UploadLostError
from pullahead.oci import Repository
from pullahead.oci.registries import Offered, Upload
from pullahead.registry.credentials import Credential
from pullahead.registry.http import HttpClient
from pullahead.registry.request import Inquiry, Request, Timeouts
from pullahead.registry.session import Retries, Session
from pullahead.registry.tokens import PUSH, Identity
from tests.unit.registry.harness import FakeTime
from tests.unit.registry.push.harness import (
    BLOB,
    CREDENTIAL,
    REPOSITORY,
    SECRET,
    UPLOADS,
    Pieces,
    Reply,
    ScriptedRegistry,
    target_of,
)

BASIC = f"Basic {base64.b64encode(f'user:{SECRET}'.encode()).decode()}"
WANTED = Reply(202, {"Location": f"{UPLOADS}1"})
CREATED = Reply(201)


def challenge(realm: str, scope: str = f"repository:{REPOSITORY}:pull,push") -> Reply:
    return Reply(401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="registry",scope="{scope}"'})


def token(value: str, expires_in: int = 300) -> Reply:
    return Reply(200, {}, json.dumps({"token": value, "expires_in": expires_in}).encode())


def test_token_for_push_is_fetched_once(registry: ScriptedRegistry) -> None:
    registry.on("HEAD", "/manifests/", challenge(f"http://{registry.host}/token", f"repository:{REPOSITORY}:pull"))
    registry.on("HEAD", "/manifests/", Reply(404))
    registry.on("GET", "^/token", token("t1"))
    registry.on("POST", UPLOADS, WANTED)
    registry.on("PUT", UPLOADS, CREATED)
    asked: list[Repository] = []
    target = target_of(registry, CREDENTIAL, asked=asked)
    assert target.published_digests(REPOSITORY, ["1"]) == {}
    assert target.stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.COPIED
    fetched = next(each for each in registry.asked if each.method == "GET")
    assert parse_qs(urlsplit(fetched.path).query)["scope"] == [f"repository:{REPOSITORY}:pull,push"]
    assert fetched.authorization == BASIC
    assert [each.authorization for each in registry.asked] == [None, BASIC, *["Bearer t1"] * 3]
    assert set(asked) == {Repository(registry.host, REPOSITORY)}


def test_mount_asks_to_read_the_other_repository(registry: ScriptedRegistry) -> None:
    both = f"repository:{REPOSITORY}:pull,push repository:team/base:pull"
    registry.on("POST", UPLOADS, challenge(f"http://{registry.host}/token", both), WANTED)
    registry.on("GET", "^/token", token("t1"))
    registry.on("PUT", UPLOADS, CREATED)
    target_of(registry, CREDENTIAL).stream_blob(REPOSITORY, BLOB, Pieces().open, "team/base")
    assert parse_qs(urlsplit(registry.asked[1].path).query)["scope"] == both.split()
    assert registry.asked[-1].authorization == "Bearer t1"


@pytest.mark.parametrize("scope", ["", "*", f"repository:{REPOSITORY}:*", "repository:secret:pull,push,delete"])
def test_scope_of_a_targets_challenge_is_not_obeyed(registry: ScriptedRegistry, scope: str) -> None:
    registry.on("POST", UPLOADS, challenge(f"http://{registry.host}/token", scope), CREATED)
    registry.on("GET", "^/token", token("t1"))
    target_of(registry, CREDENTIAL).stream_blob(REPOSITORY, BLOB, Pieces().open, "team/base")
    scopes = parse_qs(urlsplit(registry.asked[1].path).query)["scope"]
    assert scopes == [f"repository:{REPOSITORY}:pull,push", "repository:team/base:pull"]


def test_anonymous_token_is_requested_without_a_credential(registry: ScriptedRegistry) -> None:
    with ScriptedRegistry() as elsewhere:
        registry.on("POST", UPLOADS, challenge(f"http://{elsewhere.same_under_another_name}/token"), CREATED)
        elsewhere.on("GET", "^/token", token("t1"))
        assert target_of(registry).stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.PRESENT
        assert [each.authorization for each in elsewhere.asked] == [None]


def test_foreign_realm_gets_no_credential(registry: ScriptedRegistry) -> None:
    with ScriptedRegistry() as thief:
        registry.on("POST", UPLOADS, challenge(f"http://{thief.same_under_another_name}/token"))
        pieces = Pieces()
        with pytest.raises(AccessDeniedError, match="not its own") as caught:
            target_of(registry, CREDENTIAL).stream_blob(REPOSITORY, BLOB, pieces.open)
        assert (thief.asked, pieces.opened) == ([], 0)
    assert SECRET not in str(caught.value)


def test_realm_that_redirects_is_not_followed(registry: ScriptedRegistry) -> None:
    with ScriptedRegistry() as thief:
        registry.on("POST", UPLOADS, challenge(f"http://{registry.host}/token"))
        registry.on("GET", "^/token", Reply(307, {"Location": f"http://{thief.host}/token"}))
        with pytest.raises(AccessDeniedError, match="redirects"):
            target_of(registry, CREDENTIAL).stream_blob(REPOSITORY, BLOB, Pieces().open)
        assert thief.asked == []


@pytest.mark.parametrize("status", [400, 404, 501])
def test_token_service_that_fails_is_named(registry: ScriptedRegistry, status: int) -> None:
    registry.on("POST", UPLOADS, challenge(f"http://{registry.host}/token"))
    registry.on("GET", "^/token", Reply(status))
    with pytest.raises(RegistryUnavailableError, match="token service"):
        target_of(registry, CREDENTIAL).stream_blob(REPOSITORY, BLOB, Pieces().open)


def test_wrong_credential_is_tried_once(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, challenge(f"http://{registry.host}/token"))
    registry.on("GET", "^/token", Reply(401))
    with pytest.raises(AccessDeniedError, match="does not accept this user name"):
        target_of(registry, CREDENTIAL).stream_blob(REPOSITORY, BLOB, Pieces().open)
    assert len(registry.asked) == 2


def test_basic_is_sent_without_being_asked_again(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}), WANTED, WANTED)
    registry.on("PUT", UPLOADS, CREATED, CREATED)
    target = target_of(registry, CREDENTIAL)
    for _ in range(2):
        target.stream_blob(REPOSITORY, BLOB, Pieces().open)
    assert [each.authorization for each in registry.asked] == [None, *[BASIC] * 4]


def test_basic_without_a_credential_is_a_refusal(registry: ScriptedRegistry) -> None:
    registry.on("POST", UPLOADS, Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    with pytest.raises(AccessDeniedError):
        target_of(registry).stream_blob(REPOSITORY, BLOB, Pieces().open)
    assert len(registry.asked) == 1


def test_token_that_expires_on_the_way_loses_the_upload(registry: ScriptedRegistry) -> None:
    realm = f"http://{registry.host}/token"
    registry.on("POST", UPLOADS, challenge(realm), WANTED, WANTED)
    registry.on("GET", "^/token", token("t1"), token("t2"))
    registry.on("PUT", UPLOADS, challenge(realm), CREATED)
    target = target_of(registry, CREDENTIAL)
    with pytest.raises(UploadLostError):
        target.stream_blob(REPOSITORY, BLOB, Pieces().open)
    assert target.stream_blob(REPOSITORY, BLOB, Pieces().open) is Offered.COPIED
    assert registry.asked[-1].authorization == "Bearer t2"


def test_expired_token_is_renewed(registry: ScriptedRegistry) -> None:
    time = FakeTime()
    registry.on("POST", UPLOADS, challenge(f"http://{registry.host}/token"), CREATED, CREATED)
    registry.on("GET", "^/token", token("t1", 60), token("t2", 60))
    target = target_of(registry, CREDENTIAL, time=time)
    target.stream_blob(REPOSITORY, BLOB, Pieces().open)
    time.now += 61
    target.stream_blob(REPOSITORY, BLOB, Pieces().open)
    assert registry.asked[-1].authorization == "Bearer t2"


def test_part_that_is_the_first_request_is_sent_again_with_a_token(registry: ScriptedRegistry) -> None:
    """In a process that goes on with another one's upload."""
    registry.on("PATCH", UPLOADS, challenge(f"http://{registry.host}/token"), Reply(202, {"Range": "0-3"}))
    registry.on("GET", "^/token", token("t1"))
    upload = Upload(f"http://{registry.host}{UPLOADS}1", 10)
    assert target_of(registry, CREDENTIAL).upload_part(REPOSITORY, upload, 0, b"part") == 4
    assert [each.body for each in registry.asked if each.method == "PATCH"] == [b"part", b"part"]


def test_credential_does_not_show_its_secret() -> None:
    assert SECRET not in repr(Credential("user", SECRET))


def test_storage_elsewhere_gets_no_token(registry: ScriptedRegistry) -> None:
    """The address that it is sent to is signed; it must not have our name as well, whatever it asks for."""
    time = FakeTime()
    timeouts = Timeouts(connect=2, read=2)
    root = f"http://{registry.host}"
    session = Session(
        HttpClient(timeouts),
        timeouts,
        Retries(time, time.sleep, lambda: 1.0),
        Identity(lambda _: CREDENTIAL, PUSH),
        target=lambda: root,
    )
    inquiry = Inquiry("test", REPOSITORY)
    registry.on("HEAD", UPLOADS, Reply(401, {"WWW-Authenticate": "Basic"}), Reply(200))
    session.answer(Request("HEAD", f"{root}{UPLOADS}1", {}, inquiry), (200,))
    with ScriptedRegistry() as storage:
        storage.on("PUT", "", Reply(401, {"WWW-Authenticate": "Basic"}))
        elsewhere = Request("PUT", f"http://{storage.host}{UPLOADS}1", {}, inquiry, resource=f"{root}{UPLOADS}")
        with pytest.raises(AccessDeniedError):
            session.answer(elsewhere, (200,))
        assert [each.authorization for each in storage.asked] == [None]
    assert registry.asked[-1].authorization == BASIC
