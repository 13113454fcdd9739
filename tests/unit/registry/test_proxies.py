"""Proxies of the environment: which one is used for which URL, and which credentials it receives."""

import base64
import http.server
import ssl
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.registry import FakeRegistry
from pullahead.cli.main import main
from pullahead.errors import ConfigError, RegistryError, RegistryUnavailableError
from pullahead.registry.errors import TransientError
from pullahead.registry.http import HttpClient, Trust
from pullahead.registry.request import Timeouts, port_of
from pullahead.registry.sockets import Proxy, find_proxy
from tests.certificates import self_signed
from tests.fakes.internet import Internet
from tests.fakes.tunnel import tunnel_to
from tests.serving import serving
from tests.unit.registry.guarding import LISTED, guarded, head, reference_at
from tests.unit.registry.harness import SECRET
from tests.unit.registry.test_http import answering, get, request_to

ENCODED = base64.b64encode(f"user:{SECRET}".encode()).decode()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def proxied(url: str) -> bool:
    return proxy_for(url) is not None


def proxy_for(url: str) -> Proxy | None:
    parts = urlsplit(url)
    return find_proxy(parts.scheme, parts.hostname or "", port_of(parts))


def test_without_an_environment_there_is_no_proxy() -> None:
    assert not proxied("https://registry.example/v2/")


def test_proxy_of_the_environment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@proxy.example:3128")
    proxy = proxy_for("https://registry.example/v2/")
    assert proxy is not None
    assert (proxy.host, proxy.port, proxy.by_tls) == ("proxy.example", 3128, False)
    assert proxy.authorization == f"Basic {ENCODED}"
    assert ENCODED not in repr(proxy)
    assert not proxied("http://registry.example")


@pytest.mark.parametrize(
    ("no_proxy", "exempt", "proxied_still"),
    [
        ("inside.example", ["inside.example:5000", "a.inside.example"], ["notinside.example"]),
        (".corp", ["registry.corp"], ["corp.example"]),
        ("*.corp", ["registry.corp"], ["corp.example"]),
        ("10.0.0.0/8", ["10.1.2.3", "10.1.2.3:5000"], ["11.0.0.1", "ten.example"]),
        ("fd00::/8", ["[fd00::1]:5000"], ["[2a04:4e42::81]"]),
        ("192.168.1.1", ["192.168.1.1"], ["192.168.1.10"]),
        ("inside.example:5000", ["inside.example:5000"], ["inside.example", "inside.example:5001"]),
        ("a.example, b.example c.example", ["a.example", "b.example", "c.example"], ["d.example"]),
        ("*", ["anything.example"], []),
        ("", ["127.0.0.1:5000", "127.9.9.9", "localhost", "localhost.:5000", "[::1]:5000"], ["registry.example"]),
        ("127.0.0.0/8", ["127.0.0.1:5000"], ["128.0.0.1"]),
        ("inside.example.", ["inside.example"], ["example"]),
        ("INSIDE.example", ["inside.EXAMPLE."], ["outside.example"]),
        ("10.0.0.0/8:5000, 10.1.2.3:5000", ["10.1.2.3:5000"], ["10.1.2.3"]),
        ("[fd00::1]:5000", ["[fd00::1]:5000"], ["[fd00::1]"]),
        ("10.0.0.0/99, x:y, ://, [", [], ["10.1.2.3", "x"]),
        ("example", ["example", "registry.example"], ["example.com"]),
    ],
)
def test_no_proxy_is_read_as_others_read_it(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, exempt: list[str], proxied_still: list[str]
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert [host for host in exempt if proxied(f"https://{host}/")] == []
    assert [host for host in proxied_still if not proxied(f"https://{host}/")] == []


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("socks5://user:s3cr3t@proxy.example", "HTTPS_PROXY is a socks5:// address"),
        ("http://user:s3cr3t@proxy.example:abc", "HTTPS_PROXY is not a valid address"),
        ("ftp://user:s3cr3t@proxy.example", "HTTPS_PROXY is a ftp:// address"),
        ("http://user:s3cr3t@[proxy.example", "HTTPS_PROXY is not a valid address"),
        ("http://user:s3cr3t@proxy.example:70000", "HTTPS_PROXY is not a valid address"),
        ("http://", "HTTPS_PROXY names no host"),
        ("https:///path", "HTTPS_PROXY names no host"),
    ],
)
def test_proxy_that_cannot_be_used_is_an_error(monkeypatch: pytest.MonkeyPatch, address: str, cause: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(ConfigError, match=cause) as caught:
        proxied("https://registry.example")
    assert SECRET not in str(caught.value)


def test_plain_request_goes_through_a_tunnel(registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    with tunnel_to(registry.host) as (proxy, asked):
        monkeypatch.setenv("http_proxy", f"http://user:{SECRET}@{proxy}")
        assert get("http://registry.example") == 200
    assert asked[0].startswith("CONNECT registry.example:80 HTTP/1.")
    assert f"Proxy-Authorization: Basic {ENCODED}" in asked[0]
    assert registry.requests[0].headers["host"] == "registry.example"
    assert "proxy-authorization" not in registry.requests[0].headers


@pytest.mark.parametrize("by_tls", [False, True])
def test_tls_goes_through_a_tunnel(
    internet: Internet, ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_tls: bool
) -> None:
    """To the registry within TLS to the proxy, if that is what its address says."""
    certificate = self_signed().write(tmp_path, "proxy")
    with tunnel_to(f"127.0.0.1:{internet.port}", certificate if by_tls else None) as (proxy, asked):
        monkeypatch.setenv("https_proxy", f"{'https' if by_tls else 'http'}://user:{SECRET}@{proxy}")
        both = tmp_path / "both.pem"
        both.write_text(ca.read_text() + certificate.read_text())
        head(guarded(ca=both), LISTED)
    assert asked[0].startswith(f"CONNECT {LISTED}:443 HTTP/1.")


def test_password_is_not_sent_to_a_proxy_that_does_not_speak_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[bytes] = []
    with answering(lambda connection: received.append(connection.recv(1))) as url:
        monkeypatch.setenv("http_proxy", url.replace("http://", f"https://user:{SECRET}@"))
        with pytest.raises((RegistryError, TransientError), match=r"proxy 127\.0\.0\.1"):
            get("http://registry.example")
    assert ENCODED.encode() not in b"".join(received)


def test_proxy_whose_certificate_is_not_trusted_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tunnel_to("127.0.0.1:1", self_signed().write(tmp_path, "proxy")) as (proxy, asked):
        monkeypatch.setenv("http_proxy", f"https://user:{SECRET}@{proxy}")
        with pytest.raises(RegistryUnavailableError, match=r"proxy 127\.0\.0\.1.*not trusted"):
            get("http://registry.example")
    assert asked == []


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (407, RegistryUnavailableError, "Its user and password belong into HTTP_PROXY"),
        (401, RegistryUnavailableError, "Its user and password belong into HTTP_PROXY"),
        (403, RegistryUnavailableError, "name it in NO_PROXY"),
        (302, RegistryUnavailableError, "name it in NO_PROXY"),
        (502, TransientError, "name it in NO_PROXY"),
        (503, TransientError, "name it in NO_PROXY"),
    ],
)
def test_proxy_that_refuses_is_named(
    monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception], advice: str
) -> None:
    with answering(f"HTTP/1.1 {status} No\r\n\r\n".encode()) as url:
        monkeypatch.setenv("http_proxy", url)
        refusal = f"proxy 127.0.0.1.* does not connect to registry.example .HTTP {status}..*{advice}"
        with pytest.raises(kind, match=refusal):
            get("http://registry.example")


