"""One deployment for all scenarios of a test process, and for each scenario a mirror and an upstream of its own."""

from collections.abc import Callable, Iterator

import pytest

from local.aws.pool import Invocation
from local.registry import FakeRegistry
from tests.scenarios.deployment import Deployment, deployed
from tests.scenarios.scene import Scene

Listener = Callable[[Invocation], None]


@pytest.fixture(scope="package")
def listeners() -> list[Listener]:
    """Give what is called after each run of a function, before anybody learns how it ended."""
    return []


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory, listeners: list[Listener]) -> Iterator[Deployment]:
    def tell(invocation: Invocation) -> None:
        for listener in listeners:
            listener(invocation)

    with deployed(tmp_path_factory.mktemp("scenarios"), tell) as made:
        yield made


@pytest.fixture
def scene(deployment: Deployment, listeners: list[Listener]) -> Iterator[Scene]:
    deployment.clear()
    with FakeRegistry(deployment.upstream_port) as upstream:
        yield Scene(deployment, deployment.next_mirror(), upstream)
        listeners.clear()
        deployment.aws.ecr.faults.clear()
        upstream.clear_faults()
        deployment.settle()
