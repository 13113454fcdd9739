"""The HTTP client at its lowest level: certificates, deadlines, bodies, and answers that are none."""

import contextlib
import http.server
import io
import itertools
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.registry import FakeRegistry
from pullahead.errors import RegistryTimeoutError, RegistryUnavailableError
from pullahead.registry.errors import TransientError
from pullahead.registry.http import BLOCK_BYTES, HttpClient, Response, Trust
from pullahead.registry.request import Body, Inquiry, Request, Timeouts
from tests.certificates import by_a_plain_authority, self_signed
from tests.serving import serving
from tests.unit.registry.harness import SECRET

INQUIRY = Inquiry("test", "registry.example/app")
SHORT = Timeouts(connect=1, read=0.5, total=2)


def request_to(url: str, method: str = "GET") -> Request:
    return Request(method, f"{url}/v2/", {}, INQUIRY)


def get(url: str, client: HttpClient | None = None) -> int:
    """Ask for /v2/ and return the status."""
    return (client or HttpClient(SHORT)).send(request_to(url)).status


def pieces_of(response: Response) -> Iterator[bytes]:
    while piece := response.read_piece(5):
        yield piece


@contextlib.contextmanager
def answering(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[str]:
    """Answer each connection in its turn, whatever it asks, and end it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(65536)
                    if isinstance(answer, bytes):
                        connection.sendall(answer)
                    else:
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@contextlib.contextmanager
def served_by_tls(certificate: Path, handler: type[http.server.BaseHTTPRequestHandler] | None = None) -> Iterator[str]:
    """Give the URL of a server with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = _Server(("127.0.0.1", 0), handler or _Quiet)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server):
        yield f"https://127.0.0.1:{server.server_address[1]}"


