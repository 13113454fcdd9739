"""The template's `Rules`: parameters that do not go together are refused before anything is made."""

import pytest

from local.stacks.errors import StackError
from local.stacks.settled import settle
from pullahead.rules.file_format import format_duration
from pullahead.rules.parameters import DEFAULT_CHECK_SCHEDULE, DEFAULT_SECRETS, DEFAULT_TARGET_REPOSITORIES
from tests.architecture.sam_template import real_template


def accept(**parameters: str) -> None:
    document = real_template().document
    settle({part: document[part] for part in ("Parameters", "Rules")}, parameters, "pullahead", "id")


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [
        ({"Webhooks": "on"}, "WebhookSecret is required"),
        ({"VpcSubnetIds": "subnet-1,subnet-2"}, "VpcSecurityGroupIds are required"),
    ],
)
def test_parameters_that_lack_another_are_refused(parameters: dict[str, str], complaint: str) -> None:
    with pytest.raises(StackError, match=complaint):
        accept(**parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"Webhooks": "on", "WebhookSecret": "a/secret"},
        {"VpcSubnetIds": "subnet-1", "VpcSecurityGroupIds": "sg-1"},
        {"VpcSecurityGroupIds": "sg-1"},
    ],
)
def test_parameters_that_are_whole_are_accepted(parameters: dict[str, str]) -> None:
    accept(**parameters)


def test_defaults_that_validate_knows_are_those_of_the_template() -> None:
    document = real_template().document
    parameters = document["Parameters"]
    assert parameters["TargetRepositories"]["Default"] == DEFAULT_TARGET_REPOSITORIES
    assert parameters["CheckSchedule"]["Default"] == f"rate({format_duration(DEFAULT_CHECK_SCHEDULE)[:-1]} minutes)"
    assert f":secret:{DEFAULT_SECRETS}" in str(document["Resources"]["PlanCopyRole"])
    assert all(parameters[name]["Default"] == "" for name in ("UpstreamSecrets", "UpstreamRoles", "OnDemandPrefix"))
