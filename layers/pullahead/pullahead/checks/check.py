"""Check mirrors: compare upstream with ECR, judge, record transitions, start refreshes. Alerts are sent by the review.

A fresh tag that stays fresh costs one HEAD upstream and a share of one request to ECR; nothing is written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from pullahead.checks.looks import looks_due
from pullahead.checks.select import MirrorSelector
from pullahead.clock import Clock
from pullahead.errors import AccessDeniedError, ConflictError, PullaheadError
from pullahead.messages import CheckRequest, RefreshRequest
from pullahead.mirrors.judge import Observation, judge, needs_no_upstream_check, upstream_not_asked, with_alerts
from pullahead.mirrors.outbox import OutboxSender, with_outcome_events
from pullahead.mirrors.rate_limit_budget import (
    Allowance,
    QuotaOf,
    RemainingQuota,
    deferred_because,
    manifests_to_read,
    oldest_first,
    request_order,
)
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.mirrors.refresh_outcome import after_abort
from pullahead.mirrors.store import RecordStore
from pullahead.oci import Descriptor, Digest
from pullahead.oci.registries import PublishedDigests, Upstream
from pullahead.refresh.ports import StartResult
from pullahead.refresh.request import refresh_request
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules

QueueLooks = Callable[[Sequence[CheckRequest]], None]
"""Queues looks for late referrers. Raises: StorageError."""

StartRefresh = Callable[[RefreshRequest], StartResult]
"""Starts a refresh, or queues it. Raises: StorageError."""

_THREADS = 8
_MAX_ATTEMPTS = 5


class CheckResult(NamedTuple):
    """The result of checking one mirror. `changed`: there was a transition, or a refresh was started.

    `deferred`: a rate limit defers the check or its refresh to the next check. `error` is set where Pullahead itself
    failed and the check must be retried.
    """

    mirror: MirrorKey
    state: State | None
    reason: str
    started: StartResult | None = None
    changed: bool = False
    error: PullaheadError | None = None
    deferred: bool = False


def unknown_quota(_registry: str) -> RemainingQuota | None:
    """Know of no registry's limit."""
    return None


def no_looks(_requests: Sequence[CheckRequest]) -> None:
    """Queue no looks for late referrers."""


