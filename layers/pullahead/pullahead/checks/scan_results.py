"""Record the findings of ECR's scans in the records of mirrors, and send their events."""

from pullahead.clock import Clock
from pullahead.messages import ScanFinished
from pullahead.mirrors.outbox import OutboxSender, with_scan
from pullahead.mirrors.outcome_event import Scan
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules

_MAX_TAGS = 1000  # of one manifest (Amazon ECR service quotas, "Tags per image")
_MAX_SEVERITIES = 20
"""ECR has seven; what is stored of an event is bounded."""


def record_scan(
    finished: ScanFinished, rules: Rules, records: RecordStore, outbox_sender: OutboxSender, clock: Clock
) -> tuple[MirrorKey, ...]:
    """Record a scan of what mirrors serve, or will serve next, and send its events; return these mirrors' keys.

    Scans of anything else are ignored. An index is scanned child by child, and no child has a tag.
    Raises: StorageError, ConflictError.
    """
    candidates = [rules.find(finished.repository, tag) for tag in dict.fromkeys(finished.tags[:_MAX_TAGS])]
    mirrors = [mirror for mirror in candidates if mirror is not None]
    if not mirrors:
        return ()
    scan = Scan(finished.digest, dict(sorted(finished.counts.items())[:_MAX_SEVERITIES]), finished.at)
    known = records.load([mirror.key for mirror in mirrors])
    scanned = [mirror for mirror in mirrors if _is_of(scan, known.get(mirror.key))]
    for mirror in scanned:
        _record(scan, mirror, known[mirror.key], records, outbox_sender, clock)
    outbox_sender.flush()
    return tuple(mirror.key for mirror in scanned)


def _record(
    scan: Scan, mirror: Mirror, known: MirrorRecord, records: RecordStore, outbox_sender: OutboxSender, clock: Clock
) -> None:
    before: MirrorRecord | None = known

    def change(record: MirrorRecord | None) -> MirrorRecord | None:
        nonlocal before
        before = record
        return with_scan(record, scan, mirror.rule, clock()) if record is not None and _is_of(scan, record) else None

    after = update_record(records, mirror.key, change, known)
    if after is not None:
        outbox_sender.note(before, after)


def _is_of(scan: Scan, record: MirrorRecord | None) -> bool:
    """Whether a mirror serves what was scanned, or will as soon as its refresh is recorded."""
    return record is not None and scan.digest in (record.published_digest, record.upstream_digest)
