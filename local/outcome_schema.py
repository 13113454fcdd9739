"""Writes the JSON Schema of Pullahead's events, out of the types that the code sends. What they mean, the types say.

`python -m local.outcome_schema > docs/outcome-event.schema.json`
"""

import json
import sys
from typing import Any, Final

import msgspec

from pullahead.aws.notifications import SOURCE
from pullahead.mirrors.outcome_event import OutcomeDetail, OutcomeKind

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_MOMENTS: Final = frozenset({"since"})
_DIGESTS: Final = frozenset({"digest", "previous-digest", "upstream-digest"})


def schema_text() -> str:
    """Write the schema of the whole event, as EventBridge hands it on."""
    (reference,), definitions = msgspec.json.schema_components([OutcomeDetail], ref_template="#/$defs/{name}")
    del definitions["OutcomeDetail"]["additionalProperties"]  # receivers must accept fields that are added
    _say_more(definitions["OutcomeDetail"]["properties"])
    schema = {
        "$schema": _DIALECT,
        "title": "Event of Pullahead",
        "description": "What became of a mirror, on EventBridge's default bus. See docs/outcome-events.md.",
        "type": "object",
        "properties": {
            "source": {"const": SOURCE},
            "detail-type": {"enum": [kind.value for kind in OutcomeKind]},
            "time": {"type": "string", "format": "date-time", "description": "When it became true."},
            "account": {"type": "string"},
            "region": {"type": "string"},
            "detail": reference,
        },
        "required": ["source", "detail-type", "time", "account", "region", "detail"],
        "$defs": definitions,
    }
    return f"{json.dumps(schema, indent=2)}\n"


def _say_more(properties: dict[str, Any]) -> None:
    """Say of texts what they hold; the types of the code have no word for it."""
    for name in _MOMENTS:
        properties[name]["format"] = "date-time"
    for name in _DIGESTS:
        properties[name]["pattern"] = "^sha(256:[0-9a-f]{64}|512:[0-9a-f]{128})$"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
