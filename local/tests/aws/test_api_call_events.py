"""EventBridge and CloudTrail: which rules are offered calls that only read, by the state of the rule."""

import json
from typing import Any

import pytest

from local.tests.aws.stack import WholeStack

ALL = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"


def offer(whole: WholeStack, state: str, name: str, kind: str = "AWS API Call via CloudTrail") -> int:
    """Make a rule for calls in a state, let one happen, and count what it was offered."""
    url = whole.stack.resources["Seen"]
    events = whole.aws.client("events")
    events.put_rule(Name="calls", State=state, EventPattern=json.dumps({"source": ["calls.of.this.test"]}))
    arn = f"arn:aws:sqs:eu-west-1:123456789012:{url.rsplit('/', 1)[1]}"
    events.put_targets(Rule="calls", Targets=[{"Id": "one", "Arn": arn}])
    event: dict[str, Any] = {"source": "calls.of.this.test", "detail-type": kind, "detail": {"eventName": name}}
    whole.aws.bus.publish(event)
    whole.aws.wait_idle(20)
    events.remove_targets(Rule="calls", Ids=["one"])
    events.delete_rule(Name="calls")
    return len(whole.taken("Seen"))


@pytest.mark.parametrize(
    ("state", "name", "offered"),
    [
        ("ENABLED", "PutImage", 1),
        ("ENABLED", "BatchGetImage", 1),
        ("ENABLED", "DescribeImages", 0),
        ("ENABLED", "GetDownloadUrlForLayer", 0),
        ("ENABLED", "ListImages", 0),
        (ALL, "DescribeImages", 1),
        (ALL, "BatchGetImage", 1),
        ("DISABLED", "BatchGetImage", 0),
    ],
)
def test_read_only_call_reaches_a_rule_for_all_calls(whole: WholeStack, state: str, name: str, offered: int) -> None:
    assert offer(whole, state, name) == offered


def test_other_events_match_without_a_read_only_filter(whole: WholeStack) -> None:
    assert offer(whole, "ENABLED", "DescribeImages", "something else") == 1
