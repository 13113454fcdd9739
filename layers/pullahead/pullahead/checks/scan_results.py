"""Note what ECR's scan found in what mirrors serve, and say so."""

from pullahead.clock import Clock
from pullahead.messages import ScanFinished
from pullahead.mirrors.outbox import OutboxSender, with_scan
from pullahead.mirrors.outcome_event import Scan
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules

_MOST_TAGS = 1000  # of one manifest (Amazon ECR service quotas, "Tags per image")
_MOST_SEVERITIES = 20
"""ECR has seven; what is kept of an event is bounded."""


def record_scan(
    finished: ScanFinished, rules: Rules, records: RecordStore, announcer: OutboxSender, clock: Clock
) -> tuple[MirrorKey, ...]:
    """Remember a scan of what mirrors serve, or are about to serve, and send its event; return these mirrors' keys.

    A scan of anything else is no mirror's business. An index is scanned child by child, and no child has a tag.
    Raises: StorageError, ConflictError.
    """
    found = [rules.find(finished.repository, tag) for tag in dict.fromkeys(finished.tags[:_MOST_TAGS])]
    mirrors = [mirror for mirror in found if mirror is not None]
    if not mirrors:
        return ()
    scan = Scan(finished.digest, dict(sorted(finished.counts.items())[:_MOST_SEVERITIES]), finished.at)
    known = records.load([mirror.key for mirror in mirrors])
    concerned = [mirror for mirror in mirrors if _is_of(scan, known.get(mirror.key))]
    for mirror in concerned:
        _note(scan, mirror, known[mirror.key], records, announcer, clock)
    announcer.flush()
    return tuple(mirror.key for mirror in concerned)


def _note(
    scan: Scan, mirror: Mirror, known: MirrorRecord, records: RecordStore, announcer: OutboxSender, clock: Clock
) -> None:
    before: MirrorRecord | None = known

    def change(record: MirrorRecord | None) -> MirrorRecord | None:
        nonlocal before
        before = record
        return with_scan(record, scan, mirror.rule, clock()) if record is not None and _is_of(scan, record) else None

    after = update_record(records, mirror.key, change, known)
    if after is not None:
        announcer.note(before, after)


def _is_of(scan: Scan, record: MirrorRecord | None) -> bool:
    """Whether a record is of a mirror that serves what was scanned, or will as soon as its refresh is recorded."""
    return record is not None and scan.digest in (record.published_digest, record.upstream_digest)
