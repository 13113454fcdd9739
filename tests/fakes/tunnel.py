"""A proxy that makes tunnels (CONNECT), all of which lead to one server, wherever they were asked to."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def tunnel_to(host: str, certificate: Path | None = None) -> Iterator[tuple[str, list[str]]]:
    """Run a proxy, by TLS if it has a certificate; give its address, and the requests for tunnels that it received."""
    asked: list[str] = []
    opened: list[socket.socket] = []
    threads: list[threading.Thread] = []
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def serve(client: socket.socket) -> None:
        name, _, port = host.partition(":")
        with contextlib.suppress(OSError):
            if context is not None:
                client = context.wrap_socket(client, server_side=True)
            with client, socket.create_connection((name, int(port))) as behind:
                opened.extend((client, behind))
                asked.append(client.recv(65536).decode())
                client.sendall(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(behind, client), daemon=True)
                back.start()
                _pump(client, behind)
                back.join(5)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):  # the listener was closed
                while True:
                    client, _ = listener.accept()
                    threads.append(threading.Thread(target=serve, args=(client,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", asked
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        for each in opened:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in (accepting, *threads):
            thread.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
