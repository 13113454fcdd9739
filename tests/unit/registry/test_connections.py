"""Connections at the lowest level: certificates, proxies, and answers that are none."""

import base64
import contextlib
import http.server
import itertools
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from local.registry import FakeRegistry
from pullahead.errors import RegistryTimeoutError, RegistryUnavailableError
from pullahead.registry.connections import Connections
from pullahead.registry.failures import Inquiry, TransientError
from pullahead.registry.proxies import find_proxy
from pullahead.registry.responses import Headers
from pullahead.registry.transport import Request, Timeouts
from tests.certificates import self_signed
from tests.serving import serving
from tests.unit.registry.harness import SECRET

INQUIRY = Inquiry("test", "registry.example/app")


def get(url: str, connections: Connections | None = None) -> int:
    """Ask for /v2/ and tell the status."""
    connections = connections or Connections(Timeouts(connect=1, read=0.5))
    return connections.send(Request("GET", f"{url}/v2/", {}, INQUIRY)).status


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return self_signed().write(tmp_path)


class _Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: that the client goes away is what a test wants."""


@pytest.fixture
def secure(certificate: Path) -> Iterator[str]:
    """The URL of a server whose certificate is its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = _Server(("127.0.0.1", 0), _Quiet)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server):
        yield f"https://127.0.0.1:{server.server_address[1]}"


def test_untrusted_certificate_is_trusted(secure: str) -> None:
    with pytest.raises(RegistryUnavailableError, match="not to be trusted"):
        get(secure)


def test_certificate_that_is_given_is_not_trusted(secure: str, certificate: Path) -> None:
    connections = Connections(Timeouts(), tls=lambda: ssl.create_default_context(cafile=certificate))
    assert get(secure, connections) == 200


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Answer the first connection with some bytes, whatever it asks, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "answer", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200]
)
def test_what_is_no_http_is_asked_again(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(RegistryUnavailableError, match="does not speak HTTP"):
        get(url)


def test_connection_that_ends_unanswered_is_an_answer() -> None:
    with answering(b"") as url, pytest.raises(TransientError, match="connection broke"):
        get(url)


def test_silence_is_waited_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RegistryTimeoutError):
        get(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_time_that_is_left_is_less_than_what_is_waited() -> None:
    connections = Connections(Timeouts(connect=30, read=30))
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RegistryTimeoutError):
        connections.open(Request("GET", f"http://127.0.0.1:{silent.getsockname()[1]}/", {}, INQUIRY), within=0.1)


def test_answer_that_drips_is_read_for_ever() -> None:
    drips = itertools.count(0.0, 50.0)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000
    connections = Connections(Timeouts(), clock=lambda: next(drips))
    with answering(answer) as url, pytest.raises(RegistryTimeoutError, match="more than 120 seconds"):
        get(url, connections)


def test_answer_that_was_left_unread_is_taken_for_the_next_one(registry: FakeRegistry) -> None:
    connections = Connections(Timeouts())
    with connections.open(Request("GET", f"{registry.url}/v2/", {}, INQUIRY)) as response:
        assert response.status_code == 200
    assert response.read1(10) == b""
    assert get(f"{registry.url}/nothing", connections) == 404
    assert registry.connections == 2


@pytest.mark.parametrize(("host", "cause"), [("127.0.0.1:1", "no connection"), ("nowhere.invalid", "name cannot")])
def test_registry_that_is_not_there_is_another_error(host: str, cause: str) -> None:
    with pytest.raises(TransientError, match=cause):
        get(f"http://{host}")


def test_threads_share_a_connection(registry: FakeRegistry) -> None:
    connections = Connections(Timeouts())
    threads = [threading.Thread(target=get, args=(registry.url, connections)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [request.status for request in registry.requests] == [200] * 8


def test_closed_pool_keeps_connections(registry: FakeRegistry) -> None:
    connections = Connections(Timeouts())
    for expected in (1, 2):
        assert get(registry.url, connections) == 200
        assert registry.connections == expected
        connections.close()


def test_connection_is_kept_longer_than_servers_do(registry: FakeRegistry) -> None:
    now = [0.0]
    connections = Connections(Timeouts(), clock=lambda: now[0])
    get(registry.url, connections)
    now[0] += 61
    get(registry.url, connections)
    assert registry.connections == 2


def test_fields_of_one_name_hide_each_other() -> None:
    headers = Headers([("WWW-Authenticate", "Basic"), ("www-authenticate", "Bearer"), ("Range", "0-1")])
    assert headers["Www-Authenticate"] == "Basic, Bearer"
    assert (len(headers), headers.get("range"), headers.get("missing")) == (2, "0-1", None)


class TestProxies:
    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)

    def test_proxy_is_made_up(self) -> None:
        assert find_proxy(urlsplit("https://registry.example/v2/")) is None

    def test_proxy_of_the_environment_is_overlooked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@proxy.example:3128")
        monkeypatch.setenv("NO_PROXY", "inside.example,.internal")
        proxy = find_proxy(urlsplit("https://registry.example/v2/"))
        assert proxy is not None
        assert (proxy.host, proxy.port) == ("proxy.example", 3128)
        encoded = base64.b64encode(f"user:{SECRET}".encode()).decode()
        assert proxy.headers == {"Proxy-Authorization": f"Basic {encoded}"}
        assert encoded not in repr(proxy)
        for url in ("http://registry.example", "https://inside.example:5000", "https://a.internal"):
            assert find_proxy(urlsplit(url)) is None

    def test_request_goes_past_the_proxy(self, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
        with tunnel_to(registry.host) as (proxy, asked):
            monkeypatch.setenv("http_proxy", f"http://{proxy}")
            assert get("http://registry.example") == 200
        assert asked[0].startswith("CONNECT registry.example:80 HTTP/1.")
        assert registry.requests[0].headers["host"] == "registry.example"


@contextlib.contextmanager
def tunnel_to(host: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that tunnels one request to a host, wherever it was asked to."""
    asked: list[str] = []
    name, _, port = host.partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, socket.create_connection((name, int(port))) as behind:
                asked.append(client.recv(65536).decode())
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                behind.sendall(client.recv(65536))
                behind.shutdown(socket.SHUT_WR)
                while piece := behind.recv(65536):
                    client.sendall(piece)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        thread.join()
