"""What EventBridge's input fields make of an event."""

import json
from typing import Any

import pytest

from local.aws.target_input import RuleName, TargetInputError, input_for

RULE = RuleName("pushes", "arn:aws:events:eu-west-1:123456789012:rule/pushes")
EVENT = {
    "version": "0",
    "detail-type": "ECR Image Action",
    "resources": ["arn:one"],
    "detail": {"repository-name": "mirror/app", "quote": 'say "hi"', "size": 5, "layers": [{"n": 1}, {"n": 2}]},
}
PATHS = {
    "repository": "$.detail.repository-name",
    "quote": "$.detail.quote",
    "size": "$.detail.size",
    "layers": "$.detail.layers",
    "second": "$.detail.layers[1].n",
    "absent": "$.detail.image-tag",
    "kind": "$.detail-type",
}


def _input(**target: Any) -> str:
    return input_for(target, EVENT, RULE, "2026-01-31T12:00:00Z")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"repository": "<repository>"}', {"repository": "mirror/app"}),
        ('{"repository": <repository>}', {"repository": "mirror/app"}),
        ('{"text": "<repository> has <size>"}', {"text": "mirror/app has 5"}),
        ('{"size": <size>, "as text": "<size>"}', {"size": 5, "as text": "5"}),
        ('{"layers": <layers>, "second": <second>}', {"layers": [{"n": 1}, {"n": 2}], "second": 2}),
        ('{"quote": <quote>, "within": "<quote>"}', {"quote": 'say "hi"', "within": 'say "hi"'}),
        ('{"escaped": "a \\"<repository>\\" b"}', {"escaped": 'a "mirror/app" b'}),
        ('{"absent": <absent>, "within": "<absent>"}', {"absent": None, "within": ""}),
        ('{"tags": ["<repository>", <size>]}', {"tags": ["mirror/app", 5]}),
        ('"<repository> is <kind>"', "mirror/app is ECR Image Action"),
        ("<repository> is <kind>", "mirror/app is ECR Image Action"),
        ("<layers>", [{"n": 1}, {"n": 2}]),
        ('{"rule": <aws.events.rule-name>}', {"rule": "pushes"}),
        ('{"at": "<aws.events.event.ingestion-time>"}', {"at": "2026-01-31T12:00:00Z"}),
        ('{"event": <aws.events.event.json>}', {"event": EVENT}),
        (
            '{"event": <aws.events.event>}',
            {"event": {name: value for name, value in EVENT.items() if name != "detail"}},
        ),
    ],
)
def test_template(template: str, expected: Any) -> None:
    made = _input(InputTransformer={"InputPathsMap": PATHS, "InputTemplate": template})

    assert json.loads(made) == expected


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ('{"a": <unknown>}', "nothing defines <unknown>"),
        ('{"a": "<repository>"', "makes no JSON"),
        ("x" * 8193, "at most 8192"),
    ],
)
def test_template_that_eventbridge_would_refuse(template: str, complaint: str) -> None:
    with pytest.raises(TargetInputError, match=complaint):
        _input(InputTransformer={"InputPathsMap": PATHS, "InputTemplate": template})


@pytest.mark.parametrize("path", ["detail", "$..layers", "$.detail.layers[*]", "$.detail[?(@.n)]"])
def test_unsupported_path_is_refused(path: str) -> None:
    with pytest.raises(TargetInputError):
        _input(InputPath=path)


def test_constant_is_passed_on_untouched() -> None:
    assert _input(Input='{"a":  1}') == '{"a":  1}'


def test_path_takes_a_part() -> None:
    assert json.loads(_input(InputPath="$.detail.layers[0]")) == {"n": 1}
    assert json.loads(_input(InputPath="$")) == EVENT


def test_event_is_complete_without_input_settings() -> None:
    assert json.loads(_input()) == EVENT
