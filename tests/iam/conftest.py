"""The plays, once for all tests of this folder, and what they say of the roles of both stacks."""

from collections.abc import Iterator

import pytest

from tests.architecture.sam_template import real_template
from tests.iam.judging import Case, read_case
from tests.iam.plays import PARAMETERS, Played, played


@pytest.fixture(scope="package")
def after_plays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    with played(tmp_path_factory.mktemp("iam")) as made:
        yield made


@pytest.fixture(scope="package")
def cases(after_plays: Played) -> list[Case]:
    aws = after_plays.deployment.aws
    stacks = (after_plays.deployment.stack, after_plays.other)
    return [read_case(aws, stack, real_template(), PARAMETERS) for stack in stacks]
