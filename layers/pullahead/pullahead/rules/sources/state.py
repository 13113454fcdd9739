"""What the functions share about the rules: the schedule writes it, the others read it. Pure data.

Every function puts its rules together from this and from the file in its layer, so that a deployment of edited rules
is in force at once, and AWS is asked by one function only.
"""

from datetime import datetime

import msgspec

from pullahead.rules.sources.findings import Findings

VERSION = 1


class BrokenRules(msgspec.Struct, frozen=True):
    """Since when, and why, the rules file that people keep elsewhere cannot be used."""

    since: datetime
    detail: str
    unreadable: bool = False  # it was not even read: it may be the good one still


class FollowedText(msgspec.Struct, frozen=True):
    """The rules file that is kept elsewhere: its last good version, and how the newest one stands."""

    good: str | None = None
    seen: str | None = None  # the newest revision that was read, good or not
    broken: BrokenRules | None = None


class RulesState(msgspec.Struct, frozen=True):
    """Everything that functions share about the rules. `told` are the problems that were told already."""

    version: int = VERSION
    text: FollowedText = FollowedText()
    findings: Findings = Findings()
    told: tuple[str, ...] = ()


def encode_rules_state(standing: RulesState) -> bytes:
    """Write it as JSON."""
    return msgspec.json.encode(standing)


def decode_rules_state(content: bytes) -> RulesState | None:
    """Read it; None where another version of Pullahead wrote what this one cannot read."""
    try:
        standing = msgspec.json.decode(content, type=RulesState)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return standing if standing.version == VERSION else None
