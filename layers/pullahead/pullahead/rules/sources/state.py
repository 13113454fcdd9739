"""The state of the rules that functions share: the schedule stores it, the others read it. Pure data.

Every function combines it with the file in its own layer, so that deployed rules are in force at once, and only one
function calls AWS.
"""

from datetime import datetime

import msgspec

from pullahead.rules.sources.findings import Findings

VERSION = 1


class BrokenRules(msgspec.Struct, frozen=True):
    """Since when, and why, the external rules file cannot be used."""

    since: datetime
    detail: str
    unreadable: bool = False  # it could not be read, so it may be valid


class FollowedText(msgspec.Struct, frozen=True):
    """The external rules file: its last valid version, and what is wrong with the newest one."""

    good: str | None = None
    seen: str | None = None  # the newest revision that was read, valid or not
    broken: BrokenRules | None = None


class RulesState(msgspec.Struct, frozen=True):
    """What functions share about the rules. `notices` were already reported."""

    version: int = VERSION
    text: FollowedText = FollowedText()
    findings: Findings = Findings()
    notices: tuple[str, ...] = msgspec.field(default=(), name="told")


def encode_rules_state(state: RulesState) -> bytes:
    """Encode as JSON."""
    return msgspec.json.encode(state)


def decode_rules_state(content: bytes) -> RulesState | None:
    """Decode; None where another version of Pullahead stored what this one cannot read."""
    try:
        state = msgspec.json.decode(content, type=RulesState)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return state if state.version == VERSION else None
