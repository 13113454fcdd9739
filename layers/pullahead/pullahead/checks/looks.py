"""Which checks lead to a look for late referrers. Pure: the times follow from the mirror's own times of checks."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import structs

from pullahead.checks.timetable import last_checks, spread_of
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.referrers import is_look_due, is_retry_due
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror

MAX_LOOKS = 10
"""Mirrors of one message: an image of many platforms takes hundreds of requests."""


def looks_due(
    request: CheckRequest, fresh: Sequence[Mirror], known: Mapping[MirrorKey, MirrorRecord], now: datetime
) -> list[CheckRequest]:
    """Make the requests for the looks that are due with a check, of the mirrors that it found fresh."""
    due = [mirror for mirror in fresh if mirror.referrers.copies_any and _is_due(request, mirror, known, now)]
    tags = [mirror.tag for mirror in due]
    return [
        structs.replace(request, reason="referrers", tags=tuple(tags[start : start + MAX_LOOKS]), digest=None)
        for start in range(0, len(tags), MAX_LOOKS)
    ]


def _is_due(request: CheckRequest, mirror: Mirror, known: Mapping[MirrorKey, MirrorRecord], now: datetime) -> bool:
    """Whether to look now: at the mirror's own times, when somebody asks for a check, and to retry what failed."""
    record = known.get(mirror.key)
    if record is None:
        return False  # it was found fresh just now, for the first time
    referrers = record.referrers
    if request.reason == "manual" or is_retry_due(referrers, now):
        return True
    if request.reason != "schedule":
        return False
    if referrers is not None and referrers.digest != record.upstream_digest:
        return True  # somebody else, such as a pull through cache, has brought the digest
    return is_look_due(referrers, mirror.referrers, last_checks(mirror, request.asked_at), spread_of(mirror))
