"""The local ECR's API in a real server, for contracts that need no bytes: one for each module, empty for each test."""

from collections.abc import Iterator

import pytest

from local.tests.ecr.harness import RunningEcr, running_ecr


@pytest.fixture(scope="module")
def _ecr_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture
def ecr(_ecr_server: RunningEcr) -> RunningEcr:
    _ecr_server.restart()
    return _ecr_server
