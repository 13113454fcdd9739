"""How often a mirror may be refreshed to yet another digest: a tag that moves at every check must not cost without end.

By mirror, and not by digest: an upstream may answer with another digest each time it is asked. A tag that moves now and
then is never held up: after a burst, refreshes to other digests start one an hour. It is the generic cell rate
algorithm, which remembers one moment. Pure.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pullahead.oci import Digest

BURST: Final = 24
INTERVAL: Final = timedelta(hours=1)


class RefreshPace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last digest that a refresh was wanted for, and when a whole burst may begin again."""

    digest: Digest
    full_at: datetime


def paced_until(pace: RefreshPace | None, digest: Digest | None, now: datetime) -> datetime | None:
    """Return until when a refresh to a digest is put off; None if it may start."""
    if pace is None or pace.digest == digest:
        return None
    allowed_at = pace.full_at - (BURST - 1) * INTERVAL
    return allowed_at if allowed_at > now else None


def after_start(pace: RefreshPace | None, digest: Digest, now: datetime) -> RefreshPace:
    """Count a refresh that starts; another try for the same digest counts no more."""
    if pace is not None and pace.digest == digest:
        return pace
    return RefreshPace(digest, (now if pace is None else max(pace.full_at, now)) + INTERVAL)
