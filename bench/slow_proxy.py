"""`python -m bench.slow_proxy PORT UPSTREAM BYTES_PER_SECOND DELAY_SECONDS`: a far registry, made of a near one.

Each connection has a rate of its own, and whatever comes back is that much later, as it would be after a way there and
back; so is the first answer once more, for the handshake of TCP. Bytes are passed on as they are, TLS and all.
"""

import queue
import socket
import sys
import threading
import time
from typing import Final

_PIECE: Final = 256 * 1024
_PIECES_UNDER_WAY: Final = 32  # more than a rate and a delay like ours keep under way
_End = None  # what is queued when a server has sent all


class Pace:
    """Says when the bytes that come back on one connection arrive."""

    def __init__(self, bytes_per_second: float, delay_seconds: float, now: float) -> None:
        self._rate, self._delay = bytes_per_second, delay_seconds
        self._free_at = now + delay_seconds

    def arrival(self, count: int, sent_at: float) -> float:
        """Take `count` bytes of the line that were sent at a time; returns when they arrive."""
        arrives = max(self._free_at, sent_at + self._delay)
        self._free_at = arrives + count / self._rate
        return arrives


def serve(port: int, upstream: tuple[str, int], bytes_per_second: float, delay_seconds: float) -> None:
    """Take connections until the process is ended."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            client, _ = listener.accept()
            pace = Pace(bytes_per_second, delay_seconds, time.monotonic())
            server = socket.create_connection(upstream)
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            under_way: queue.Queue[tuple[float, bytes] | None] = queue.Queue(_PIECES_UNDER_WAY)
            for passes, *arguments in (
                (_pass_requests, client, server),
                (_take_answers, server, under_way),
                (_bring_answers, under_way, client, server, pace),
            ):
                threading.Thread(target=passes, args=arguments, daemon=True).start()


def _pass_requests(client: socket.socket, server: socket.socket) -> None:
    try:
        while piece := client.recv(_PIECE):
            server.sendall(piece)
        server.shutdown(socket.SHUT_WR)
    except OSError:
        _end(client, server)


def _take_answers(server: socket.socket, under_way: "queue.Queue[tuple[float, bytes] | None]") -> None:
    try:
        while piece := server.recv(_PIECE):
            under_way.put((time.monotonic(), piece))
    except OSError as error:
        print(f"a connection ended early: {error.strerror}", file=sys.stderr)
    under_way.put(_End)


def _bring_answers(
    under_way: "queue.Queue[tuple[float, bytes] | None]", client: socket.socket, server: socket.socket, pace: Pace
) -> None:
    broken = False
    while (sent := under_way.get()) is not _End:
        if broken:  # take what is left, so that whoever puts it there need not wait for ever
            continue
        sent_at, piece = sent
        time.sleep(max(0.0, pace.arrival(len(piece), sent_at) - time.monotonic()))
        try:
            client.sendall(piece)
        except OSError as error:
            print(f"a connection ended early: {error.strerror}", file=sys.stderr)
            broken = True
            _end(client, server)
    _end(client, server)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        end.close()


if __name__ == "__main__":
    _host, _, _port = sys.argv[2].partition(":")
    serve(int(sys.argv[1]), (_host, int(_port)), float(sys.argv[3]), float(sys.argv[4]))
