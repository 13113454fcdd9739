"""The local AWS with the test stack, one per module: moto's state is one per process, and starting takes a second."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws.server import LocalAws
from local.deploy import deploy
from local.tests.aws.stack import TEMPLATES, WholeStack


@pytest.fixture(scope="module")
def whole_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeStack]:
    with LocalAws(tmp_path_factory.mktemp("aws"), wait_scale=0.0005) as aws:
        yield WholeStack(aws, deploy(aws, TEMPLATES / "whole.yaml"))


@pytest.fixture
def whole(whole_stack: WholeStack) -> WholeStack:
    """Give the stack with its queues empty."""
    whole_stack.aws.wait_idle(20)
    for queue in ("Seen", "JobsDead"):
        whole_stack.taken(queue)
    return whole_stack


@pytest.fixture
def empty_aws(tmp_path: Path) -> Iterator[LocalAws]:
    with LocalAws(tmp_path / "aws") as aws:
        yield aws
