"""What ECR tells enters the checks queue where it can mean something, as it is, and nothing else does."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from local.aws.patterns import matches
from tests.architecture.sam_template import listed, named, real_template, statements
from tests.architecture.source import ROOT

SAMPLES = {
    path.name: json.loads(path.read_text(encoding="utf-8"))
    for kind in ("ecr", "inspector")
    for path in (ROOT / "events").glob(f"{kind}.*.json")
}
IMAGE, CACHE, REPLICATION, SCAN = "EcrImageRule", "EcrCacheRule", "EcrReplicationRule", "EcrScanRule"
INSPECTOR_SCAN, INSPECTOR_FINDING = "InspectorScanRule", "InspectorFindingRule"
RULES = (IMAGE, CACHE, REPLICATION, SCAN, INSPECTOR_SCAN, INSPECTOR_FINDING)


def ecr_rules() -> dict[str, Any]:
    """The rules that are about ECR's own events."""
    rules = real_template().resources("AWS::Events::Rule")
    return {name: rule for name, rule in rules.items() if name in RULES}


def entering(event: Mapping[str, Any]) -> list[str]:
    """Name the rules that an event passes."""
    return [name for name, rule in ecr_rules().items() if matches(at_home(rule["EventPattern"]), event)]


def at_home(pattern: Mapping[str, Any]) -> dict[str, Any]:
    """Put the account and Region of the samples where a pattern refers to the stack's own."""
    home = SAMPLES["ecr.push.json"]
    own = {"account": {"Ref": "AWS::AccountId"}, "region": {"Ref": "AWS::Region"}}
    return {**pattern, **{name: [home[name]] for name, ref in own.items() if pattern.get(name) == [ref]}}


def changed(name: str, **detail: object) -> dict[str, Any]:
    """Change the detail of a sample; None takes a field away."""
    event = SAMPLES[f"ecr.{name}.json"]
    fields = {**event["detail"], **{key.replace("_", "-"): value for key, value in detail.items()}}
    return {**event, "detail": {key: value for key, value in fields.items() if value is not None}}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("ecr.push", IMAGE),
        ("ecr.delete", IMAGE),
        ("ecr.referrer", IMAGE),
        ("ecr.pull_through_cache.success", CACHE),
        ("ecr.pull_through_cache.failure", CACHE),
        ("ecr.replication", REPLICATION),
        ("ecr.image_scan", SCAN),
        ("inspector.scan", INSPECTOR_SCAN),
        ("inspector.finding", INSPECTOR_FINDING),
    ],
)
def test_every_sample_matches_one_rule(name: str, rule: str) -> None:
    assert entering(SAMPLES[f"{name}.json"]) == [rule]


def test_scan_of_an_untagged_image_matches_its_rule() -> None:
    assert entering(changed("image_scan", image_tags=[])) == [SCAN]


def inspected(name: str, **detail: object) -> dict[str, Any]:
    """Change the detail of a sample of Amazon Inspector."""
    event = SAMPLES[f"inspector.{name}.json"]
    return {**event, "detail": {**event["detail"], **{key.replace("_", "-"): value for key, value in detail.items()}}}


@pytest.mark.parametrize(
    "event",
    [
        changed("push", image_tag=None),
        changed("push", image_tag=""),
        changed("delete", image_tag=None),
        changed("referrer", image_tag=None),
        changed("push", result="FAILED"),
        changed("push", action_type="UPDATE_STORAGE_CLASS"),
        changed("push", action_type="REPLICATE"),
        changed("pull_through_cache.success", image_tag=None),
        changed("pull_through_cache.failure", image_tag=""),
        changed("image_scan", scan_status="FAILED"),
        inspected("scan", scan_status="ACTIVE"),
        inspected("finding", status="ACTIVE"),
        inspected("finding", resources=[{"type": "AWS_EC2_INSTANCE"}]),
        {**SAMPLES["inspector.finding.json"], "account": "210987654321"},
        {**SAMPLES["ecr.push.json"], "source": "my.own"},
        {**SAMPLES["ecr.push.json"], "account": "210987654321"},
        {**SAMPLES["ecr.push.json"], "region": "us-east-1"},
        {**SAMPLES["ecr.pull_through_cache.failure.json"], "account": "210987654321"},
        {**SAMPLES["ecr.image_scan.json"], "account": "210987654321"},
        {**SAMPLES["ecr.push.json"], "detail-type": "ECR Scan Resource Change"},
        {**SAMPLES["ecr.push.json"], "detail-type": "ECR Replication Action"},
        changed("replication", result="FAILED"),
        changed("replication", image_tag=None),
        {**SAMPLES["ecr.replication.json"], "region": "us-west-2"},
    ],
)
def test_irrelevant_event_matches_no_rule(event: dict[str, Any]) -> None:
    assert entering(event) == []


@pytest.mark.parametrize("name", RULES)
def test_event_reaches_the_queue_unchanged_or_the_dead_letter_queue(name: str) -> None:
    (target,) = ecr_rules()[name]["Targets"]
    assert target.keys() == {"Id", "Arn", "DeadLetterConfig"}
    assert named(target["Arn"]) == "ChecksQueue"
    assert named(target["DeadLetterConfig"]["Arn"]) == "ChecksDeadLetterQueue"


@pytest.mark.parametrize("queue", ["ChecksQueue", "ChecksDeadLetterQueue"])
def test_both_queues_accept_messages_of_these_rules(queue: str) -> None:
    (policy,) = [
        policy["PolicyDocument"]
        for policy in real_template().resources("AWS::SQS::QueuePolicy").values()
        if [named(each) for each in policy["Queues"]] == [queue]
    ]
    allowed = [statement for statement in statements(policy) if statement["Effect"] == "Allow"]
    senders = {
        named(source)
        for statement in allowed
        for source in listed(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
    }
    assert set(RULES) <= senders
