"""Records as mirrors of the rule `app` have them. Decides no expectation."""

from datetime import datetime
from typing import Any

from pullahead.mirrors.record import Record, State
from tests.fakes.samples import UPSTREAM


def fresh(key: str, since: datetime, **more: Any) -> Record:
    """Make the record of a mirror that is fresh."""
    return Record(key, UPSTREAM, State.FRESH, since, version=1, **more)


def unfresh(key: str, state: State, since: datetime, **more: Any) -> Record:
    """Make the record of a mirror that is not fresh since a moment."""
    return Record(key, UPSTREAM, state, since, since, version=1, **more)
