"""What is sent to functions is what they understand: sample events, the state machine's payloads, the push rule."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pullahead.checks.ecr_events import AccountRegion, IgnoredEvent, read_ecr_event
from pullahead.dashboard.widget_request import read_request
from pullahead.errors import InvalidEventError
from pullahead.messages import (
    AwsEvent,
    OutcomeRequest,
    PublishRequest,
    RefreshRequest,
    UnitRequest,
    VerifyRequest,
    read_queued,
)
from pullahead.mirrors.outcome_event import OutcomeDetail
from pullahead.on_demand.cloudtrail import Pull, read_pull
from pullahead.webhooks.http import read_webhook_request
from tests.architecture.sam_template import FUNCTION, directory_of, read_definition, real_template
from tests.architecture.source import ROOT
from tests.architecture.state_machine_rules import OUTCOME_TOKEN, states

EVENTS = sorted((ROOT / "events").glob("*.json"))


def decode_tick(event: Any) -> None:
    """Read what EventBridge's schedule sends; the function does not look at it."""
    assert event["source"] == "aws.events"


def decode_checks(event: Any) -> None:
    """Read every message of a batch."""
    assert event["Records"]
    for record in event["Records"]:
        read_queued(record["body"])


def decode_ecr(event: Any) -> None:
    """Read what ECR sends, as it lies in the checks queue."""
    received = read_queued(json.dumps(event))
    assert isinstance(received, AwsEvent)
    assert not isinstance(read_ecr_event(received, AccountRegion("123456789012", "eu-west-1")), IgnoredEvent)


def decode_pull(event: Any) -> None:
    """Read what CloudTrail says of a pull."""
    assert isinstance(read_pull(json.dumps(event)), Pull)


def decode_pulls(event: Any) -> None:
    """Read every message of a batch."""
    assert event["Records"]
    for record in event["Records"]:
        decode_pull(json.loads(record["body"]))


def decode_outcome(event: Any) -> None:
    """Read what Pullahead itself says of a mirror; that it does say so, is tested with the code that does."""
    assert event["source"] == "pullahead"
    msgspec.convert(event["detail"], OutcomeDetail)


def decode_refresh(event: Any) -> None:
    """Read a refresh and the manifest that it names."""
    request = RefreshRequest.from_event(event)
    assert request.source.digest == request.root.digest


DECODERS: dict[str, Callable[[Any], object]] = {
    "schedule_checks": decode_tick,
    "review_records": decode_tick,
    "prune_tags": decode_tick,
    "check_freshness": decode_checks,
    "ecr": decode_ecr,
    "inspector": decode_ecr,
    "outcome": decode_outcome,
    "cloudtrail": decode_pull,
    "notice_pulls": decode_pulls,
    "plan_copy": decode_refresh,
    "create_repository": decode_refresh,
    "copy_blobs": UnitRequest.from_event,
    "verify_image": VerifyRequest.from_event,
    "publish_image": PublishRequest.from_event,
    "record_outcome": OutcomeRequest.from_event,
    "show_mirrors": read_request,
    "receive_webhook": read_webhook_request,
}
"""How each function reads its event."""

SERVICES = frozenset({"cloudtrail", "ecr", "inspector", "outcome"})
"""Of these there are samples of what they send, as it is before a queue has it."""

INVALID_SAMPLES = frozenset({"check_freshness.poison.json"})


def event_findings(names: Iterator[str], functions: set[str]) -> Iterator[str]:
    """Find functions without a sample, and samples of no function."""
    sampled = set()
    for name in names:
        function, _, case = name.removesuffix(".json").partition(".")
        sampled.add(function)
        if not case or function not in functions | SERVICES:
            yield f"events/{name}: is not named FUNCTION.CASE.json for a function of the template"
    for function in sorted(functions - sampled):
        yield f"{function}: has no sample event"


def test_every_function_has_a_sample_event() -> None:
    functions = {directory_of(name) for name in real_template().resources(FUNCTION)}
    assert list(event_findings((path.name for path in EVENTS), functions)) == []
    assert functions == set(DECODERS) - SERVICES


def test_missing_or_misnamed_sample_is_found() -> None:
    found = list(event_findings(iter(["a.x.json", "b.json", "d.x.json"]), {"a", "b", "c"}))
    assert len(found) == 3


@pytest.mark.parametrize("path", [p for p in EVENTS if p.name not in INVALID_SAMPLES], ids=lambda path: path.name)
def test_sample_event_is_understood(path: Path) -> None:
    DECODERS[path.name.partition(".")[0]](json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", sorted(INVALID_SAMPLES))
def test_invalid_event_is_refused(name: str) -> None:
    event = json.loads((ROOT / "events" / name).read_text(encoding="utf-8"))
    with pytest.raises(InvalidEventError):
        DECODERS[name.partition(".")[0]](event)


@pytest.mark.parametrize(
    "function", ["plan_copy", "create_repository", "copy_blobs", "publish_image", "record_outcome"]
)
def test_event_with_an_unknown_field_is_refused(function: str) -> None:
    path = next(path for path in EVENTS if path.name.startswith(f"{function}."))
    event = json.loads(path.read_text(encoding="utf-8")) | {"surprise": True}
    with pytest.raises(InvalidEventError, match="surprise"):
        DECODERS[function](event)


def test_state_machine_sends_what_record_outcome_understands() -> None:
    payloads = [
        state.value["Parameters"]["Payload"]
        for state in states(read_definition(real_template()))
        if state.value.get("Parameters", {}).get("FunctionName") == OUTCOME_TOKEN
    ]
    assert len(payloads) >= 2
    for payload in payloads:
        fields = {name.removesuffix(".$") for name in payload}
        assert {"request", "execution", "started_at"} <= fields <= set(OutcomeRequest.__struct_fields__)
        assert len(fields & {"published", "error"}) == 1
