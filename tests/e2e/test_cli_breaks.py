"""`bin/pullahead copy` whose source breaks in the middle of a blob: it goes on after the last byte that came.

Counted are the bytes that upstream sent of the blob: all of it once, and at most a piece again.
"""

import itertools
import socket
import struct
from collections.abc import Callable

import pytest

from local.images import SparseBlob, make_image
from local.registry import FakeRegistry
from tests.e2e.cli_copies import Command, Home, failure

LARGE = SparseBlob(12_000_000, seed=8)
IMAGE = make_image([LARGE], seed=8)
BROKEN_AT = 5_000_000
PIECE = 1024 * 1024

pytestmark = pytest.mark.real_registry


class Reading:
    """A source with one large blob, and what it sent of it."""

    def __init__(self, source: FakeRegistry, command: Command, home: Home) -> None:
        self.source, self.command, self.home = source, command, home
        source.push(IMAGE, "team/app", "1.0")

    def goes_on(self, *servers: FakeRegistry, requests: int) -> None:
        """Copy, and see that all of it arrives and next to nothing was read twice, by so many requests that send it."""
        hosts = [server.host for server in servers]
        ran = self.command.copy(f"{self.source.host}/team/app:1.0", self.home, "--quiet", insecure=hosts)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        assert self.home.lacks(IMAGE) == []
        sent = [
            request.bytes_sent
            for server in (self.source, *servers)
            for request in server.requests
            if LARGE.digest in request.path and request.status in (200, 206)
        ]
        assert len(sent) == requests
        assert LARGE.size <= sum(sent) <= LARGE.size + PIECE

    def at_request(self, server: FakeRegistry, number: int, act: Callable[[], object]) -> None:
        """Do something when a server is asked for the blob for the n-th time, before it answers."""
        calls = itertools.count(1)

        def look() -> None:
            if next(calls) == number:
                act()

        server.before("GET", LARGE.digest, look, times=number)


@pytest.fixture
def reading(source: FakeRegistry, command: Command, home: Home) -> Reading:
    return Reading(source, command, home)


def test_short_body_is_continued_from_the_last_byte(reading: Reading) -> None:
    reading.source.cut(LARGE.digest, BROKEN_AT)
    reading.source.cut(LARGE.digest, 1)
    reading.source.cut(LARGE.digest, 2_000_000)
    reading.goes_on(requests=4)


def test_reset_connection_is_continued_from_the_last_byte(reading: Reading) -> None:
    reading.source.before("GET", LARGE.digest, lambda: end_by_reset(reading.source))
    reading.source.cut(LARGE.digest, BROKEN_AT)
    reading.goes_on(requests=2)


def end_by_reset(server: FakeRegistry) -> None:
    """Make the connections of a server end by a reset, which throws away the little that is still on its way."""
    for connection in list(server._listener._connections):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("status", [429, 503])
def test_error_status_in_the_middle_is_continued_from_the_last_byte(reading: Reading, status: int) -> None:
    reading.source.cut(LARGE.digest, BROKEN_AT)
    reading.at_request(reading.source, 2, lambda: reading.source.fail("GET", LARGE.digest, status, times=4))
    reading.goes_on(requests=2)
    assert reading.source.count("GET", LARGE.digest) == 6


def test_expired_token_in_the_middle_is_renewed_and_continued(reading: Reading) -> None:
    reading.source.token_auth = True
    reading.source.cut(LARGE.digest, BROKEN_AT)
    reading.at_request(reading.source, 2, reading.source.expire_tokens)
    reading.goes_on(requests=2)
    assert reading.source.count("GET", "/token") == 2


def test_expired_cdn_url_in_the_middle_is_renewed_and_continued(reading: Reading, elsewhere: FakeRegistry) -> None:
    reading.source.redirect_blobs_to = elsewhere
    elsewhere.cut(LARGE.digest, BROKEN_AT)
    reading.at_request(elsewhere, 2, lambda: elsewhere.fail("GET", LARGE.digest, 403))
    reading.goes_on(elsewhere, requests=2)
    assert reading.source.count("GET", LARGE.digest) == 2
    assert elsewhere.count("GET", LARGE.digest) == 3
    assert not any(request.authorized for request in elsewhere.requests)


def test_cdn_that_denies_every_url_fails_without_showing_it(reading: Reading, elsewhere: FakeRegistry) -> None:
    reading.source.redirect_blobs_to = elsewhere
    elsewhere.fail("GET", LARGE.digest, 403, times=999)
    source = f"{reading.source.host}/team/app:1.0"
    said = failure(reading.command.copy(source, reading.home, "--quiet", insecure=[elsewhere.host]))
    assert f"access denied by {elsewhere.host}, to which the registry redirects (HTTP 403)" in said
    assert "Signature" not in said
    assert reading.home.served() is None
    assert elsewhere.count("GET", LARGE.digest) <= 15


def test_source_that_always_breaks_fails(reading: Reading) -> None:
    reading.source.cut(LARGE.digest, 0, times=999)
    source = f"{reading.source.host}/team/app:1.0"
    said = failure(reading.command.copy(source, reading.home, "--quiet"))
    assert f"@{LARGE.digest} at the source failed: the connection ended in the middle of a response" in said
    assert reading.home.served() is None
    assert reading.source.count("GET", LARGE.digest) <= 15
