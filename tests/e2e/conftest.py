"""A docker-registry to copy to, once for all tests of a process, and a source and a login for each."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.registry import FakeRegistry
from tests.e2e.cli_copies import Command, Home
from tests.real_servers import docker_registry

# Without this it takes no manifest that names URLs.
_ALLOW_URLS = "validation: {manifests: {urls: {allow: ['.']}}}"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def docker_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("target"), auth=_ALLOW_URLS) as host:
        yield host


@pytest.fixture
def home(docker_host: str) -> Home:
    """A repository that nothing was copied to."""
    return Home(docker_host, f"mirror/app{next(_numbers)}", {})


@pytest.fixture
def source() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    """Another server: a storage, a token service, a stranger."""
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)
