"""One server for the whole run, an empty registry for each test."""

from collections.abc import Iterator

import pytest
from mypy_boto3_ecr import ECRClient

from local.tests.ecr.harness import RunningEcr, running_ecr


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture
def registry(_server: RunningEcr) -> RunningEcr:
    """A registry with one repository, `team/app`, and no calls so far."""
    _server.restart()
    _server.ecr.call("CreateRepository", {"repositoryName": "team/app"})
    _server.ecr.calls.clear()
    return _server


@pytest.fixture
def client(registry: RunningEcr) -> ECRClient:
    return registry.client