class CheckMirrors:
    """Checks the mirrors of requests."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        upstream: Upstream,
        published_digests: PublishedDigests,
        records: RecordStore,
        start_refresh: StartRefresh,
        outbox_sender: OutboxSender,
        clock: Clock,
        quota: QuotaOf = unknown_quota,
        select: MirrorSelector | None = None,
        *,
        queue_looks: QueueLooks = no_looks,
    ) -> None:
        self._rules, self._upstream, self._published_digests = rules, upstream, published_digests
        self._records, self._start_refresh, self._outbox_sender, self._clock = (
            records,
            start_refresh,
            outbox_sender,
            clock,
        )
        self._quota, self._queue_looks = quota, queue_looks
        self._select = select or MirrorSelector(records)

    def __call__(self, request: CheckRequest) -> list[CheckResult]:
        """Check the tags of one request; tags that no rule follows are skipped.

        Raises what ECR and the store raise for the whole batch: then nothing was done.
        """
        rules = self._rules()
        mirrors, known = self._select(request, rules)
        if not mirrors:
            return []
        published = self._published(request.repository, [mirror.tag for mirror in mirrors])
        skippable = mirrors if request.reason != "manual" else []
        unchanged = [m for m in skippable if needs_no_upstream_check(m, known.get(m.key), published(m.tag))]
        checked = [mirror for mirror in mirrors if mirror not in unchanged]
        observations = dict(self._observe(request_order(checked, known, request.asked_at), published))
        allowance = Allowance(self._quota)
        results = [
            *(CheckResult(mirror.key, State.FRESH, "immutable, and ECR serves it") for mirror in unchanged),
            *(
                self._conclude(mirror, observations[mirror], known.get(mirror.key), allowance)
                for mirror in oldest_first(checked, known)
            ),
        ]
        self._outbox_sender.flush()
        return [*results, *self._queue_looks_for(request, mirrors, known, results)]

    def _queue_looks_for(
        self,
        request: CheckRequest,
        mirrors: list[Mirror],
        known: Mapping[MirrorKey, MirrorRecord],
        results: list[CheckResult],
    ) -> list[CheckResult]:
        """Queue a look for late referrers of the mirrors that are fresh as before, and for which it is time."""
        fresh = {each.mirror for each in results if each.state is State.FRESH}
        due = looks_due(request, [m for m in mirrors if m.key in fresh], known, self._clock())
        try:
            if due:
                self._queue_looks(due)
        except PullaheadError as error:
            return [CheckResult(mirrors[0].key, None, str(error), error=error)]
        return []

    def _published(self, repository: str, tags: list[str]) -> Callable[[str], Digest | AccessDeniedError | None]:
        try:
            return self._published_digests(repository, tags).get
        except AccessDeniedError as error:
            refusal = error  # a human must act: recorded once for each mirror, rather than retried
            return lambda _tag: refusal

    def _observe(
        self, mirrors: list[Mirror], published: Callable[[str], Digest | AccessDeniedError | None]
    ) -> Iterable[tuple[Mirror, Observation]]:
        with ThreadPoolExecutor(min(_THREADS, len(mirrors) or 1)) as pool:
            heads = list(pool.map(self._head, mirrors))
        return [(mirror, Observation(head, published(mirror.tag))) for mirror, head in zip(mirrors, heads, strict=True)]

    def _head(self, mirror: Mirror) -> Descriptor | PullaheadError:
        try:
            return self._upstream.head_manifest(mirror.upstream)
        except PullaheadError as error:
            return error

    def _conclude(
        self, mirror: Mirror, observed: Observation, known: MirrorRecord | None, allowance: Allowance
    ) -> CheckResult:
        try:
            for _ in range(_MAX_ATTEMPTS):
                try:
                    return self._act(mirror, observed, known, allowance)
                except ConflictError:  # the observation may be older than what was written there: observe again
                    known = self._records.load([mirror.key]).get(mirror.key)
                    ((_, observed),) = self._observe([mirror], self._published(mirror.repository, [mirror.tag]))
            raise ConflictError(f"the record of {mirror.key} was changed by others {_MAX_ATTEMPTS} times in a row")
        except PullaheadError as error:
            return CheckResult(mirror.key, None, str(error), error=error)

    def _act(
        self, mirror: Mirror, observed: Observation, known: MirrorRecord | None, allowance: Allowance
    ) -> CheckResult:
        if mirror.guessed and known is None and not isinstance(observed.upstream, Descriptor):
            return CheckResult(mirror.key, None, f"not followed: {observed.upstream}")  # no record, no alert
        if upstream_not_asked(observed):
            return self._defer(mirror, str(observed.upstream), known)
        verdict = judge(observed, known, mirror, self._clock())
        record = self._save(mirror, verdict.record, known)
        started, shortage = None, None
        if verdict.refresh and isinstance(observed.upstream, Descriptor):
            started, shortage = self._refresh(mirror, observed.upstream, record, allowance)
        changed = known is None or record.version != known.version or started is StartResult.STARTED
        reason = _reason(verdict.reason, started, shortage)
        return CheckResult(mirror.key, record.state, reason, started, changed, deferred=shortage is not None)

    def _defer(self, mirror: Mirror, cause: str, known: MirrorRecord | None) -> CheckResult:
        """Leave a mirror as it is, since no request was sent to upstream; an alert may be due all the same."""
        if known is None:
            return CheckResult(mirror.key, None, deferred_because(cause), deferred=True)
        record = self._save(mirror, with_alerts(known, known, mirror.alert_after, self._clock()), known)
        return CheckResult(
            mirror.key, record.state, deferred_because(cause), changed=record.version != known.version, deferred=True
        )

    def _save(self, mirror: Mirror, record: MirrorRecord, known: MirrorRecord | None) -> MirrorRecord:
        record = with_outcome_events(known, record, mirror.rule, self._clock())
        if not record.says_the_same_as(known):
            record = self._records.save(record, known.version if known is not None else 0)
        self._outbox_sender.note(known, record)
        return record

    def _refresh(
        self, mirror: Mirror, root: Descriptor, record: MirrorRecord, allowance: Allowance
    ) -> tuple[StartResult | None, str | None]:
        """Start a refresh; or return why it must wait, as the second value."""
        registry, manifests = mirror.upstream.repository.registry, manifests_to_read(root, record.platforms)
        if (shortage := allowance.shortage(registry, manifests)) is not None:
            return None, shortage
        started = self._start_refresh(refresh_request(mirror, root, record))
        if started in (StartResult.STARTED, StartResult.WAITING):
            allowance.promise(registry, manifests)
        if started in (StartResult.ENDED, StartResult.SUCCEEDED):
            # It was stopped before it recorded its outcome, or its success did not last. If it has recorded its outcome
            # just now, this write meets a conflict, and the mirror is observed again.
            self._records.save(after_abort(record, root.digest, self._clock()), record.version)
        return started, None


def _reason(reason: str, started: StartResult | None, shortage: str | None) -> str:
    if shortage is not None:
        return deferred_because(shortage)
    return f"{reason}; the refresh waits for a slot" if started is StartResult.WAITING else reason
