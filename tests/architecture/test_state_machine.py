"""The state machine agrees with the template and the error taxonomy; each rule is shown to bite."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pullahead.errors import DeferredError, NoLongerWantedError
from pullahead.messages import PlanResult
from pullahead.oci import Digest
from tests.architecture import state_machine_rules as rules
from tests.architecture.permission_rules import grants
from tests.architecture.sam_template import FUNCTION, STATE_MACHINE, Template, read_definition, real_template

Check = Callable[[Template, dict[str, Any]], Iterator[str]]
Break = Callable[[dict[str, Any]], object]


def alone(check: Callable[[dict[str, Any]], Iterator[str]]) -> Check:
    """Make a check of the definition alone look like the others."""

    def both(_template: Template, definition: dict[str, Any]) -> Iterator[str]:
        return check(definition)

    both.__name__ = check.__name__
    return both


TOKENS: Check = rules.token_findings
TIMEOUTS: Check = rules.timeout_findings
RETRIES = alone(rules.retry_findings)
THROTTLING = alone(rules.throttling_findings)
CATCHES = alone(rules.catch_findings)
REACH = alone(rules.reach_findings)
STRUCTURE = alone(rules.structure_findings)


@pytest.mark.parametrize(
    "check", [TOKENS, TIMEOUTS, RETRIES, THROTTLING, CATCHES, REACH, STRUCTURE], ids=lambda check: check.__name__
)
def test_state_machine_is_right(check: Check) -> None:
    template = real_template()
    assert list(check(template, read_definition(template))) == []


def test_retryable_errors_are_leaves_of_the_taxonomy() -> None:
    retryable = rules.retryable_errors()
    assert {"RateLimitedError", "RegistryUnavailableError", "RegistryTimeoutError", "StorageError"} <= retryable
    assert not {"PullaheadError", "RegistryError", "NotFoundError", "AccessDeniedError"} & retryable


def test_refresh_that_is_deferred_or_no_longer_wanted_does_not_end_as_a_failure() -> None:
    states = read_definition(real_template())["States"]
    ways = states[states["RecordFailure"]["Next"]]["Choices"]
    assert [way["StringEquals"] for way in ways] == [DeferredError.__name__, NoLongerWantedError.__name__]
    for way in ways:
        assert way["Variable"] == "$.error.Error"
        assert states[way["Next"]]["Type"] == "Succeed"


def test_missing_repository_is_created_before_the_copy_is_planned_again() -> None:
    states = read_definition(real_template())["States"]
    choice = states[states["PlanCopy"]["Next"]]
    (missing,) = choice["Choices"]
    created = states[missing["Next"]]
    assert (missing["Variable"], missing["IsPresent"], choice["Default"]) == ("$.repository_missing", True, "CopyUnits")
    assert created["Parameters"]["Payload.$"] == "$$.Execution.Input"
    assert (created["OutputPath"], created["Next"]) == ("$.Payload", "PlanCopy")
    assert states["PlanCopy"]["Parameters"]["Payload.$"] == "$"


def test_failure_to_copy_referrers_leads_to_the_publish_of_the_image() -> None:
    states = read_definition(real_template())["States"]
    (caught,) = states["CopyReferrers"]["Catch"]
    assert (states["CopyUnits"]["Next"], states["CopyReferrers"]["Next"]) == ("CopyReferrers", "IsToBeVerified")
    assert (caught["ErrorEquals"], caught["Next"]) == (["States.ALL"], "IsToBeVerified")


def test_image_is_verified_between_its_copy_and_its_publish_where_the_plan_says_so() -> None:
    states = read_definition(real_template())["States"]
    choice = states["IsToBeVerified"]
    assert choice["Choices"] == [{"Variable": "$.verify", "IsPresent": False, "Next": "PublishImage"}]
    assert choice["Default"] == "VerifyImage"  # whatever a plan says
    assert PlanResult((), 0, 0, 0, Digest(f"sha256:{64 * '0'}")).to_event().get("verify") is None
    verify = states["VerifyImage"]
    assert (verify["Next"], verify["Parameters"]["Payload"]) == ("PublishImage", {"request.$": "$$.Execution.Input"})
    leading = {name for name, state in states.items() if '"PublishImage"' in json.dumps(state)}
    assert leading == {"IsToBeVerified", "VerifyImage", "HoldsUnverified"}


def test_image_that_could_not_be_verified_is_published_only_where_the_rule_reports() -> None:
    states = read_definition(real_template())["States"]
    caught = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "HoldsUnverified"}
    assert states["VerifyImage"]["Catch"] == [caught]
    choice = states["HoldsUnverified"]
    assert choice["Choices"] == [{"Variable": "$.verify", "StringEquals": "report", "Next": "PublishImage"}]
    assert choice["Default"] == "RecordFailure"


def test_only_the_verifier_has_the_layer_of_signatures() -> None:
    template = real_template()
    having = {name for name, each in template.resources(FUNCTION).items() if "SignaturesLayer" in str(each["Layers"])}
    assert having == {"VerifyImageFunction"}
    assert len(template.resources(FUNCTION)["VerifyImageFunction"]["Layers"]) == 3


def test_verifier_writes_nothing_to_ecr() -> None:
    granted = {
        action for grant in grants(real_template()) if grant.role == "VerifyImageRole" for action in grant.actions
    }
    of_ecr = {action for action in granted if action.startswith("ecr:")}
    assert of_ecr == {
        *("ecr:BatchGetImage", "ecr:GetAuthorizationToken", "ecr:GetDownloadUrlForLayer", "ecr:ListImageReferrers"),
    }
    assert {action for action in granted if action.startswith("kms:")} == {"kms:Decrypt", "kms:GetPublicKey"}
    others = {grant.role for grant in grants(real_template()) if "kms:GetPublicKey" in grant.actions}
    assert others == {"VerifyImageRole"}


def copying(definition: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = definition["States"]["CopyUnits"]["ItemProcessor"]["States"]
    return found


def set_state(name: str, **changes: Any) -> Break:
    return lambda definition: definition["States"][name].update(changes)


def drop(name: str, key: str) -> Break:
    return lambda definition: definition["States"][name].pop(key)


def retried(definition: dict[str, Any]) -> list[str]:
    found: list[str] = definition["States"]["PlanCopy"]["Retry"][1]["ErrorEquals"]
    return found


def when_throttled(definition: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = definition["States"]["PlanCopy"]["Retry"][0]
    return found


@pytest.mark.parametrize(
    ("check", "damage"),
    [
        (TOKENS, set_state("PlanCopy", Parameters={"FunctionName": "${PlanKopyArn}"})),
        (RETRIES, lambda definition: retried(definition).remove("RateLimitedError")),
        (RETRIES, lambda definition: retried(definition).remove("Lambda.ClientExecutionTimeoutException")),
        (RETRIES, lambda definition: definition["States"]["PlanCopy"]["Retry"].pop(0)),
        (RETRIES, lambda definition: retried(definition).append("Lambda.TooManyRequestsException")),
        (RETRIES, lambda definition: retried(definition).append("NotFoundError")),
        (RETRIES, lambda definition: retried(definition).append("RegistryError")),
        (RETRIES, lambda definition: retried(definition).append("DeferredError")),
        (RETRIES, lambda definition: retried(definition).append("States.ALL")),
        (RETRIES, lambda definition: retried(definition).append("StorageError")),
        (RETRIES, drop("RecordFailure", "Retry")),
        (RETRIES, lambda definition: copying(definition)["CopyBlobs"].pop("Retry")),
        (THROTTLING, drop("RecordFailure", "Retry")),
        (THROTTLING, lambda definition: when_throttled(definition)["ErrorEquals"].append("StorageError")),
        (THROTTLING, lambda definition: when_throttled(definition).update(MaxAttempts=5)),
        (THROTTLING, lambda definition: when_throttled(definition).update(MaxAttempts=2000)),
        (THROTTLING, lambda definition: when_throttled(definition).update(MaxDelaySeconds=120)),
        (THROTTLING, lambda definition: when_throttled(definition).pop("MaxDelaySeconds")),
        (THROTTLING, lambda definition: when_throttled(definition).pop("JitterStrategy")),
        (CATCHES, drop("PlanCopy", "Catch")),
        (CATCHES, drop("CopyUnits", "Catch")),
        (CATCHES, drop("PublishImage", "Catch")),
        (CATCHES, drop("CopyReferrers", "Catch")),
        (CATCHES, set_state("CopyReferrers", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Failed"}])),
        (CATCHES, set_state("PlanCopy", Catch=[{"ErrorEquals": ["States.ALL"], "Next": "Failed"}])),
        (CATCHES, set_state("PlanCopy", Catch=[{"ErrorEquals": ["States.Timeout"], "Next": "RecordFailure"}])),
        (CATCHES, set_state("HoldsUnverified", Default="PublishImage")),
        (CATCHES, lambda definition: definition["States"]["HoldsUnverified"]["Choices"][0].update(Next="Failed")),
        (TIMEOUTS, drop("PlanCopy", "TimeoutSeconds")),
        (TIMEOUTS, lambda definition: copying(definition)["CopyBlobs"].pop("TimeoutSeconds")),
        (TIMEOUTS, set_state("PlanCopy", TimeoutSeconds=1)),
        (TIMEOUTS, lambda definition: copying(definition)["CopyBlobs"].update(TimeoutSeconds=900)),
        (TIMEOUTS, set_state("PlanCopy", Parameters={"FunctionName": "arn:aws:lambda:eu-west-1:123456789012:a"})),
        (REACH, set_state("PlanCopy", Next="CopyUnit")),
        (REACH, set_state("PlanCopy", Next="PublishImage")),
        (REACH, lambda definition: definition.update(StartAt="Nowhere")),
        (REACH, lambda definition: copying(definition)["UnitDone"].update(Default="Nowhere")),
        (REACH, lambda definition: copying(definition).update(Unused={"Type": "Succeed"})),
        (STRUCTURE, lambda definition: definition.pop("StartAt")),
        (STRUCTURE, lambda definition: definition.update(StartAt="Nowhere")),
        (STRUCTURE, set_state("PlanCopy", Typ="Task")),
        (STRUCTURE, set_state("PlanCopy", Type="Job")),
        (STRUCTURE, set_state("PlanCopy", TimeoutSeconds="long")),
        (STRUCTURE, lambda definition: copying(definition)["CopyBlobs"].update(Retries=[])),
    ],
)
def test_broken_state_machine_is_found(check: Check, damage: Break) -> None:
    template = real_template()
    definition = read_definition(template)
    damage(definition)
    assert len(list(check(template, definition))) >= 1


def test_unused_substitution_is_found() -> None:
    template = real_template()
    definition = read_definition(template)
    (machine,) = template.resources(STATE_MACHINE)
    template.document["Resources"][machine]["Properties"]["DefinitionSubstitutions"]["Extra"] = "x"
    assert list(TOKENS(template, definition)) == [f"{machine}: Extra is given but not used"]


def test_missing_definition_is_found() -> None:
    template = real_template()
    definition = read_definition(template)
    (machine,) = template.resources(STATE_MACHINE)
    template.document["Resources"][machine]["Properties"]["DefinitionUri"] = "statemachines/nowhere.yaml"
    assert list(TOKENS(template, definition)) == [f"{machine}: there is no statemachines/nowhere.yaml"]
