"""What a socket receives of a piece, and by how many calls; certificates that are read before they are needed."""

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pullahead.registry.sockets import DeadlineSocket, file_trust, read_trust_ahead
from tests.certificates import self_signed

BLOCK = 16 * io.DEFAULT_BUFFER_SIZE


class RecordingSocket(socket.socket):
    """Hands out a record at a time, as TLS does, and counts."""

    record = io.DEFAULT_BUFFER_SIZE
    calls = 0

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.calls += 1
        return super().recv_into(buffer, min(nbytes or len(buffer), self.record), flags)


class Receiver(DeadlineSocket, RecordingSocket):
    """Keeps a deadline on what the other socket hands out."""


@pytest.fixture
def pair() -> Iterator[tuple[Receiver, socket.socket]]:
    ours, theirs = socket.socketpair()
    with Receiver(ours.family, ours.type, ours.proto, fileno=ours.detach()) as receiver, theirs:
        receiver.settimeout(20)
        receiver.begin_piece(has_begun=False)
        yield receiver, theirs


def test_buffer_for_a_part_of_the_body_is_filled_by_one_call(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, sender = pair
    sent = bytes(range(256)) * (BLOCK // 256)
    sender.sendall(sent)
    buffer = bytearray(BLOCK)
    assert receiver.recv_into(buffer) == BLOCK
    assert (bytes(buffer), receiver.received) == (sent, BLOCK)


def test_buffer_of_io_is_not_filled_beyond_what_came(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, sender = pair
    sender.sendall(b"the end of a body")
    assert receiver.recv_into(bytearray(io.DEFAULT_BUFFER_SIZE)) == 17
    assert receiver.calls == 1


def test_end_of_the_connection_within_a_buffer_is_told_by_the_next_call(pair: tuple[Receiver, socket.socket]) -> None:
    receiver, sender = pair
    sender.sendall(b"all")
    sender.close()
    assert [receiver.recv_into(bytearray(BLOCK)), receiver.recv_into(bytearray(BLOCK))] == [3, 0]


def read_ahead(path: Path) -> None:
    read_trust_ahead(str(path))
    for thread in threading.enumerate():
        if thread.name == "certificates":
            thread.join(20)


def test_certificates_that_were_read_ahead_are_not_read_again(tmp_path: Path) -> None:
    certificate = self_signed().write(tmp_path)
    read_ahead(certificate)
    certificate.unlink()
    assert file_trust(str(certificate)).cert_store_stats()["x509"] == 1


def test_error_of_reading_ahead_is_raised_where_the_certificates_are_needed(tmp_path: Path) -> None:
    read_ahead(tmp_path / "absent.pem")
    with pytest.raises(FileNotFoundError):
        file_trust(str(tmp_path / "absent.pem"))
