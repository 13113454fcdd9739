"""docker-registry, and the Docker endpoint of the strict local ECR: each once for a module."""

import base64
from collections.abc import Iterator

import pytest

from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.registry.credentials import Credential
from tests.contract.oci.harness import HOME, OTHER_HOME, Registry
from tests.real_servers import docker_registry


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield Registry(host)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture
def ecr(running: RunningEcr) -> Registry:
    running.restart()
    for name in (HOME, OTHER_HOME):
        running.client.create_repository(repositoryName=name)
    _, _, password = base64.b64decode(running.authorization()["Authorization"].split()[1]).decode().partition(":")
    return Registry(running.url.removeprefix("http://"), Credential("AWS", password), running)


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.real_registry), "ecr"])
def registry(request: pytest.FixtureRequest) -> Registry:
    chosen: Registry = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> bytes:
    """Bytes that no other test has: docker-registry keeps what tests put there."""
    return str(request.node.nodeid).encode()
