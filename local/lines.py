"""One line of text for each thing that happens in the local AWS: a log entry, an alert, an outcome event."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from local.aws.pool import Invocation
from pullahead.oci import Digest, short
from pullahead.text import one_line, public_text, size_text

MAX_CHARACTERS: Final = 400
_FUNCTION: Final = re.compile(r"-(\w+)Function-\w+$")
# What Powertools adds to each entry (Powertools for AWS Lambda, "Logger"), and what follows from the line itself.
_NOT_SHOWN: Final = frozenset(
    {
        *("level", "location", "message", "timestamp", "service", "cold_start", "xray_trace_id"),
        *("function_name", "function_memory_size", "function_arn", "function_request_id"),
        *("stack_trace", "exception", "exception_name"),
    }
)
_SHOWN_LEVELS: Final = frozenset({"WARNING", "ERROR", "CRITICAL"})


def function_name(physical_name: str) -> str:
    """Name a function as its folder is named; one that is no function of Pullahead's keeps its name."""
    found = _FUNCTION.search(physical_name)
    return re.sub(r"(?<!^)(?=[A-Z])", "_", found[1]).lower() if found else physical_name


def invocation_lines(invocation: Invocation) -> Iterator[str]:
    """Write the log entries of an invocation, and how it ended unless that was well; no metrics, and no stacks."""
    name = function_name(invocation.function)
    for line in invocation.logs.splitlines():
        is_of_a_stack = line[:1].isspace() or line.startswith("Traceback (")  # the runtime writes no-break spaces
        if not is_of_a_stack and (text := _entry_text(line)):
            yield _line(name, text)
    if invocation.outcome != "Succeeded":
        yield _line(name, f"FAILED with {invocation.outcome} after {invocation.duration_seconds:.1f} s")


def alert_line(subject: str) -> str:
    """Write an alert."""
    return _line("ALERT", subject)


def event_line(entry: Mapping[str, Any]) -> str:
    """Write an event that was put on the bus, as an entry of PutEvents."""
    kind = str(entry.get("DetailType") or entry.get("Source"))
    try:
        detail = json.loads(entry.get("Detail") or "")
    except ValueError:
        return _line("EVENT", kind)
    return _line("EVENT", f"{kind}: {_outcome_text(detail)}" if isinstance(detail, dict) else kind)


def rules_line(text: str) -> str:
    """Write what became of a change of the rules."""
    return _line("RULES", text)


def _line(what: str, text: str) -> str:
    return f"{what:<16} {one_line(public_text(text), MAX_CHARACTERS)}"


def _entry_text(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return line.strip()
    if not isinstance(entry, dict):
        return line
    if "_aws" in entry:  # metrics (CloudWatch User Guide, "Embedded metric format specification")
        return ""
    level = str(entry.get("level", ""))
    fields = [f"{name}={_value_text(value)}" for name, value in entry.items() if _is_shown(name, value)]
    cause = str(entry.get("exception", "")).strip().rpartition("\n")[2]
    shown = (f"{level}:" if level in _SHOWN_LEVELS else "", str(entry.get("message", "")), *fields, cause)
    return " ".join(text for text in shown if text)


def _is_shown(name: str, value: Any) -> bool:
    return name not in _NOT_SHOWN and value is not False and value not in (None, "", [], {})


def _value_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value_text, value))
    return value if isinstance(value, str) else json.dumps(value)


def _outcome_text(detail: Mapping[str, Any]) -> str:
    facts = [str(detail.get("reason", ""))]
    if isinstance(digest := detail.get("digest"), str):
        facts.append(f"ECR serves {short(Digest(digest))}")
    if isinstance(count := detail.get("bytes-copied"), int):
        facts.append(f"{size_text(count)} copied")
    if isinstance(seconds := detail.get("lag-seconds"), int | float):
        facts.append(f"{seconds:.1f} s after it became stale")
    return f"{detail.get('mirror', '')}: {', '.join(filter(None, facts))}"
