"""Retire the records that no rule has a use for. Decides when rules are to be believed in that.

Only rules by which the schedule has sent its last checks are: not a file that is newer or older than theirs, and none
of which a broken version stands. Where nothing at all would stay, nothing is retired: more likely the rules went amiss.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple

from pullahead.errors import PullaheadError
from pullahead.freshness.listing import listing_key
from pullahead.freshness.records import Record
from pullahead.freshness.retirement import Leaving, is_listing, leaving, retired
from pullahead.ports import Heartbeat, Records
from pullahead.rules.model import Rules
from pullahead.rules.sources.standing import Standing
from pullahead.usecases.remember import update

MAX_RETIRED = 1000
"""Of one review; the others follow with the next ones."""

_THREADS = 16
_RESERVED_SECONDS = 20.0


class Retired(NamedTuple):
    """How many were retired, and what went wrong."""

    records: int = 0
    errors: tuple[PullaheadError, ...] = ()


def may_retire(rules: Rules, standing: Standing | None, heartbeat: Heartbeat | None) -> bool:
    """Whether rules are those that are in force, and whole."""
    return (
        standing is not None
        and standing.text.broken is None
        and heartbeat is not None
        and heartbeat.rules_digest == rules.digest
    )


def find_leaving(found: Iterable[Record], rules: Rules) -> Leaving:
    """Find the records to be retired."""
    return leaving(found, rules, listing_key)


def retire(leave: Leaving, records: Records, now: datetime, remaining_seconds: Callable[[], float]) -> Retired:
    """Let records be forgotten in time; the next check of a mirror that is named again takes it back."""
    named = [(record, not is_listing(record)) for record in leave.unnamed]
    named += [(record, False) for record in leave.unchosen]
    if not named or not leave.followed:
        return Retired()
    done = _each(named[:MAX_RETIRED], records, now, remaining_seconds)
    errors = tuple(each for each in done if isinstance(each, PullaheadError))
    return Retired(sum(each is True for each in done), errors=errors)


def _each(
    leave: Sequence[tuple[Record, bool]], records: Records, now: datetime, remaining_seconds: Callable[[], float]
) -> list[bool | PullaheadError]:
    def one(record: Record, told: bool) -> bool | PullaheadError:
        if remaining_seconds() < _RESERVED_SECONDS:
            return False
        try:
            after = update(records, record.key, lambda known: known and _retired(known, now, told), record)
        except PullaheadError as error:
            return error
        return after is not None and after.expires_at is not None

    with ThreadPoolExecutor(min(_THREADS, len(leave))) as pool:
        return list(pool.map(one, *zip(*leave, strict=True)))


def _retired(record: Record, now: datetime, told: bool) -> Record:
    return record if record.expires_at is not None else retired(record, now, told=told)
