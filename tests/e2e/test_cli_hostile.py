"""`bin/pullahead` and upstreams that lie, storm and never end: one line, exit 1, an unmoved tag, within bounds."""

import email.utils
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.images import SparseBlob, make_image, push_image
from local.registry import FakeRegistry
from pullahead.oci import media_types
from tests.certificates import self_signed
from tests.e2e.cli_copies import Command, Home, failure

OLD, NEW = make_image([5000], seed=1), make_image([70_000], seed=2)
CONFIG, LAYER = NEW.blobs
CONTENT = NEW.read_blob(LAYER)
MIB = 1024 * 1024
ENDLESS = SparseBlob(1 << 40, seed=9)
UNTIL_IT_CLOSES = {"Content-Length": "", "Connection": "close"}
IN_SOCKETS = 16 * MIB  # what the system buffers of a response that is not read
SECRET, LOGIN = "s3cr3t", "YWxpY2U6czNjcjN0"

pytestmark = pytest.mark.real_registry


class Attack:
    """A source that is to be broken, and a target whose tag names another image."""

    def __init__(self, source: FakeRegistry, command: Command, home: Home) -> None:
        self.source, self.command, self.home = source, command, home
        source.push(NEW, "team/app", "1.0")
        push_image(OLD, f"http://{home.host}", home.repository, "1.0")

    def fails(self, *insecure: str, name: str = "team/app:1.0") -> str:
        """Copy, and see that it fails in one line, without a secret, and that the tag has not moved."""
        said = failure(self.command.copy(f"{self.source.host}/{name}", self.home, "--quiet", insecure=insecure))
        assert self.home.served() == OLD.digest
        assert self.home.lacks(OLD) == []
        assert SECRET not in said
        assert "?" not in said
        return said

    def succeeds(self, *insecure: str) -> None:
        """Copy, and see that all of it arrives."""
        ran = self.command.copy(f"{self.source.host}/team/app:1.0", self.home, "--quiet", insecure=insecure)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        assert self.home.lacks(NEW) == []

    def bytes_sent(self, path: str) -> int:
        return sum(request.bytes_sent for request in self.source.requests if path in request.path)


@pytest.fixture
def attack(source: FakeRegistry, command: Command, home: Home) -> Attack:
    return Attack(source, command, home)


class TestLies:
    def test_manifest_with_another_digest_than_its_header_is_refused(self, attack: Attack) -> None:
        attack.source.lie_digest_header = OLD.digest
        assert f"not the promised {OLD.digest}" in attack.fails()
        assert len(attack.source.requests) == 1

    def test_manifest_with_another_digest_than_requested_is_refused(self, attack: Attack) -> None:
        attack.source.lie_digest_header = ""
        headers = {"Content-Type": media_types.OCI_MANIFEST}
        attack.source.fail("GET", "/manifests/", 200, headers=headers, body=OLD.root.content)
        assert f"not the promised {NEW.digest}" in attack.fails(name=f"team/app@{NEW.digest}")
        assert len(attack.source.requests) == 1

    def test_blob_of_the_same_size_with_another_digest_is_refused(self, attack: Attack) -> None:
        attack.source.lie_blob(LAYER, CONTENT[:-1] + b"?")
        said = attack.fails()
        assert f"@{LAYER}" in said
        assert "the bytes have the digest sha256:" in said
        assert attack.source.count("GET", LAYER) == 1

    @pytest.mark.parametrize("lie", [CONTENT[:-1], CONTENT + b"?", b""])
    def test_blob_with_another_size_is_refused(self, attack: Attack, lie: bytes) -> None:
        attack.source.lie_blob(LAYER, lie)
        assert f"@{LAYER} at the source failed" in attack.fails()
        assert attack.source.count("GET", LAYER) == 1

    def test_blob_without_a_length_that_is_too_long_is_refused(self, attack: Attack) -> None:
        attack.source.fail("GET", LAYER, 200, times=99, headers=UNTIL_IT_CLOSES, body=CONTENT + b"?")
        assert "the blob goes on after the promised size" in attack.fails()
        assert attack.source.count("GET", LAYER) == 1

    def test_blob_without_a_length_that_stays_too_short_fails(self, attack: Attack) -> None:
        attack.source.fail("GET", LAYER, 200, times=99, headers=UNTIL_IT_CLOSES, body=CONTENT[:-1])
        assert f"@{LAYER} at the source failed" in attack.fails()
        assert attack.source.count("GET", LAYER) <= 10
        assert attack.bytes_sent(LAYER) <= 10 * len(CONTENT)


