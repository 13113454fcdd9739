"""What must hold of the state machine: tokens, errors, timeouts, ways out, and Amazon's own schema of the language."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pullahead import errors
from tests.architecture.sam_template import FUNCTION, STATE_MACHINE, Template, named
from tests.architecture.source import ROOT

SERVICE_ERRORS = frozenset(
    {
        # AWS Step Functions Developer Guide, "Handle transient Lambda service exceptions".
        "Lambda.ClientExecutionTimeoutException",
        "Lambda.ServiceException",
        "Lambda.AWSLambdaException",
        "Lambda.SdkClientException",
        # A function that was killed: out of time, out of memory, or gone. Every task may be run again.
        "Lambda.Unknown",
        "Runtime.ExitError",
        "Sandbox.Timedout",
        "States.Timeout",
    }
)
THROTTLED = "Lambda.TooManyRequestsException"
MAX_THROTTLED_DELAY = 60
MIN_THROTTLED_SECONDS = 3600 * 3
"""For so long, on the average, a task outlasts the throttling of an account whose concurrency is used up."""
HISTORY_EVENTS = 25_000
EVENTS_OF_A_TRY = 3
"""AWS Step Functions Developer Guide, "Quotas": events of an execution; a try is scheduled, started and failed."""
OUTCOME_TOKEN = "${RecordOutcomeArn}"
_TOKEN = re.compile(r"\$\{([A-Za-z0-9_]+)\}")
_STRUCTURE_RULE = "E3601"
"""cfn-lint: validate the structure of a state machine definition."""

Definition = Mapping[str, Any]


class State(NamedTuple):
    """A state, the states beside it, and whether a Map or Parallel around it catches what it throws."""

    name: str
    value: Definition
    scope: Definition
    caught_outside: bool


def retryable_errors() -> frozenset[str]:
    """Name the errors that another try may help, those that have finer ones of that kind below them left out."""
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    return frozenset(
        kind.__name__
        for kind in classes
        if issubclass(kind, errors.PullaheadError)
        and kind.retryable
        and not any(finer.retryable for finer in kind.__subclasses__())
    )


def states(definition: Definition, caught_outside: bool = False) -> Iterator[State]:
    """List all states, those inside Map and Parallel too."""
    for name, value in definition["States"].items():
        yield State(name, value, definition, caught_outside)
        inside = [value[key] for key in ("ItemProcessor", "Iterator") if key in value] + value.get("Branches", [])
        for scope in inside:
            yield from states(scope, caught_outside or "Catch" in value)


def token_findings(template: Template, definition: Definition) -> Iterator[str]:
    """Find tokens that are not substituted, substitutions that are not used, and a definition that is not there."""
    for name, machine in template.resources(STATE_MACHINE).items():
        if not (ROOT / machine["DefinitionUri"]).is_file():
            yield f"{name}: there is no {machine['DefinitionUri']}"
        used = set(_TOKEN.findall(json.dumps(definition)))
        given = set(machine.get("DefinitionSubstitutions", {}))
        for token in sorted(used ^ given):
            yield f"{name}: {token} is {'used but not given' if token in used else 'given but not used'}"


def retry_findings(definition: Definition) -> Iterator[str]:
    """Find tasks that try again on other errors than those that another try may help.

    Step Functions compares names, never bases: Amazon States Language, "Errors".
    """
    expected = retryable_errors() | SERVICE_ERRORS | {THROTTLED}
    for state in states(definition):
        if state.value["Type"] != "Task":
            continue
        named_errors = [error for retry in state.value.get("Retry", []) for error in retry["ErrorEquals"]]
        for error in sorted(expected.symmetric_difference(named_errors)):
            yield f"{state.name}: {'does not retry' if error in expected else 'retries'} {error}"
        if len(named_errors) != len(set(named_errors)):
            yield f"{state.name}: names an error twice"


def throttling_findings(definition: Definition) -> Iterator[str]:
    """Find tasks that give up before an account whose concurrency is used up has room for them again.

    Every retrier counts its own tries, so throttling has one of its own; jitter halves the delays on the average.
    """
    for state in states(definition):
        if state.value["Type"] != "Task":
            continue
        retriers = [retry for retry in state.value.get("Retry", []) if THROTTLED in retry["ErrorEquals"]]
        if not retriers or retriers[0]["ErrorEquals"] != [THROTTLED]:
            yield f"{state.name}: throttling has no retrier of its own"
            continue
        tries, delay = retriers[0].get("MaxAttempts", 3), retriers[0].get("MaxDelaySeconds", 31_622_400)
        if delay > MAX_THROTTLED_DELAY:
            yield f"{state.name}: waits longer than {MAX_THROTTLED_DELAY} s for room"
        if retriers[0].get("JitterStrategy") != "FULL":
            yield f"{state.name}: tasks that are throttled together try again together"
        if tries * delay / 2 < MIN_THROTTLED_SECONDS:
            yield f"{state.name}: gives up too early while it is throttled"
        if tries * EVENTS_OF_A_TRY * _at_once(definition) > HISTORY_EVENTS / 2:
            yield f"{state.name}: so many tries fill the history of the execution"


def _at_once(definition: Definition) -> int:
    return max(int(state.value.get("MaxConcurrency", 1)) for state in states(definition))


def catch_findings(definition: Definition) -> Iterator[str]:
    """Find tasks whose failure is neither recorded nor left to the next state, which is reached then as always.

    A choice may lie between, of these two; what it does not name is recorded.
    """
    for state in states(definition):
        if state.value["Type"] not in {"Task", "Map", "Parallel"} or state.caught_outside or _records(state.value):
            continue
        ways_out = {catch["Next"] for catch in state.value.get("Catch", []) if catch["ErrorEquals"] == ["States.ALL"]}
        following, scope = state.value.get("Next"), state.scope["States"]
        goes_on = bool(ways_out) and ways_out == {following}
        if not goes_on and not any(_leads_to_record(scope, way, following) for way in ways_out):
            yield f"{state.name}: no Catch of States.ALL that leads to the outcome"


def _leads_to_record(scope: Definition, name: str, following: str | None) -> bool:
    state = scope.get(name, {})
    if state.get("Type") != "Choice":
        return _records(state)
    others = {choice["Next"] for choice in state["Choices"]} - {following}
    return all(_records(scope.get(way, {})) for way in {state["Default"], *others})


def _records(state: Definition) -> bool:
    return bool(state.get("Parameters", {}).get("FunctionName") == OUTCOME_TOKEN)


def timeout_findings(template: Template, definition: Definition) -> Iterator[str]:
    """Find tasks without a timeout, or that give up before their function does."""
    functions = template.resources(FUNCTION)
    (machine,) = template.resources(STATE_MACHINE).values()
    for state in states(definition):
        if state.value["Type"] != "Task":
            continue
        token = _TOKEN.fullmatch(state.value["Parameters"]["FunctionName"])
        function = named(machine["DefinitionSubstitutions"].get(token[1])) if token else None
        if "TimeoutSeconds" not in state.value:
            yield f"{state.name}: has no TimeoutSeconds"
        elif function not in functions:
            yield f"{state.name}: runs no function of the template"
        elif state.value["TimeoutSeconds"] <= template.largest(functions[function]["Timeout"]):
            yield f"{state.name}: gives up before {function} does"


def reach_findings(definition: Definition, where: str = "the top level") -> Iterator[str]:
    """Find states that nothing leads to, and ways that lead nowhere."""
    known = definition["States"]
    reached: set[str] = set()
    waiting = [definition["StartAt"]]
    while waiting:
        name = waiting.pop()
        if name not in known:
            yield f"{where}: there is no state {name}"
        elif name not in reached:
            reached.add(name)
            waiting.extend(_next_states(known[name]))
    for name in sorted(set(known) - reached):
        yield f"{where}: nothing leads to {name}"
    for name, state in known.items():
        for key in ("ItemProcessor", "Iterator"):
            if key in state:
                yield from reach_findings(state[key], name)


def _next_states(state: Definition) -> Iterator[str]:
    for way in (state, *state.get("Choices", []), *state.get("Catch", [])):
        if "Next" in way:
            yield way["Next"]
    if "Default" in state:
        yield state["Default"]


def structure_findings(definition: Definition) -> Iterator[str]:
    """Find what the schema of the Amazon States Language, as cfn-lint has it, does not allow."""
    from cfnlint.api import lint_all  # type: ignore[import-untyped]  # it ships no types, and takes two seconds

    properties = {"RoleArn": "arn:aws:iam::123456789012:role/refresh", "Definition": definition}
    resource = {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}
    for match in lint_all(json.dumps({"Resources": {"Refresh": resource}})):
        if match.rule.id == _STRUCTURE_RULE:
            yield f"{'/'.join(map(str, match.path))}: {match.message}"
