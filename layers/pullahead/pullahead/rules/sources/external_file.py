"""The rules file in S3 or SSM. Decides which version is in force.

An invalid new version, or a file that cannot be read, never replaces the last valid version; it is recorded, and an
alert is sent by the review.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from msgspec import structs

from pullahead.errors import ConfigError, PullaheadError, StorageError
from pullahead.rules.model import Rules
from pullahead.rules.ports import RulesFile
from pullahead.rules.problems import RulesError
from pullahead.rules.sources.state import BrokenRules, FollowedText, followed_text
from pullahead.rules.text import RulesText

LoadFiles = Callable[[Sequence[RulesText]], Rules]
"""Reads files as one. Raises: RulesError."""

_MAX_DETAIL_CHARACTERS = 2_000


class ExternalRules(NamedTuple):
    """The state of the file, and the rules in force."""

    text: FollowedText
    rules: Rules


def read_external_rules(before: FollowedText, source: RulesFile, now: datetime, load: LoadFiles) -> ExternalRules:
    """Read the file if it changed.

    Raises RulesError, and what reading raises, where there is no valid version yet.
    """
    valid = before.valid_files(f"the last valid version of {source.address}")
    try:
        read = source.read(before.seen if valid else None)
    except (ConfigError, StorageError) as error:
        return _keep(before, valid, before.seen, error, now, load)
    if read is None:
        readable_again = before.broken is not None and before.broken.unreadable
        text = structs.replace(before, broken=None) if readable_again else before
        return ExternalRules(text, load(valid))
    try:
        rules = load(read.files)
    except RulesError as error:
        return _keep(before, valid, read.revision, error, now, load)
    return ExternalRules(followed_text(read.files, read.revision), rules)


def _keep(
    before: FollowedText,
    valid: tuple[RulesText, ...],
    revision: str | None,
    error: PullaheadError,
    now: datetime,
    load: LoadFiles,
) -> ExternalRules:
    if not valid:
        raise error
    is_new = revision != before.seen
    if before.broken is not None and not is_new:
        return ExternalRules(before, load(valid))
    since = before.broken.since if before.broken is not None else now
    broken = BrokenRules(since, str(error)[:_MAX_DETAIL_CHARACTERS], unreadable=not is_new)
    return ExternalRules(structs.replace(before, seen=revision, broken=broken), load(valid))
