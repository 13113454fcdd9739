"""One fake registry for each test, and a client of it."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.registry import FakeRegistry
from local.registry.answers import Answer
from pullahead.registry.client import UpstreamRegistry
from tests.fakes.internet import Internet
from tests.unit.registry.guarding import IMAGE, LISTED, PUBLIC, Public
from tests.unit.registry.harness import upstream_of


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def other() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def upstream() -> UpstreamRegistry:
    return upstream_of()


@pytest.fixture
def gate() -> Iterator[Callable[[], None]]:
    """Something that does not return before the test ends."""
    opened = threading.Event()

    def wait() -> None:
        opened.wait(30)

    yield wait
    opened.set()


@pytest.fixture
def within() -> Iterator[socket.socket]:
    """Something on this machine to which no connection may be made."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        arrived, _, _ = select.select([listener], [], [], 0)
        assert arrived == []


@pytest.fixture
def public() -> Public:
    return Public()


@pytest.fixture
def internet(public: Public) -> Iterator[Internet]:
    manifest = IMAGE.root
    headers = {"Content-Type": manifest.descriptor.media_type, "Docker-Content-Digest": manifest.descriptor.digest}
    outside = Internet({PUBLIC: public, LISTED: lambda _: Answer(200, headers, manifest.content)})
    with outside.up():
        yield outside


@pytest.fixture
def ca(internet: Internet, tmp_path: Path) -> Path:
    return internet.certified.write(tmp_path)
