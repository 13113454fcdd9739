"""A server that answers in a thread of its own until it is stopped, which takes no time."""

import contextlib
import socket
import socketserver
import threading

_POLL_SECONDS = 0.02  # where a listening socket that is shut down wakes nobody, as on macOS


class ServerThread:
    """Runs a server beside whoever started it."""

    def __init__(self, server: socketserver.TCPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections; the port is given back by the server's `server_close`. Nothing, if not started."""
        if self._thread.ident is None:
            return
        with contextlib.suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which else looks up now and then
        self._server.shutdown()
        self._thread.join()
