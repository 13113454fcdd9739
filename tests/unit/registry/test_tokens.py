"""Tokens: where they are fetched, how often, and where they must not go."""

import concurrent.futures
from pathlib import Path

import pytest
import requests

from local.images import make_image
from local.registry import FakeRegistry
from pullahead.errors import AccessDeniedError, RateLimitedError, RegistryError, RegistryUnavailableError
from pullahead.oci import Reference, Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.request import Inquiry, Request
from pullahead.registry.tokens import Challenge, Identity, Tokens
from tests.unit.registry.harness import SECRET, FakeTime, last_blob, upstream_of

IMAGE = make_image([1000], seed=5)
HUB = Reference(Repository("docker.io", "library/alpine"), "3.20")


@pytest.fixture(autouse=True)
def pushed(registry: FakeRegistry) -> None:
    registry.push(IMAGE, "team/app", "1.0")
    registry.push(IMAGE, "team/other", "1.0")
    registry.push(IMAGE, "library/alpine", "3.20")
    registry.token_auth = True


def head(registry: FakeRegistry, upstream: UpstreamRegistry, repository: str = "team/app") -> None:
    """Resolve a tag, which must go well."""
    assert upstream.head_manifest(registry.reference(repository, "1.0")) == IMAGE.root.descriptor


def challenge(registry: FakeRegistry, header: str) -> None:
    """Make the next manifest request meet a challenge of our own."""
    registry.fail("HEAD", "/manifests/", 401, headers={"WWW-Authenticate": header})


def token_body(registry: FakeRegistry, body: bytes, status: int = 200, times: int = 1) -> None:
    """Answer the next token requests with this."""
    registry.fail("GET", "/token", status, times=times, body=body)


