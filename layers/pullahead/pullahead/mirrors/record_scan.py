"""The full scan of all records: how far it is, what it found, and when the next one is due. Pure data.

A scan runs in segments, each within one review. It retires what no rule follows, and checks the index of reviews.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pullahead.clock import Moment

SCAN_INTERVAL: Final = timedelta(days=1)
_AGAIN_AFTER: Final = timedelta(hours=1)
_LONGEST: Final = timedelta(days=1)


class RecordScan(msgspec.Struct, frozen=True):
    """One scan of all records, finished or not."""

    began_at: Moment
    rules_digest: str = ""  # of the rules by which it retires; empty where it retires nothing, or no longer does
    position: str = ""  # the last record that was read
    ended_at: Moment | None = None
    records: int = 0  # of those that some rule may follow
    fresh: int = 0
    deleted: int = 0
    followed: int = 0  # records that a rule follows
    unfollowed: int = 0  # mirrors that no rule follows, and that are kept, as no record that is followed was found yet
    deferred: int = 0  # the same, of all records
    again: int = 0  # records that could not be written, or were too new to be judged
    newer: int = 0  # records that only a newer version of Pullahead can read
    repaired: int = 0  # records that were not in the index as they should be

    @property
    def matches_nothing(self) -> bool:
        """Whether the rules follow no record, though there are mirrors. Not known if some could not be read."""
        return bool(self.unfollowed) and not self.followed and not self.newer


class ScanState(msgspec.Struct, frozen=True):
    """What is stored of scans: the one that is under way, and the last one that ended."""

    current: RecordScan | None = None
    last: RecordScan | None = None

    def is_due(self, rules_digest: str, now: datetime) -> bool:
        """Whether a segment is to be read now: a scan is under way, or a new one should begin.

        `rules_digest`: of the rules by which records may be retired now; empty where there are none.
        """
        last = self.last
        if self.current is not None or last is None or now - last.began_at >= SCAN_INTERVAL:
            return True
        if not rules_digest:
            return False
        is_news = rules_digest != last.rules_digest or last.deferred > 0
        return is_news or (last.again > 0 and now - last.began_at >= _AGAIN_AFTER)

    def next_segment(self, rules_digest: str, now: datetime) -> RecordScan:
        """Return the scan to go on with, or begin one. A scan whose rules have changed retires nothing more."""
        if self.current is None:
            return RecordScan(now, rules_digest)
        if self.current.rules_digest == rules_digest:
            return self.current
        return msgspec.structs.replace(self.current, rules_digest="")

    def found_followed(self, rules_digest: str) -> bool:
        """Whether the last scan by these rules found records that they follow."""
        return self.last is not None and self.last.rules_digest == rules_digest and self.last.followed > 0

    def is_overdue(self, now: datetime) -> bool:
        """Whether the scan under way, or its beginning, takes longer than it may: reviews have too little time."""
        if self.current is not None:
            return now - self.current.began_at >= _LONGEST
        return self.last is not None and now - self.last.began_at >= SCAN_INTERVAL + _LONGEST
