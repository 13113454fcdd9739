"""Record that ECR's pull through cache could not fetch a tag, which Pullahead then copies: one alert, one recovery."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from pullahead.messages import CacheFailure, CheckRequest
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.rules.mirror_key import MirrorKey


class CacheFailed(NamedTuple):
    """A failure of the pull through cache, for the log."""

    repository: str
    tag: str
    code: str
    reason: str


def cache_failures_of(request: CheckRequest) -> list[CacheFailed]:
    """Return the failures of the cache that the event behind a check reports."""
    failure = request.cache_failure
    if failure is None:
        return []
    return [CacheFailed(request.repository, tag, failure.code, failure.reason) for tag in request.tags]


def record_cache_result(request: CheckRequest, keys: Iterable[MirrorKey], records: RecordStore, now: datetime) -> None:
    """Record for mirrors whether the cache could fetch them. Raises: StorageError, ConflictError."""

    def change(known: MirrorRecord | None) -> MirrorRecord | None:
        return None if known is None else with_cache_result(known, request.cache_failure, now)

    for key in keys:
        update_record(records, key, change)


def with_cache_result(known: MirrorRecord, failure: CacheFailure | None, now: datetime) -> MirrorRecord:
    """Record an attempt of the cache. Another failure with the same code changes nothing."""
    before = known.cache_failure
    if failure is None:
        recovered = Alert(AlertKind.RECOVERED, known.key, known.upstream, now, now, of=AlertKind.CACHE_FAILED)
        return known if before is None else known.with_changes(cache_failure=None, pending=(*known.pending, recovered))
    if before is not None and before.partition(":")[0] == failure.code:
        return known
    text = f"{failure.code}: {failure.reason}" if failure.reason else failure.code
    if before is not None:
        return known.with_changes(cache_failure=text)
    alert = Alert(AlertKind.CACHE_FAILED, known.key, known.upstream, now, now, text, failure.code)
    return known.with_changes(cache_failure=text, pending=(*known.pending, alert))
