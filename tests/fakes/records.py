"""Records of mirrors of the rule `app`."""

from datetime import datetime
from typing import Any

from pullahead.mirrors.record import MirrorRecord, RuleRecord, State
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from tests.fakes.samples import UPSTREAM


def fresh(key: MirrorKey | str, since: datetime, **more: Any) -> MirrorRecord:
    """Make the record of a mirror that is fresh."""
    return MirrorRecord(_key(key), UPSTREAM, State.FRESH, since, version=1, **more)


def unfresh(key: MirrorKey | str, state: State, since: datetime, **more: Any) -> MirrorRecord:
    """Make the record of a mirror that is not fresh since a moment."""
    return MirrorRecord(_key(key), UPSTREAM, state, since, since, version=1, **more)


def listing_record(key: RuleKey, since: datetime, **more: Any) -> RuleRecord:
    """Make the record of a rule whose listing works."""
    return RuleRecord(key, UPSTREAM, State.FRESH, since, version=1, **more)


def _key(key: MirrorKey | str) -> MirrorKey:
    return MirrorKey.parse(key) if isinstance(key, str) else key
