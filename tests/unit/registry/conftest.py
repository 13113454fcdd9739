"""One fake registry for each test, and a client of it."""

import threading
from collections.abc import Callable, Iterator

import pytest

from local.registry import FakeRegistry
from pullahead.registry import UpstreamRegistry
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