class TestWithoutEnd:
    def test_endless_manifest_is_refused(self, attack: Attack) -> None:
        headers = {"Content-Type": media_types.OCI_MANIFEST, **UNTIL_IT_CLOSES}
        attack.source.fail("GET", "/manifests/", 200, times=99, headers=headers, body=ENDLESS)
        assert "the response has more than 4194304 bytes" in attack.fails()
        assert len(attack.source.requests) == 1
        assert attack.bytes_sent("/manifests/") < 4 * MIB + IN_SOCKETS

    def test_manifest_with_a_huge_length_is_refused(self, attack: Attack) -> None:
        headers = {"Content-Type": media_types.OCI_MANIFEST}
        attack.source.fail("GET", "/manifests/", 200, times=99, headers=headers, body=ENDLESS)
        assert "more than any manifest" in attack.fails()
        assert attack.bytes_sent("/manifests/") < IN_SOCKETS

    def test_endless_blob_is_refused(self, attack: Attack) -> None:
        attack.source.fail("GET", LAYER, 200, times=99, headers=UNTIL_IT_CLOSES, body=ENDLESS)
        assert "the blob goes on after the promised size" in attack.fails()
        assert attack.source.count("GET", LAYER) == 1
        assert attack.bytes_sent(LAYER) < IN_SOCKETS

    def test_listing_that_links_to_itself_is_refused(self, attack: Attack) -> None:
        link = {"Link": f'</v2/team/app/tags/list?n=1000&{SECRET}>; rel="next"'}
        attack.source.fail("GET", "/tags/list", 200, times=9999, headers=link, body=b'{"tags": ["1.0"]}')
        assert "the listing goes in a circle" in self._tags(attack)
        assert len(attack.source.requests) <= 3

    def test_endless_listing_is_refused(self, attack: Attack) -> None:
        for number in range(99):
            link = {"Link": f'</v2/team/app/tags/list?last={number}>; rel="next"'}
            body = json.dumps({"tags": [f"v{number}.{tag}" for tag in range(20_000)]}).encode()
            attack.source.fail("GET", "/tags/list", 200, headers=link, body=body)
        assert "the repository has more than 200000 tags" in self._tags(attack)
        assert len(attack.source.requests) <= 11

    def test_endless_listing_of_empty_pages_is_refused(self, attack: Attack) -> None:
        for number in range(99):
            link = {"Link": f'</v2/team/app/tags/list?last={number}>; rel="next"'}
            attack.source.fail("GET", "/tags/list", 200, headers=link, body=b'{"tags": []}')
        assert "the listing has nothing new" in self._tags(attack)
        assert len(attack.source.requests) <= 10

    def _tags(self, attack: Attack) -> str:
        host = attack.source.host
        said = failure(attack.command.run("tags", f"{host}/team/app", insecure=[host]))
        assert SECRET not in said
        return said


class TestLeadAstray:
    def test_redirect_loop_of_a_manifest_is_refused(self, attack: Attack) -> None:
        loop = {"Location": f"/v2/team/app/manifests/1.0?token={SECRET}"}
        attack.source.fail("GET", "/manifests/", 307, times=999, headers=loop)
        assert "redirected more than 5 times" in attack.fails()
        assert len(attack.source.requests) == 6

    def test_redirect_loop_of_a_blob_is_refused(self, attack: Attack) -> None:
        attack.source.fail("GET", LAYER, 307, times=999, headers={"Location": f"/v2/team/app/blobs/{LAYER}?{SECRET}"})
        assert "redirected more than 5 times" in attack.fails()
        assert attack.source.count("GET", LAYER) <= 30

    @pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
    def test_redirect_from_https_to_http_is_refused(
        self, attack: Attack, elsewhere: FakeRegistry, tmp_path: Path, path: str
    ) -> None:
        with over_tls(tmp_path) as (source, ca):
            source.push(NEW, "team/app", "1.0")
            away = {"Location": f"{elsewhere.url}/storage/x?sig={SECRET}"}
            source.fail("GET", path, 307, times=999, headers=away)
            target = f"{attack.home.host}/{attack.home.repository}:1.0"
            hosts = [attack.home.host, elsewhere.host]  # even to a host to which plain HTTP is allowed
            options = ["--quiet", "--ca", str(ca)]
            said = failure(attack.command.run("copy", f"{source.host}/team/app:1.0", target, *options, insecure=hosts))
        assert "a redirect from https to http is refused" in said
        assert SECRET not in said
        assert (elsewhere.connections, attack.home.served()) == (0, OLD.digest)

    def test_credential_is_not_sent_to_another_host(self, attack: Attack, elsewhere: FakeRegistry) -> None:
        log_in(attack)
        stranger = elsewhere.host.replace("127.0.0.1", "localhost")
        wanted = {"WWW-Authenticate": f'Bearer realm="http://{stranger}/token?{SECRET}",service="x"'}
        attack.source.fail("GET", "/v2/", 401, times=999, headers=wanted)
        said = attack.fails(stranger)
        assert f"names the token service {stranger}, which is not its own, so no credential is sent there" in said
        assert (elsewhere.connections, len(attack.source.requests)) == (0, 1)


