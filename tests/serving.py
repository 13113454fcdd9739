"""Servers that answer in a thread of their own for as long as a test needs them."""

import contextlib
import socketserver
from collections.abc import Iterator

from local.serving import ServerThread


@contextlib.contextmanager
def serving(server: socketserver.TCPServer) -> Iterator[None]:
    """Let a server answer, and close it in the end."""
    with server:
        thread = ServerThread(server)
        thread.start()
        try:
            yield
        finally:
            thread.stop()