def test_token_is_fetched_once(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for _ in range(3):
        head(registry, upstream)
    upstream.get_manifest(registry.reference("team/app", "1.0"))
    with upstream.open_blob(registry.repository("team/app"), last_blob(IMAGE)) as pieces:
        assert b"".join(pieces)
    assert [request.status for request in registry.requests] == [401, 200, 200, 200, 200, 200, 200]
    assert registry.count("GET", "/token") == 1
    assert registry.connections == 1


def test_token_request_is_what_was_demanded(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    head(registry, upstream)
    asked = next(request for request in registry.requests if request.path == "/token")
    expected = f"service={registry.host.replace(':', '%3A')}&scope=repository%3Ateam%2Fapp%3Apull"
    assert (asked.query, asked.authorized) == (expected, False)


def test_token_is_used_for_its_repository_only(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    for repository in ("team/app", "team/other", "team/app"):
        head(registry, upstream, repository)
    assert registry.count("GET", "/token") == 2
    assert registry.count("HEAD") == 5


def test_expired_token_is_fetched_once(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    head(registry, upstream)
    registry.expire_tokens()
    registry.forget_requests()
    head(registry, upstream)
    assert [(request.path[-6:], request.status) for request in registry.requests] == [
        ("ts/1.0"[-6:], 401),
        ("/token", 200),
        ("ts/1.0"[-6:], 200),
    ]


@pytest.mark.parametrize(("lifetime", "good_for"), [(300, 269), (60, 44), (8, 5)])
def test_token_is_renewed_before_it_expires(registry: FakeRegistry, lifetime: int, good_for: int) -> None:
    time = FakeTime()
    upstream = upstream_of(time=time)
    registry.token_lifetime_seconds = lifetime
    head(registry, upstream)
    time.now += good_for
    head(registry, upstream)
    assert registry.count("GET", "/token") == 1
    time.now += 2
    head(registry, upstream)
    assert registry.count("GET", "/token") == 2
    assert [request.status for request in registry.requests if request.method == "HEAD"] == [401, 200, 200, 200]


@pytest.mark.parametrize(
    ("expires_in", "kept"), [(b"", 44), (b', "expires_in": 1e300', 3569), (b', "expires_in": "60"', 44)]
)
def test_odd_lifetime_is_bounded(registry: FakeRegistry, expires_in: bytes, kept: int) -> None:
    time = FakeTime()
    upstream = upstream_of(time=time)
    registry.token_auth = False
    challenge(registry, f'Bearer realm="{registry.url}/token"')
    token_body(registry, b'{"token": "t"' + expires_in + b"}", times=2)
    head(registry, upstream)
    time.now += kept
    head(registry, upstream)
    assert registry.count("GET", "/token") == 1
    time.now += 2
    head(registry, upstream)
    assert registry.count("GET", "/token") == 2


@pytest.mark.parametrize("expires_in", [b"0", b"-5"])
def test_token_that_expires_at_once_is_used_once(registry: FakeRegistry, expires_in: bytes) -> None:
    upstream = upstream_of()
    registry.token_auth = False
    challenge(registry, f'Bearer realm="{registry.url}/token"')
    token_body(registry, b'{"token": "t", "expires_in": ' + expires_in + b"}")
    head(registry, upstream)
    assert registry.requests[-1].authorized


@pytest.mark.parametrize("body", [b'{"token": "a"}', b'{"access_token": "a"}', b'{"token": null, "access_token": "a"}'])
def test_both_token_fields_are_read(registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes) -> None:
    registry.token_auth = False
    challenge(registry, f'Bearer realm="{registry.url}/token"')
    token_body(registry, body)
    head(registry, upstream)
    assert registry.requests[-1].authorized


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"<html>", b"{}", b'{"token": ""}', b'{"token": "s3cr3t\\r\\nX: y"}', b"\xff"]
)
def test_answer_without_a_token_is_an_error(registry: FakeRegistry, upstream: UpstreamRegistry, body: bytes) -> None:
    token_body(registry, body)
    with pytest.raises(
        RegistryUnavailableError, match=f"token service {registry.host}: the response has no token"
    ) as e:
        head(registry, upstream)
    assert SECRET not in str(e.value)


@pytest.mark.parametrize(
    ("status", "kind", "asked"),
    [
        (401, AccessDeniedError, 1),
        (403, AccessDeniedError, 1),
        (404, RegistryUnavailableError, 1),  # never NotFoundError: the tag may well be there
        (500, RegistryUnavailableError, 3),
        (503, RegistryUnavailableError, 3),
        (429, RateLimitedError, 3),
    ],
)
def test_failing_token_service_is_named(
    registry: FakeRegistry, upstream: UpstreamRegistry, status: int, kind: type[RegistryError], asked: int
) -> None:
    token_body(registry, b"", status, times=99)
    with pytest.raises(RegistryError, match="token service") as caught:
        head(registry, upstream)
    assert type(caught.value) is kind
    assert registry.count("GET", "/token") == asked


def test_registry_that_refuses_every_token_is_asked_twice(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.before("HEAD", "/manifests/", registry.expire_tokens, times=99)
    with pytest.raises(AccessDeniedError):
        head(registry, upstream)
    assert (registry.count("HEAD"), registry.count("GET", "/token")) == (2, 1)


@pytest.mark.parametrize("header", ["", 'Basic realm="x"', "Negotiate", "Bearer", 'Bearer realm=""'])
def test_challenge_that_cannot_be_met_is_a_refusal(
    registry: FakeRegistry, upstream: UpstreamRegistry, header: str
) -> None:
    challenge(registry, header)
    with pytest.raises(AccessDeniedError):
        head(registry, upstream)
    assert len(registry.requests) == 1


def test_second_challenge_of_a_list_is_found(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    scope = "repository:team/app:pull"
    challenge(registry, f'Basic realm="a, b", Bearer realm="{registry.url}/token",scope="{scope}"')
    head(registry, upstream)
    assert registry.count("GET", "/token") == 1


@pytest.mark.parametrize(
    "scope",
    [
        None,
        "*",
        "aws",
        "registry:catalog:*",
        "repository:team/app:*",
        "repository:team/app:pull,push,delete",
        "repository:team/secret:pull",
        "repository:team/app:pull repository:team/secret:pull,push",
    ],
)
def test_scope_of_a_challenge_is_not_obeyed(
    registry: FakeRegistry, upstream: UpstreamRegistry, scope: str | None
) -> None:
    wanted = "" if scope is None else f',scope="{scope}"'
    challenge(registry, f'Bearer realm="{registry.url}/token?tenant=7",service="s"{wanted}')
    head(registry, upstream)
    asked = next(request for request in registry.requests if request.path == "/token")
    assert asked.query == "tenant=7&service=s&scope=repository%3Ateam%2Fapp%3Apull"


@pytest.mark.parametrize(
    "realm",
    ["http://auth.example/token", "ftp://auth.example", "/token", "https://u:s3cr3t@auth.example/", "https://[::1"],
)
def test_realm_that_is_not_https_is_refused(registry: FakeRegistry, other: FakeRegistry, realm: str) -> None:
    upstream = upstream_of({"https://registry-1.docker.io": registry, "http://auth.example": other})
    challenge(registry, f'Bearer realm="{realm}"')
    with pytest.raises(AccessDeniedError, match=r"registry-1\.docker\.io names a token service") as caught:
        upstream.head_manifest(HUB)
    assert SECRET not in str(caught.value)
    assert other.requests == []


def test_redirect_of_a_realm_to_http_is_refused(registry: FakeRegistry, other: FakeRegistry) -> None:
    hosts = {"https://registry-1.docker.io": registry, "https://auth.example": other, "http://auth.example": other}
    challenge(registry, 'Bearer realm="https://auth.example/token"')
    other.fail("GET", "/token", 302, headers={"Location": "http://auth.example/token"})
    with pytest.raises(AccessDeniedError, match="https to http"):
        upstream_of(hosts).head_manifest(HUB)
    assert len(other.requests) == 1


def test_anonymous_token_may_come_from_elsewhere(registry: FakeRegistry, other: FakeRegistry) -> None:
    upstream = upstream_of({"https://registry-1.docker.io": registry, "https://auth.docker.io": other})
    registry.token_auth = False
    challenge(registry, 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"')
    assert upstream.head_manifest(HUB) == IMAGE.root.descriptor
    assert [(request.path, request.authorized) for request in other.requests] == [("/token", False)]
    assert registry.requests[-1].authorized


def test_netrc_is_not_used(registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert requests.utils.get_netrc_auth(registry.url) == ("user", SECRET)  # requests would send it
    registry.token_auth = False
    head(registry, upstream_of())
    assert not registry.requests[-1].authorized


def test_threads_share_a_token(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: head(registry, upstream), range(40)))
    assert registry.count("GET", "/token") == 1


def test_number_of_kept_tokens_is_bounded() -> None:
    tokens = Tokens(lambda *_: b'{"token": "t"}', FakeTime(), Identity())
    challenge = Challenge("bearer", {"realm": "https://auth.example/token"})
    asked = [
        Request("HEAD", f"https://registry.example/v2/app-{number}/manifests/1", {}, Inquiry("head_manifest", ""))
        for number in range(1001)
    ]
    for request in asked:
        assert tokens.renew(request, challenge, None, 0.0) == "Bearer t"
    assert (tokens.current(asked[-1], 0.0), tokens.current(asked[0], 0.0)) == ("Bearer t", None)


def test_cookie_is_not_kept(registry: FakeRegistry, upstream: UpstreamRegistry) -> None:
    registry.fail("HEAD", "/manifests/", 503, headers={"Set-Cookie": "session=7; Path=/"})
    head(registry, upstream)
    assert all("cookie" not in request.headers for request in registry.requests)
