"""Scans of digests that wait: read them when it is time, and find the mirrors that wait for a scan that has ended."""

from collections.abc import Iterator, Mapping, MutableMapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.admission.scans import ImageScans, is_look_due, read_scans
from pullahead.admission.seen_digests import SeenDigest, after_scan
from pullahead.checks.put_back import LeftToSchedule
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ScanFinished, ScanVerdict
from pullahead.mirrors.record import MirrorRecord, RuleRecord
from pullahead.mirrors.rule_record import needs_listing, rule_key
from pullahead.mirrors.store import RecordStore
from pullahead.oci import Digest
from pullahead.rules.admission_policy import AdmissionPolicy
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules

MAX_READ: Final = 40
"""Digests whose scans one round of checks reads: some seconds. The others' mirrors are put back into the queue."""

_MAX_READ_OF_TAG: Final = 4
_CLOCKS_DIFFER: Final = timedelta(seconds=5)  # of who asked for a check, and of who has read a scan
_MAX_MIRRORS: Final = 2000
"""Mirrors of one repository that are looked at after an event; the scheduled checks look at the others."""


class ScanReads(NamedTuple):
    """A record with what scans say now, how many digests were read for that, and whether some are left."""

    record: MirrorRecord
    digests: int = 0
    is_left: bool = False


def read_due_scans(
    record: MirrorRecord, mirror: Mirror, scans: ImageScans, now: datetime, most: int, event_at: datetime | None = None
) -> ScanReads:
    """Read the scans of digests for which it is time, newest first; after an event, of each that is not clean and was
    not read since. Raises what the port raises.
    """
    policy, seen = mirror.admit, record.admission
    if policy is None or policy.scan is None or seen is None or mirror.pin is not None:
        return ScanReads(record)
    due = [each for each in reversed(seen.seen) if _is_due(each, policy, now, event_at)]
    taken = due[: min(most, _MAX_READ_OF_TAG)]
    for each in taken:
        if each.scan is not None:
            evidence = read_scans(mirror.repository, each.scan, policy.scan, scans, now)
            seen = after_scan(seen, each.digest, evidence)
    return ScanReads(record.with_changes(admission=seen), len(taken), len(due) > len(taken))


def _is_due(digest: SeenDigest, policy: AdmissionPolicy, now: datetime, event_at: datetime | None) -> bool:
    known = digest.scan
    is_open = known is not None and not digest.admitted and known.verdict is not ScanVerdict.CLEAN
    is_older = known is not None and event_at is not None and known.at <= event_at + _CLOCKS_DIFFER
    return (is_open and is_older) or is_look_due(digest, policy, now)


class MayWait(NamedTuple):
    """The records of the mirrors of a repository whose rules ask for scans, and of how many others none was read."""

    known: Mapping[MirrorKey, MirrorRecord]
    others: int


def checks_after_scan(
    finished: ScanFinished,
    rules: Rules,
    records: RecordStore,
    now: datetime,
    read: MutableMapping[str, MayWait] | None = None,
) -> Iterator[CheckRequest | LeftToSchedule]:
    """Ask for checks of the mirrors for which a digest waits that has the scanned image. Raises: StorageError.

    `read` is what was read for other events of a batch, by repository: all of them came before that.
    """
    read = {} if read is None else read
    if finished.repository not in read:
        mirrors = list(dict.fromkeys(mirror.key for mirror in _asking_mirrors(finished.repository, rules, records)))
        known = records.load(mirrors[:_MAX_MIRRORS], consistent=False) if mirrors else {}
        read[finished.repository] = MayWait(known, max(0, len(mirrors) - _MAX_MIRRORS))
    known, others = read[finished.repository]
    tags = [key.tag for key, record in known.items() if _waits_for(record, finished.digest)]
    for start in range(0, len(tags), MAX_TAGS_PER_CHECK):
        some = tuple(tags[start : start + MAX_TAGS_PER_CHECK])
        yield CheckRequest(reason="scan", repository=finished.repository, tags=some, asked_at=now)
    if others:
        why = f"more than {_MAX_MIRRORS:,} mirrors may wait for the scan of {finished.digest}"
        yield LeftToSchedule(finished.repository, others, why)


def _asking_mirrors(repository: str, rules: Rules, records: RecordStore) -> Iterator[Mirror]:
    """Find the mirrors of a repository whose rules ask for scans: the named and the selected ones."""
    asking = [
        rule
        for rule in rules.rules_of(repository)
        if rule.admit is not None and rule.admit.scan is not None and not rules.is_inactive(rule.name)
    ]
    selecting = [rule_key(rule) for rule in asking if needs_listing(rule)]
    listed = records.load_listings(selecting) if selecting else {}
    for rule in asking:
        yield from rule.named_mirrors
        record = listed.get(rule_key(rule))
        if isinstance(record, RuleRecord):
            yield from (rule.mirror(tag) for tag in record.followed)


def _waits_for(record: MirrorRecord, image: Digest) -> bool:
    seen = record.admission.seen if record.admission is not None else ()
    return any(not each.admitted and each.scan is not None and image in each.scan.images for each in seen)
