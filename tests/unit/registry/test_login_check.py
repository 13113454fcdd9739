"""What a credential can do: told by what registries answer, with as few requests as that takes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.images import make_image
from local.registry.answers import Answer
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential, Credentials
from pullahead.registry.login_check import Access, Login, Pull, check_access
from pullahead.registry.request import Request, Timeouts
from pullahead.rules.model import UpstreamSettings
from tests.fakes.internet import HttpRequest, Internet

IMAGE = make_image([10], seed=1)
GOOD, WRONG = Credential("robot", "s3cr3t"), Credential("robot", "wr0ng")
BEARER, BASIC, OPEN, DOWN = "bearer.example", "basic.example", "open.example", "down.example"
LIMITS = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "76;w=21600"}


def refused(code: str, status: int = 401, challenge: str = "") -> Answer:
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    return Answer(status, headers, json.dumps({"errors": [{"code": code, "message": "no"}]}).encode())


def content(asked: HttpRequest) -> Answer:
    """Serve team/app:1.0 to whoever got so far."""
    if asked.path == "/v2/":
        return Answer(200, {}, b"{}")
    if asked.path == "/v2/team/app/manifests/1.0":
        found = IMAGE.root.descriptor
        headers = {"Content-Type": found.media_type, "Docker-Content-Digest": found.digest, **LIMITS}
        return Answer(200, headers, IMAGE.root.content)
    return refused("MANIFEST_UNKNOWN" if asked.path.startswith("/v2/team/app/") else "NAME_UNKNOWN", 404)


def bearer(asked: HttpRequest) -> Answer:
    """Give everybody a token, but only the robot one that the repository takes."""
    if asked.path == "/token":
        if asked.authorization == WRONG.basic:
            return refused("UNAUTHORIZED")
        token = "anybody" if asked.authorization is None else "robot"
        return Answer(200, {}, json.dumps({"token": token}).encode())
    token_allows = asked.authorization == "Bearer robot" or (asked.authorization and asked.path == "/v2/")
    challenge = f'Bearer realm="https://{BEARER}/token",service="s"'
    return content(asked) if token_allows else refused("UNAUTHORIZED", challenge=challenge)


def basic(asked: HttpRequest) -> Answer:
    """Let the robot in."""
    is_known = asked.authorization == GOOD.basic
    return content(asked) if is_known else refused("UNAUTHORIZED", challenge='Basic realm="x"')


def down(_: HttpRequest) -> Answer:
    return Answer(500, {}, b"")


@pytest.fixture
def internet() -> Internet:
    return Internet({BEARER: bearer, BASIC: basic, OPEN: content, DOWN: down})


Check = Callable[..., Access]


@pytest.fixture
def check(internet: Internet, tmp_path: Path) -> Iterator[Check]:
    with internet.up() as ca:

        def connect(credentials: Credentials, watch: Callable[[Request], None]) -> UpstreamRegistry:
            return UpstreamRegistry(
                UpstreamSettings,
                ca=str(ca),
                network=internet.network,
                credentials=credentials,
                watch=watch,
                timeouts=Timeouts(connect=2, read=5),
                sleep=lambda _: None,
            )

        def run(host: str, place: str | None, credential: Credential | None) -> Access:
            path, _, tag = (place or "").partition(":")
            reference = Reference(Repository(host, path), tag) if place else None
            return check_access(host, reference, credential, connect)

        yield run


@pytest.mark.parametrize(
    ("host", "place", "credential", "login", "pull"),
    [
        (BEARER, "team/app:1.0", GOOD, Login.TOKEN, Pull.ALLOWED),
        (BEARER, "team/app:1.0", None, Login.TOKEN, Pull.REFUSED),
        (BEARER, "team/app:1.0", WRONG, Login.REFUSED, Pull.REFUSED),
        (BEARER, "team/app:2.0", GOOD, Login.TOKEN, Pull.NO_TAG),
        (BEARER, "team/other:1.0", GOOD, Login.TOKEN, Pull.NOT_FOUND),
        (BEARER, None, GOOD, Login.TOKEN, None),
        (BEARER, None, None, Login.TOKEN, None),
        (BEARER, None, WRONG, Login.REFUSED, None),
        (BASIC, "team/app:1.0", GOOD, Login.ACCEPTED, Pull.ALLOWED),
        (BASIC, "team/app:1.0", WRONG, Login.REFUSED, Pull.REFUSED),
        (BASIC, "team/app:1.0", None, Login.REFUSED, Pull.REFUSED),
        (BASIC, None, GOOD, Login.ACCEPTED, None),
        (BASIC, None, None, Login.REFUSED, None),
        (OPEN, "team/app:1.0", GOOD, Login.NOT_ASKED, Pull.ALLOWED),
        (OPEN, "team/app:2.0", None, Login.NOT_ASKED, Pull.NO_TAG),
        (OPEN, None, WRONG, Login.NOT_ASKED, None),
        (DOWN, "team/app:1.0", GOOD, Login.UNKNOWN, Pull.UNKNOWN),
        (DOWN, None, GOOD, Login.UNKNOWN, None),
        ("nowhere.example", None, GOOD, Login.UNKNOWN, None),
    ],
)
def test_login_and_pull_are_told_apart(
    check: Check, host: str, place: str | None, credential: Credential | None, login: Login, pull: Pull | None
) -> None:
    access = check(host, place, credential)
    assert (access.login, access.pull) == (login, pull)
    well = {Login.TOKEN, Login.ACCEPTED, Login.NOT_ASKED, Pull.ALLOWED, Pull.NO_TAG, None}
    assert access.works is ({login, pull} <= well)
    assert access.token_service == (BEARER if host == BEARER else None)


def test_what_is_refused_has_its_cause_and_no_secret(check: Check) -> None:
    access = check(BEARER, "team/app:1.0", WRONG)
    assert access.login_error is not None
    assert access.pull_error is not None
    assert "UNAUTHORIZED" in access.login_error.cause
    assert "wr0ng" not in f"{access}"
    assert "s3cr3t" not in f"{check(BEARER, 'team/app:1.0', GOOD)}"


def test_rate_limit_that_the_registry_reports_is_told(check: Check) -> None:
    quota = check(BEARER, "team/app:1.0", GOOD).quota
    assert quota is not None
    assert (quota.remaining, quota.limit) == (76, 100)
    assert check(BEARER, None, GOOD).quota is None


@pytest.mark.parametrize(
    ("host", "place", "credential", "requests"),
    [
        (
            BEARER,
            "team/app:1.0",
            GOOD,
            ["HEAD /v2/team/app/manifests/1.0", "GET /token", "HEAD /v2/team/app/manifests/1.0"],
        ),
        (BEARER, None, GOOD, ["GET /v2/", "GET /token", "GET /v2/"]),
        (OPEN, "team/app:1.0", None, ["HEAD /v2/team/app/manifests/1.0", "GET /v2/"]),
    ],
)
def test_no_request_is_sent_that_tells_nothing(
    check: Check, internet: Internet, host: str, place: str | None, credential: Credential | None, requests: list[str]
) -> None:
    check(host, place, credential)
    assert [request.replace(host, "") for request in internet.requests] == requests


def test_credential_goes_to_the_registry_that_is_checked_only(check: Check, internet: Internet) -> None:
    check(BEARER, "team/app:1.0", GOOD)
    check(BASIC, "team/app:1.0", GOOD)
    assert internet.hosts_sent_credentials() == {BEARER, BASIC}
