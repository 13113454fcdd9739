"""The rules file in S3 or SSM. Decides which version is in force.

An invalid new version, or a file that cannot be read, never replaces the last valid version; it is recorded, and an
alert is sent by the review.
"""

from datetime import datetime
from typing import NamedTuple

from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Rules
from pullahead.rules.ports import RulesFile
from pullahead.rules.sources.state import BrokenRules, FollowedText
from pullahead.rules.yaml_document import RulesError

_MAX_DETAIL_CHARACTERS = 2_000


class ExternalRules(NamedTuple):
    """The state of the file, and the rules in force."""

    text: FollowedText
    rules: Rules


def read_external_rules(before: FollowedText, source: RulesFile, now: datetime) -> ExternalRules:
    """Read the file if it changed.

    Raises RulesError, and what reading raises, where there is no valid version yet.
    """
    try:
        read = source.read(before.seen)
    except (ConfigError, StorageError) as error:
        return _keep(before, before.seen, error, source, now)
    if read is None:
        readable_again = before.broken is not None and before.broken.unreadable
        text = FollowedText(before.good, before.seen) if readable_again else before
        return ExternalRules(text, _last_valid(before, source))
    try:
        rules = load_rules(read.text, source=source.address)
    except RulesError as error:
        return _keep(before, read.revision, error, source, now)
    return ExternalRules(FollowedText(read.text, read.revision), rules)


def _keep(
    before: FollowedText, revision: str | None, error: PullaheadError, source: RulesFile, now: datetime
) -> ExternalRules:
    if before.good is None:
        raise error
    is_new = revision != before.seen
    if before.broken is not None and not is_new:
        return ExternalRules(before, _last_valid(before, source))
    since = before.broken.since if before.broken is not None else now
    broken = BrokenRules(since, str(error)[:_MAX_DETAIL_CHARACTERS], unreadable=not is_new)
    return ExternalRules(FollowedText(before.good, revision, broken), _last_valid(before, source))


def _last_valid(text: FollowedText, source: RulesFile) -> Rules:
    return load_rules(text.good or "", source=f"the last valid version of {source.address}")