class TestCertificates:
    @pytest.fixture
    def certificate(self, tmp_path: Path) -> Path:
        return self_signed().write(tmp_path)

    @pytest.fixture
    def secure(self, certificate: Path) -> Iterator[str]:
        """The URL of a server whose certificate is its own."""
        with served_by_tls(certificate) as url:
            yield url

    def test_untrusted_certificate_is_refused(self, secure: str) -> None:
        with pytest.raises(RegistryUnavailableError, match="certificate is not trusted") as caught:
            get(secure)
        assert "--ca FILE" in str(caught.value)

    def test_certificate_of_a_given_file_is_trusted(self, secure: str, certificate: Path) -> None:
        assert get(secure, HttpClient(SHORT, trust=Trust(str(certificate)))) == 200

    @pytest.mark.parametrize("by", ["file", "system", "rules"])
    def test_private_authority_that_identifies_no_key_is_trusted(self, by: str, tmp_path: Path) -> None:
        """As many in companies do not; for the system's, in a process of its own, as they are read once."""
        certified, authority = by_a_plain_authority(["127.0.0.1"])
        trusted = tmp_path / "authority.pem"
        trusted.write_text(authority)
        with served_by_tls(certified.write(tmp_path)) as url:
            if by == "system":
                program = "import sys; from tests.unit.registry.test_http import get; print(get(sys.argv[1]))"
                environment = {"PYTHONPATH": os.pathsep.join(sys.path), "SSL_CERT_FILE": str(trusted)}
                ran = subprocess.run(
                    [sys.executable, "-c", program, url], capture_output=True, env=environment, check=False
                )
                assert ran.stdout == b"200\n", ran.stderr.decode()
            else:
                trust = Trust(str(trusted)) if by == "file" else Trust(certificates=lambda _: authority)
                assert get(url, HttpClient(SHORT, trust=trust)) == 200

    def test_certificate_of_an_insecure_host_is_not_verified(self, secure: str) -> None:
        assert get(secure, HttpClient(SHORT, trust=Trust(insecure={secure.removeprefix("https://")}))) == 200

    def test_insecure_host_does_not_make_another_insecure(self, secure: str) -> None:
        with pytest.raises(RegistryUnavailableError, match="not trusted"):
            get(secure, HttpClient(SHORT, trust=Trust(insecure={"127.0.0.1:1"})))

    def test_host_with_certificate_speaks_tls(self, secure: str) -> None:
        client = HttpClient(SHORT, trust=Trust(insecure={secure.removeprefix("https://")}))
        assert client.speaks_tls(request_to(secure)) is True

    def test_host_of_plain_http_does_not_speak_tls(self, registry: FakeRegistry) -> None:
        assert HttpClient(SHORT).speaks_tls(request_to(f"https://{registry.host}")) is False

    def test_closed_port_gives_no_answer_about_tls(self) -> None:
        assert HttpClient(SHORT).speaks_tls(request_to("https://127.0.0.1:1")) is None

    def test_silent_host_gives_no_answer_about_tls(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client = HttpClient(Timeouts(connect=0.2))
            assert client.speaks_tls(request_to(f"https://127.0.0.1:{silent.getsockname()[1]}")) is None


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


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_answer_that_is_not_http_is_an_error(answer: bytes) -> None:
    with answering(answer) as url, pytest.raises(RegistryUnavailableError, match="not valid HTTP"):
        get(url)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        pytest.param(b"A: b\r\n", "b", id="one"),
        pytest.param(b"a:b\n", "b", id="no space and a bare line feed"),
        pytest.param(b"A: \tb c: d\r\n", "b c: d", id="colons and spaces within"),
        pytest.param(b"A:\r\n", "", id="empty"),
        pytest.param(b"A: b\r\nX: y\r\nA: c\r\n", "b, c", id="twice"),
        pytest.param(b"A: b \r\n\t c\r\n  d\r\nX: y\r\n", "b c d", id="folded"),
        pytest.param(b"A: \xe4\r\n", "ä", id="Latin-1"),
        pytest.param(b"A: b\r\nno field\r\n", "b", id="before a line that is none"),
        pytest.param(b"A: b\r\nX:" + b" " * 60_000 + b"\ry\r\n", "b", id="before spaces without end"),
    ],
)
def test_header_field_is_read(fields: bytes, value: str) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 0\r\n\r\n") as url:
        assert HttpClient(SHORT).send(request_to(url)).headers["a"] == value


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/blob?sig=%2b%2F+~&a='(b)';c=[d]", "/blob?sig=%2b%2F+~&a='(b)';c=%5Bd%5D"),
        ("/bl\xf6b|1", "/bl%C3%B6b%7C1"),
        ("?a=b#c", "/?a=b"),
    ],
)
def test_url_is_sent_as_it_is_but_for_what_http_cannot_hold(path: str, sent: str) -> None:
    asked: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        asked.append(connection.recv(65536))

    client = HttpClient(SHORT)
    with answering(answer) as url:
        get(url, client)
        with contextlib.suppress(TransientError):
            client.send(Request("GET", f"{url}{path}", {}, INQUIRY))
    assert asked[0].startswith(f"GET {sent} HTTP/1.1\r\n".encode())