@pytest.mark.parametrize("said", [b"", b"no proxy\r\n\r\n", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_proxy_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    with answering(said) as url:
        monkeypatch.setenv("http_proxy", url)
        with pytest.raises((RegistryError, TransientError), match=r"proxy 127\.0\.0\.1"):
            get("http://registry.example")


def test_registry_that_is_not_trusted_behind_a_proxy_is_said_to_be_behind_it(
    internet: Internet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perhaps it is the proxy that answers in the registry's place, by a certificate of its own."""
    with tunnel_to(f"127.0.0.1:{internet.port}") as (proxy, _):
        monkeypatch.setenv("https_proxy", f"http://{proxy}")
        with pytest.raises(
            RegistryUnavailableError, match=f"through proxy {proxy}: the TLS certificate is not trusted"
        ):
            head(guarded(ca=self_signed().write(tmp_path)), LISTED)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("socks5://user:s3cr3t@proxy.example", "only http:// and https:// proxies are supported"),
        ("http://user:s3cr3t@proxy.example:abc", "HTTPS_PROXY is not a valid address"),
        ("https://user:s3cr3t@127.0.0.1:1", "proxy 127.0.0.1:1: connection refused"),
    ],
)
def test_command_names_the_proxy_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    address: str,
    words: str,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert main(["tags", "registry.example/app"]) == 1
    written = capsys.readouterr().err
    assert words in written
    assert (written.count("\n"), SECRET in written) == (1, False)


@pytest.mark.parametrize(
    ("address", "cause"),
    [("http://127.0.0.1:1", "proxy 127.0.0.1:1: connection refused"), ("http://nowhere.invalid:1", "proxy nowhere")],
)
def test_proxy_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, address: str, cause: str) -> None:
    monkeypatch.setenv("http_proxy", address)
    with pytest.raises(TransientError, match=cause):
        get("http://registry.example")


@pytest.mark.parametrize("by_tls", [False, True])
def test_blob_through_a_proxy_may_take_longer_than_all_else(
    by_tls: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate = self_signed(("127.0.0.1", "registry.example")).write(tmp_path)
    read, body = threading.Event(), bytes(600_000)

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:300_000])
            read.wait(20)
            self.wfile.write(body[300_000:])

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with (
        serving(server),
        tunnel_to(f"127.0.0.1:{server.server_address[1]}", certificate if by_tls else None) as (proxy, _),
    ):
        monkeypatch.setenv("https_proxy", f"{'https' if by_tls else 'http'}://{proxy}")
        client = HttpClient(Timeouts(connect=5, read=5), trust=Trust(str(certificate)))
        with client.open(request_to("https://registry.example"), within=1) as response:
            received = len(response.read_piece(5))
            until = time.monotonic() + 1.1
            while received < 300_000:
                received += len(response.read_piece(5))
            threading.Event().wait(max(0.0, until - time.monotonic()))
            read.set()
            while piece := response.read_piece(5):
                received += len(piece)
        assert received == len(body)


def test_registry_behind_a_proxy_is_judged_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    with pytest.raises(RegistryError, match="which is refused"):
        guarded().head_manifest(reference_at("10.0.0.1"))
