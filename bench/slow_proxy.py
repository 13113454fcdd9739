"""`python -m bench.slow_proxy PORT UPSTREAM BYTES_PER_SECOND DELAY_SECONDS`: a far registry, made of a near one.

Each connection has a rate of its own, and answers each request (and the first one, which stands for the handshake,
once more) that much later. Bytes are passed on as they are.
"""

import socket
import sys
import threading
import time
from typing import Final

_PIECE: Final = 256 * 1024
_SLACK_SECONDS: Final = 0.02  # what a sleep that is too long, or a turn of Python's threads, may catch up


class Pace:
    """Says when the next bytes of one connection may go."""

    def __init__(self, bytes_per_second: float, delay_seconds: float, now: float) -> None:
        self._rate, self._delay = bytes_per_second, delay_seconds
        self._free_at = now + delay_seconds
        self._lock = threading.Lock()

    def asked(self, now: float) -> None:
        """Note a request: no byte of its answer goes before the delay is over."""
        with self._lock:
            self._free_at = max(self._free_at, now) + self._delay

    def wait_before(self, count: int, now: float) -> float:
        """Take `count` bytes of the line; returns the seconds to wait before sending them."""
        with self._lock:
            start = max(self._free_at, now - _SLACK_SECONDS)
            self._free_at = start + count / self._rate
            return max(0.0, self._free_at - now)


def serve(port: int, upstream: tuple[str, int], bytes_per_second: float, delay_seconds: float) -> None:
    """Take connections until the process is ended."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            client, _ = listener.accept()
            pace = Pace(bytes_per_second, delay_seconds, time.monotonic())
            server = socket.create_connection(upstream)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pass_requests, args=(client, server, pace), daemon=True).start()
            threading.Thread(target=_pass_answers, args=(server, client, pace), daemon=True).start()


def _pass_requests(client: socket.socket, server: socket.socket, pace: Pace) -> None:
    try:
        while piece := client.recv(_PIECE):
            pace.asked(time.monotonic())
            server.sendall(piece)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        _end(client, server)


def _pass_answers(server: socket.socket, client: socket.socket, pace: Pace) -> None:
    buffer = memoryview(bytearray(_PIECE))
    try:
        while count := server.recv_into(buffer):
            time.sleep(pace.wait_before(count, time.monotonic()))
            client.sendall(buffer[:count])
    except OSError as error:
        print(f"a connection ended early: {error.strerror}", file=sys.stderr)
    _end(client, server)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        end.close()


if __name__ == "__main__":
    _host, _, _port = sys.argv[2].partition(":")
    serve(int(sys.argv[1]), (_host, int(_port)), float(sys.argv[3]), float(sys.argv[4]))