def log_in(attack: Attack) -> None:
    """Give the program a credential for the source."""
    auths = {attack.source.host: {"auth": LOGIN}}
    (attack.command.folder / "config.json").write_text(json.dumps({"auths": auths}))


@contextmanager
def over_tls(folder: Path) -> Iterator[tuple[FakeRegistry, Path]]:
    """Let a fake registry speak TLS, and give the file of its certificate."""
    registry, certified = FakeRegistry(), self_signed().write(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certified)
    registry._listener.socket = tls.wrap_socket(registry._listener.socket, server_side=True)
    with registry:
        yield registry, certified


class TestChallenges:
    """Every form in which RFC 9110 lets a server ask for a token, and some in which servers do."""

    @pytest.mark.parametrize(
        "challenge",
        [
            'Basic realm="x", Bearer realm="{realm}",service="s"',
            'Bearer realm="{realm}", service="s", Basic realm="x"',
            'Bearer realm="{realm}",service="a, b, Basic realm=c",scope="repository:team/app:pull"',
            'bEARER REALM="{realm}",Service="s"',
            'Negotiate YWJjZA==, Bearer realm="{realm}"',
            'Digest realm="a \\" b", nonce="x,y", qop=auth , ,Bearer\trealm = "{realm}"',
            'Bearer error="invalid_token", service=s, realm="{realm}"',
        ],
    )
    def test_every_legal_challenge_is_answered(self, attack: Attack, challenge: str) -> None:
        attack.source.token_auth = True
        header = challenge.replace("{realm}", f"{attack.source.url}/token")
        attack.source.fail("GET", "/manifests/", 401, headers={"WWW-Authenticate": header})
        attack.succeeds()
        assert attack.source.count("GET", "/token") == 1
        assert attack.source.count("GET", "/manifests/") == 2


def in_seconds(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


class TestStorms:
    @pytest.mark.parametrize("path", ["/manifests/", f"/blobs/{LAYER}"])
    @pytest.mark.parametrize("status", [429, 503])
    def test_three_temporary_errors_are_retried(self, attack: Attack, path: str, status: int) -> None:
        attack.source.fail("GET", path, status, times=3)
        attack.succeeds()
        assert attack.source.count("GET", path) == 4

    @pytest.mark.parametrize("wish", ["4", "date"])
    def test_retry_after_is_respected(self, attack: Attack, wish: str) -> None:
        wished = in_seconds(8) if wish == "date" else wish
        attack.source.fail("GET", "/manifests/", 429, headers={"Retry-After": wished})
        begun = time.monotonic()
        attack.succeeds()
        assert time.monotonic() - begun >= 4  # without a wish at most a second, and the start of the program
        assert attack.source.count("GET", "/manifests/") == 2

    @pytest.mark.parametrize("wish", ["3600", "date"])
    def test_long_retry_after_fails_and_is_reported(self, attack: Attack, wish: str) -> None:
        wished = in_seconds(3600) if wish == "date" else wish
        attack.source.fail("GET", "/manifests/", 429, times=999, headers={"Retry-After": wished})
        assert "too many requests (HTTP 429)" in attack.fails()
        assert len(attack.source.requests) == 1

    def test_manifest_that_stays_unavailable_fails(self, attack: Attack) -> None:
        attack.source.fail("GET", "/manifests/", 503, times=999)
        assert "(HTTP 503)" in attack.fails()
        assert len(attack.source.requests) <= 9

    @pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}])
    def test_blob_that_stays_unavailable_fails(self, attack: Attack, headers: dict[str, str]) -> None:
        attack.source.fail("GET", LAYER, 429, times=999, headers=headers)
        assert f"@{LAYER} at the source failed: too many requests (HTTP 429)" in attack.fails()
        assert attack.source.count("GET", LAYER) <= 15

    def test_retry_after_of_an_hour_fails_at_once(self, attack: Attack) -> None:
        attack.source.fail("GET", "/blobs/", 429, times=999, headers={"Retry-After": "3600"})
        said = attack.fails()  # of the blob that was refused, or of another one that is not asked for then
        assert "HTTP 429" in said or "asked for a pause; retry in 3600 s" in said
        assert attack.source.count("GET", "/blobs/") <= len(NEW.blobs)