CHUNKS = b"3;a=b\r\nabc\r\n0002 \r\nde\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param(b"transfer-encoding:\tChunked \r\n", CHUNKS, id="space after the coding"),
        pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKS, id="said twice"),
        pytest.param(b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", CHUNKS, id="beside another length"),
        pytest.param(b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", b"abcde", id="identity"),
        pytest.param(b"Content-Length: 5 \r\n", b"abcde!", id="space after the length"),
    ],
)
def test_body_ends_where_the_head_says(fields: bytes, body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body
    with answering(answer) as url, HttpClient(SHORT).open(request_to(url)) as response:
        assert response.length == (None if body == CHUNKS else 5)
        assert b"".join(pieces_of(response)) == b"abcde"


@pytest.mark.parametrize("size", [b"-5", b"+3", b"0x3", b"3_0", b"", b"f" * 40, b"z", b"3;" + b"x" * 70_000])
def test_chunk_whose_size_is_none_breaks_the_answer(size: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nabc\r\n0\r\n\r\n"
    with answering(answer, answer) as url:
        with pytest.raises(TransientError, match="middle of a response"):
            get(url)
        with HttpClient(SHORT).open(request_to(url)) as response, pytest.raises(TransientError):
            list(pieces_of(response))


@pytest.mark.parametrize(
    "head",
    [b"204 No Content\r\nTransfer-Encoding: chunked", b"204 No Content\r\nContent-Length: 5", b"101 Other\r\nA: b"],
)
def test_answer_without_a_body_that_something_follows_ends_its_connection(head: bytes) -> None:
    answered = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 " + head + b"\r\n\r\n")
        answered.wait(20)
        connection.sendall(b"0\r\n\r\n")

    client = HttpClient(SHORT)
    with answering(answer, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
        assert get(url, client) == int(head[:3])
        answered.set()
        assert get(url, client) == 200


def test_connection_that_ends_unanswered_is_transient() -> None:
    with answering(b"") as url, pytest.raises(TransientError, match="connection broke"):
        get(url)


@pytest.mark.parametrize(
    ("host", "cause"), [("127.0.0.1:1", "connection refused"), ("nowhere.invalid", "cannot be resolved")]
)
def test_registry_that_is_not_there_is_transient(host: str, cause: str) -> None:
    with pytest.raises(TransientError, match=cause):
        get(f"http://{host}")


class TestDeadlines:
    def test_silence_times_out(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RegistryTimeoutError):
            get(f"http://127.0.0.1:{silent.getsockname()[1]}")

    def test_silence_instead_of_a_tls_handshake_times_out(self) -> None:
        client = HttpClient(Timeouts(connect=0.2))
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TransientError, match="timed out"):
            get(f"https://127.0.0.1:{silent.getsockname()[1]}", client)

    def test_time_that_is_left_bounds_the_timeouts(self) -> None:
        client = HttpClient(Timeouts(connect=30, read=30))
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(RegistryTimeoutError):
            client.open(request_to(f"http://127.0.0.1:{silent.getsockname()[1]}"), within=0.1)

    @pytest.mark.parametrize(
        ("beginning", "drop"),
        [
            pytest.param(b"HTTP/1.1 200 ", b"O", id="status line"),
            pytest.param(b"HTTP/1.1 200 OK\r\nA: ", b"b", id="header"),
            pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n", id="1xx responses"),
            pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x", id="body"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0", id="chunk size"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", id="chunks"),
            pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n", id="trailers"),
            pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", b"x", id="body without a length"),
        ],
    )
    def test_answer_that_drips_is_cut_off(self, beginning: bytes, drop: bytes) -> None:
        """Each drop comes in time; without a deadline the client would read until the server gives up."""
        client = HttpClient(Timeouts(connect=1, read=1, total=0.2))
        with answering(dripping(beginning, drop)) as url, pytest.raises(RegistryTimeoutError):
            get(url, client)

    def test_chunk_size_of_a_blob_that_drips_is_cut_off(self) -> None:
        beginning = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        with answering(dripping(beginning, b"0")) as url, pytest.raises(RegistryTimeoutError):
            HttpClient(SHORT).open(request_to(url)).read_piece(0.3)

    def test_tunnel_of_a_proxy_that_drips_is_cut_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = HttpClient(Timeouts(connect=1, read=1, total=0.5))
        with answering(dripping(b"HTTP/1.1 200 ", b"O")) as url:
            monkeypatch.setenv("http_proxy", url)
            with pytest.raises(TransientError, match=r"proxy 127\.0\.0\.1"):
                get("http://registry.example", client)

    def test_answer_to_a_body_may_take_longer_than_reading(self) -> None:
        def commit(connection: socket.socket) -> None:
            threading.Event().wait(0.4)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

        client = HttpClient(Timeouts(connect=1, read=0.2))
        with answering(commit) as url:
            assert client.send(request_to(url, "PUT"), Body([b"x"], 1), answer_within=5).status == 201


def dripping(beginning: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """Send a beginning, and then a drop ever so often, for longer than any client should stay."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(beginning)
        for _ in range(1500):
            connection.sendall(drop)
            threading.Event().wait(0.02)

    return drip


class TestPieces:
    """Bodies of blobs."""

    def test_body_comes_in_blocks(self) -> None:
        body = bytes(range(256)) * 4096
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
        with answering(answer + body) as url, HttpClient(SHORT).open(request_to(url)) as response:
            pieces = list(pieces_of(response))
        assert b"".join(pieces) == body
        assert {len(piece) for piece in pieces[1:-1]} == {BLOCK_BYTES}

    @pytest.mark.parametrize("framing", ["Content-Length: 300000", "Transfer-Encoding: chunked", "Connection: close"])
    def test_bytes_before_a_pause_are_returned(self, framing: str) -> None:
        resumed = threading.Event()

        def send(connection: socket.socket) -> None:
            chunked = framing.endswith("chunked")
            connection.sendall(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
            connection.sendall(b"3\r\nabc\r\n" if chunked else b"abc")
            resumed.wait(10)
            connection.sendall(b"2\r\nde\r\n0\r\n\r\n" if chunked else b"de")

        with answering(send) as url, HttpClient(Timeouts(read=10)).open(request_to(url)) as response:
            assert response.read_piece(5) == b"abc"
            resumed.set()
            assert response.read_piece(5).startswith(b"d")

    @pytest.mark.parametrize("reset", [False, True])
    def test_bytes_before_a_break_are_returned_first(self, reset: bool) -> None:
        sent = threading.Event()

        def send(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100_000)
            sent.wait(10)
            if reset:  # not only that nothing more comes
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        with answering(send) as url, HttpClient(SHORT).open(request_to(url)) as response:
            first = response.read_piece(5)
            while len(first) < 100_000:
                first += response.read_piece(5)
            sent.set()
            assert len(first) == 100_000
            with pytest.raises(TransientError):
                response.read_piece(5)

    def test_connection_is_kept_after_the_last_piece(self, registry: FakeRegistry) -> None:
        client = HttpClient(SHORT)
        with client.open(request_to(registry.url)) as response:
            assert list(pieces_of(response))
            assert get(registry.url, client) == 200  # takes the connection, though the response is still open
            assert response.read_piece(5) == b""
        assert get(registry.url, client) == 200
        assert registry.connections == 1

    def test_pieces_may_be_kept(self) -> None:
        with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n" + b"ab" * 300_000) as url:
            with HttpClient(SHORT).open(request_to(url)) as response:
                pieces = list(pieces_of(response))
            assert all(type(piece) is bytes for piece in pieces)


class TestUploads:
    def test_early_refusal_is_read_although_the_connection_ends(self) -> None:
        def refuse(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1024 * 1024)

        with answering(refuse) as url:
            pieces = itertools.repeat(b"x" * BLOCK_BYTES, 400)
            assert HttpClient(SHORT).send(request_to(url, "PUT"), Body(pieces, 400 * BLOCK_BYTES)).status == 413

    @pytest.mark.parametrize("closes", [False, True])
    def test_early_refusal_is_read_although_nobody_reads_on(self, closes: bool) -> None:
        answered = threading.Event()

        def refuse(connection: socket.socket) -> None:
            close = b"Connection: close\r\n" if closes else b""
            connection.sendall(b"HTTP/1.1 413 No\r\n" + close + b"Content-Length: 0\r\n\r\n")
            answered.wait(20)

        client = HttpClient(Timeouts(connect=1, read=0.2))
        body = Body(itertools.repeat(b"x" * BLOCK_BYTES, 400), 400 * BLOCK_BYTES)
        with answering(refuse, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
            assert client.send(request_to(url, "PUT"), body, answer_within=20).status == 413
            answered.set()
            assert get(url, client) == 200  # by another connection

    def test_body_may_be_read_as_slowly_as_an_answer_comes(self) -> None:
        """The time to connect says nothing about it, and a part of several megabytes is not sent by one call."""
        size = 16 * 1024 * 1024

        def read_slowly(connection: socket.socket) -> None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
            received = 65536  # at most, with the head
            for wanted in range(0, size // 2, size // 8):
                threading.Event().wait(0.3)
                while received < wanted:
                    received += len(connection.recv(65536))
            while received < size:
                received += len(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

        client = HttpClient(Timeouts(connect=0.1, read=1))
        with answering(read_slowly) as url, client.open(request_to(url, "PUT"), Body([bytes(size)], size)) as response:
            assert response.status_code == 201

    def test_connection_is_not_used_after_half_a_body(self) -> None:
        def refuse(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        client = HttpClient(SHORT)
        with answering(refuse, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
            with contextlib.suppress(TransientError):
                client.send(request_to(url, "PUT"), Body(itertools.repeat(b"x" * BLOCK_BYTES, 400), 400 * BLOCK_BYTES))
            assert get(url, client) == 200


class TestPool:
    def test_answer_that_was_left_unread_ends_its_connection(self, registry: FakeRegistry) -> None:
        client = HttpClient(SHORT)
        with client.open(request_to(registry.url)) as response:
            assert response.status_code == 200
        assert response.read_piece(5) == b""
        assert get(f"{registry.url}/nothing", client) == 404
        assert registry.connections == 2

    def test_answer_without_a_body_keeps_its_connection(self, registry: FakeRegistry) -> None:
        client = HttpClient(SHORT)
        for _ in range(3):
            with client.open(request_to(registry.url, "HEAD")) as response:
                assert response.status_code == 200
        assert registry.connections == 1

    @pytest.mark.parametrize("head", [b"204 No Content\r\n", b"304 Not\r\n", b"200 OK\r\nContent-Length: 0\r\n"])
    def test_connection_of_an_answer_without_a_body_is_used_before_it_is_closed(self, head: bytes) -> None:
        def answer_twice(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 " + head + b"\r\n")
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

        client = HttpClient(SHORT)
        with answering(answer_twice) as url, client.open(request_to(url)) as first:
            assert get(url, client) == 201
            assert (first.read(5), first.read_piece(5)) == (b"", b"")

    def test_threads_get_connections_of_their_own(self, registry: FakeRegistry) -> None:
        client = HttpClient(SHORT)
        threads = [threading.Thread(target=get, args=(registry.url, client)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [request.status for request in registry.requests] == [200] * 8

    def test_closed_client_connects_anew(self, registry: FakeRegistry) -> None:
        client = HttpClient(SHORT)
        for expected in (1, 2):
            assert get(registry.url, client) == 200
            assert registry.connections == expected
            client.close()

    def test_connection_is_not_kept_for_longer_than_a_minute(self, registry: FakeRegistry) -> None:
        now = [0.0]
        client = HttpClient(SHORT, clock=lambda: now[0])
        get(registry.url, client)
        now[0] += 61
        get(registry.url, client)
        assert registry.connections == 2

    def test_what_is_left_of_an_earlier_answer_is_no_answer(self) -> None:
        """Some servers send the body of an answer to HEAD."""

        def answer(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
            connection.recv(65536)
            connection.sendall(b"abcHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        client = HttpClient(SHORT)
        with answering(answer, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as url:
            assert client.send(request_to(url, "HEAD")).status == 200
            with pytest.raises(TransientError, match="connection broke"):
                get(url, client)
            assert get(url, client) == 200

    def test_what_follows_an_answer_within_its_record_of_tls_is_no_answer(self, tmp_path: Path) -> None:
        """A server that sends the body of an answer to HEAD lets whoever wrote it answer in the registry's place."""
        certificate = self_signed().write(tmp_path)
        head, smuggled = (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n",
            b"HTTP/1.1 299 OK\r\nContent-Length: 0\r\n\r\n",
        )

        class Server(_Quiet):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.wfile.write(head + b" " * (io.DEFAULT_BUFFER_SIZE - len(head)) + smuggled)

        with served_by_tls(certificate, Server) as url:
            client = HttpClient(SHORT, trust=Trust(str(certificate)))
            assert client.send(request_to(url, "HEAD")).status == 200
            assert get(url, client) == 200


class TestEnvironment:
    def test_netrc_is_not_read(self, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
        monkeypatch.setenv("NETRC", str(netrc))
        get(registry.url)
        assert not registry.requests[-1].authorized

    def test_certificates_of_requests_are_not_read(
        self, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        assert get(registry.url) == 200

    def test_cookies_are_not_kept(self) -> None:
        received: list[bytes] = []

        def answer(connection: socket.socket) -> None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
            received.append(connection.recv(65536))

        with answering(answer) as url:
            client = HttpClient(SHORT)
            get(url, client)
            with contextlib.suppress(TransientError):
                get(url, client)
        assert b"cookie" not in received[0].lower()
        assert b"Accept-Encoding: identity\r\n" in received[0]

    def test_query_of_a_url_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nno header\r\n\r\n"
        with answering(answer) as url, caplog.at_level(logging.DEBUG):
            HttpClient(SHORT).send(Request("GET", f"{url}/blob?sig={SECRET}", {}, INQUIRY))
        assert "/blob?…" in caplog.text
        assert SECRET not in caplog.text
