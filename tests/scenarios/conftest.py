"""One deployment for all scenarios of a test process, and for each scenario a mirror and an upstream of its own."""

from collections.abc import Callable, Iterator

import pytest

from local.aws.pool import Invocation
from local.registry import FakeRegistry
from tests.architecture.sam_template import real_template
from tests.iam.judging import read_case, refused
from tests.scenarios.deployment import PULLS, WEBHOOKS, Deployment, deployed
from tests.scenarios.scene import Scene

Listener = Callable[[Invocation], None]
RULES_ELSEWHERE = "arn:aws:s3:::team-rules/"
"""Read where a scenario replaces a deployment with another RulesUri, which would have another role too."""


@pytest.fixture(scope="package")
def listeners() -> list[Listener]:
    """Return the hooks that run after each run of a function, before its end is reported."""
    return []


@pytest.fixture(scope="package")
def deployment(tmp_path_factory: pytest.TempPathFactory, listeners: list[Listener]) -> Iterator[Deployment]:
    def tell(invocation: Invocation) -> None:
        for listener in listeners:
            listener(invocation)

    with deployed(tmp_path_factory.mktemp("scenarios"), tell, **WEBHOOKS, **PULLS) as made:
        yield made
        case = read_case(made.aws, made.stack, real_template())
        assert [finding for finding in refused(case) if RULES_ELSEWHERE not in finding] == []


@pytest.fixture
def scene(deployment: Deployment, listeners: list[Listener]) -> Iterator[Scene]:
    deployment.clear()
    with FakeRegistry(deployment.upstream_port) as upstream:
        yield Scene(deployment, deployment.next_mirror(), upstream)
        listeners.clear()
        deployment.aws.ecr.faults.clear()
        upstream.clear_faults()
        deployment.settle()
