"""Follow the rules file that people keep in S3 or SSM. Decides which version is in force, and when that is told.

A new version that is broken, or a file that cannot be read, never takes the last good version away.
"""

from datetime import datetime
from typing import NamedTuple

from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.freshness.alerts import Alert, AlertKind
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules
from pullahead.rules.problems import RulesError
from pullahead.rules.sources.ports import ReadsRulesText
from pullahead.rules.sources.standing import Broken, FollowedText

_MAX_DETAIL_CHARACTERS = 2_000


class Followed(NamedTuple):
    """How the file stands now, the rules in force, and what people are to be told."""

    text: FollowedText
    rules: Rules
    alert: Alert | None = None


def follow_text(before: FollowedText, source: ReadsRulesText, now: datetime) -> Followed:
    """Read the file if it changed.

    Raises what reading it raises, and RulesError, where there is no good version to stay with.
    """
    try:
        read = source.read(before.seen)
    except (ConfigError, StorageError) as error:
        return _stay(before, before.seen, error, source, now)
    if read is None:
        mended = before.broken is not None and before.broken.unreadable
        text = FollowedText(before.good, before.seen) if mended else before
        return Followed(text, _good(before, source), _recovered(before, source, now) if mended else None)
    try:
        rules = load_rules(read.text, source=source.address)
    except RulesError as error:
        return _stay(before, read.revision, error, source, now)
    return Followed(FollowedText(read.text, read.revision), rules, _recovered(before, source, now))


def _stay(
    before: FollowedText, revision: str | None, error: PullaheadError, source: ReadsRulesText, now: datetime
) -> Followed:
    if before.good is None:
        raise error
    is_new = revision != before.seen
    if before.broken is not None and not is_new:
        return Followed(before, _good(before, source))
    since = before.broken.since if before.broken is not None else now
    broken = Broken(since, str(error)[:_MAX_DETAIL_CHARACTERS], unreadable=not is_new)
    alert = _alert(AlertKind.RULES_BROKEN, broken, source, now)
    return Followed(FollowedText(before.good, revision, broken), _good(before, source), alert)


def _good(text: FollowedText, source: ReadsRulesText) -> Rules:
    return load_rules(text.good or "", source=f"the last good version of {source.address}")


def _recovered(before: FollowedText, source: ReadsRulesText, now: datetime) -> Alert | None:
    return _alert(AlertKind.RECOVERED, before.broken, source, now) if before.broken is not None else None


def _alert(kind: AlertKind, broken: Broken, source: ReadsRulesText, now: datetime) -> Alert:
    detail = broken.detail if kind is AlertKind.RULES_BROKEN else ""
    return Alert(kind, f"rules {source.address}", source.address, broken.since, now, detail)
