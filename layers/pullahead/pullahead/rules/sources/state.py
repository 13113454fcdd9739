"""The state of the rules that functions share: the schedule stores it, the others read it. Pure data.

Every function combines it with the file in its own layer, so that deployed rules are in force at once, and only one
function calls AWS.
"""

from datetime import datetime

import msgspec

from pullahead.rules.sources.findings import Findings
from pullahead.rules.text import RulesText

VERSION = 1


class BrokenRules(msgspec.Struct, frozen=True):
    """Since when, and why, the external rules file cannot be used."""

    since: datetime
    detail: str
    unreadable: bool = False  # it could not be read, so it may be valid


class FollowedText(msgspec.Struct, frozen=True):
    """The external rules file: its last valid version, and what is wrong with the newest one.

    `files` is the last valid version of a folder of several files; then there is no `good`.
    """

    good: str | None = None
    seen: str | None = None  # the newest revision that was read, valid or not
    broken: BrokenRules | None = None
    files: tuple[RulesText, ...] = ()

    def valid_files(self, name: str) -> tuple[RulesText, ...]:
        """Return the files of the last valid version, of which a single one gets a name; none if there is none yet."""
        return self.files or (() if self.good is None else (RulesText(name, self.good),))


def followed_text(files: tuple[RulesText, ...], seen: str | None, broken: BrokenRules | None = None) -> FollowedText:
    """Remember files as the last valid version."""
    if len(files) == 1:
        return FollowedText(files[0].text, seen, broken)
    return FollowedText(None, seen, broken, files)


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
