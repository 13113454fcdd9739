"""Decides what a target of a rule is given: the event, a part of it, a constant, or what a template makes of it. Pure.

EventBridge user guide, "Amazon EventBridge input transformation"; API reference, InputTransformer.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

MAX_TEMPLATE_CHARACTERS: Final = 8192
_PLACEHOLDER: Final = re.compile(r"<([A-Za-z0-9_.\-]+)>")
_STEP: Final = re.compile(r"\.([A-Za-z0-9_\-/]+)|\[(\d+)\]")


class TargetInputError(ValueError):
    """A target's input cannot be made of this event."""


class RuleName(NamedTuple):
    """What a template may say of the rule."""

    name: str
    arn: str


def input_for(target: Mapping[str, Any], event: Mapping[str, Any], rule: RuleName, received_at: str) -> str:
    """Return the text that the target receives.

    Raises:
        TargetInputError: a path or a template that EventBridge would refuse.
    """
    if target.get("Input") is not None:
        return str(target["Input"])
    if target.get("InputPath") is not None:
        return json.dumps(_at(target["InputPath"], event))
    transformer = target.get("InputTransformer")
    if transformer is None:
        return json.dumps(event)
    values = _reserved(event, rule, received_at)
    for name, path in (transformer.get("InputPathsMap") or {}).items():
        values[name] = _at(path, event)
    return _filled(transformer["InputTemplate"], values)


def _reserved(event: Mapping[str, Any], rule: RuleName, received_at: str) -> dict[str, Any]:
    return {
        "aws.events.rule-arn": rule.arn,
        "aws.events.rule-name": rule.name,
        "aws.events.event.ingestion-time": received_at,
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": dict(event),
    }


def _at(path: str, event: Mapping[str, Any]) -> Any:
    """Follow the part of JSONPath that EventBridge has; a path that leads nowhere gives None."""
    if not path.startswith("$"):
        raise TargetInputError(f"a path begins with $: {path!r}")
    node: Any = event
    position = 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise TargetInputError(f"the local EventBridge does not follow {path!r}: dots and array indices only")
        node = _child(node, step)
        position = step.end()
    return node


def _child(node: Any, step: re.Match[str]) -> Any:
    if step[1] is not None:
        return node.get(step[1]) if isinstance(node, Mapping) else None
    index = int(step[2])
    return node[index] if isinstance(node, list) and index < len(node) else None


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """Fill in the placeholders and make sure that what results is JSON."""
    if len(template) > MAX_TEMPLATE_CHARACTERS:
        raise TargetInputError(f"a template has at most {MAX_TEMPLATE_CHARACTERS} characters")
    alone = _PLACEHOLDER.fullmatch(template.strip())
    if alone is not None:
        return json.dumps(_value(alone, values))
    if not template.lstrip().startswith(("{", "[", '"')):
        sentence = _PLACEHOLDER.sub(lambda found: _as_text(_value(found, values)), template)
        return json.dumps(sentence)  # a sentence without quotes is delivered as one JSON string
    text = _filled_json(template, values)
    try:
        json.loads(text)
    except ValueError as error:
        raise TargetInputError(f"the template makes no JSON of this event: {error}") from error
    return text


def _filled_json(template: str, values: Mapping[str, Any]) -> str:
    text = ""
    position = 0
    for placeholder in _PLACEHOLDER.finditer(template):
        text += template[position : placeholder.start()]
        value = _value(placeholder, values)
        # Outside quotes a string brings its own, and a path that leads nowhere is null.
        text += json.dumps(_as_text(value))[1:-1] if _inside_quotes(text) else json.dumps(value)
        position = placeholder.end()
    return text + template[position:]


def _value(placeholder: re.Match[str], values: Mapping[str, Any]) -> Any:
    if placeholder[1] not in values:
        raise TargetInputError(f"nothing defines <{placeholder[1]}>")
    return values[placeholder[1]]


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _inside_quotes(text: str) -> bool:
    return len(re.findall(r'(?<!\\)(?:\\\\)*"', text)) % 2 == 1
