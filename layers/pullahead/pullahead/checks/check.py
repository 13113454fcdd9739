"""Check mirrors: look at both sides, judge, remember transitions, start refreshes. Tells nobody: the review does.

A tag that was fresh and is fresh costs one HEAD upstream and a share of one question to ECR; nothing is written.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

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

StartRefresh = Callable[[RefreshRequest], StartResult]
"""Starts a refresh, or queues it. Raises: StorageError."""

_THREADS = 8
_MAX_TRIES = 5


class CheckResult(NamedTuple):
    """What one check concluded. `changed`: it was a transition, or started a refresh; else there is nothing to tell.

    `deferred`: a limit of upstream's leaves it, or its refresh, to the next check. `error` is set where Pullahead
    itself failed and the check must be repeated.
    """

    mirror: MirrorKey
    state: State | None
    reason: str
    started: StartResult | None = None
    changed: bool = False
    error: PullaheadError | None = None
    deferred: bool = False


def nothing_known(_registry: str) -> RemainingQuota | None:
    """Say nothing of any registry's limit."""
    return None


class CheckMirrors:
    """The use case, with the ports that it looks through and acts on."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        upstream: Upstream,
        published_digests: PublishedDigests,
        records: RecordStore,
        start_refresh: StartRefresh,
        announcer: OutboxSender,
        clock: Clock,
        quota: QuotaOf = nothing_known,
        select: MirrorSelector | None = None,
    ) -> None:
        self._rules, self._upstream, self._published_digests = rules, upstream, published_digests
        self._records, self._start_refresh, self._announcer, self._clock = records, start_refresh, announcer, clock
        self._quota = quota
        self._select = select or MirrorSelector(records)

    def __call__(self, request: CheckRequest) -> list[CheckResult]:
        """Check the tags of one request; tags that no rule names are passed over.

        Raises what ECR and the records raise when asked for the whole batch: nothing was then done.
        """
        rules = self._rules()
        mirrors, known = self._select(request, rules)
        if not mirrors:
            return []
        published = self._published(request.repository, [mirror.tag for mirror in mirrors])
        may_settle = mirrors if request.reason != "manual" else []
        settled = [m for m in may_settle if needs_no_upstream_check(m, known.get(m.key), published(m.tag))]
        asked = [mirror for mirror in mirrors if mirror not in settled]
        seen = dict(self._look(request_order(asked, known, request.asked_at), published))
        allowance = Allowance(self._quota)
        results = [
            *(CheckResult(mirror.key, State.FRESH, "immutable, and ECR serves it") for mirror in settled),
            *(
                self._conclude(mirror, seen[mirror], known.get(mirror.key), allowance)
                for mirror in oldest_first(asked, known)
            ),
        ]
        self._announcer.flush()
        return results

    def _published(self, repository: str, tags: list[str]) -> Callable[[str], Digest | AccessDeniedError | None]:
        try:
            return self._published_digests(repository, tags).get
        except AccessDeniedError as error:
            refusal = error  # a human must act: said once for each mirror, rather than by messages that come back
            return lambda _tag: refusal

    def _look(
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
        self, mirror: Mirror, seen: Observation, known: MirrorRecord | None, allowance: Allowance
    ) -> CheckResult:
        try:
            for _ in range(_MAX_TRIES):
                try:
                    return self._act(mirror, seen, known, allowance)
                except ConflictError:  # what was seen may be older than what is written there now: look again
                    known = self._records.load([mirror.key]).get(mirror.key)
                    ((_, seen),) = self._look([mirror], self._published(mirror.repository, [mirror.tag]))
            raise ConflictError(f"the record of {mirror.key} was changed by others {_MAX_TRIES} times in a row")
        except PullaheadError as error:
            return CheckResult(mirror.key, None, str(error), error=error)

    def _act(self, mirror: Mirror, seen: Observation, known: MirrorRecord | None, allowance: Allowance) -> CheckResult:
        if mirror.guessed and known is None and not isinstance(seen.upstream, Descriptor):
            return CheckResult(mirror.key, None, f"not followed: {seen.upstream}")  # nobody's: no record, no alert
        if upstream_not_asked(seen):
            return self._pass_over(mirror, str(seen.upstream), known)
        verdict = judge(seen, known, mirror, self._clock())
        record = self._remember(mirror, verdict.record, known)
        started, shortage = None, None
        if verdict.refresh and isinstance(seen.upstream, Descriptor):
            started, shortage = self._refresh(mirror, seen.upstream, record, allowance)
        changed = known is None or record.version != known.version or started is StartResult.STARTED
        reason = _reason(verdict.reason, started, shortage)
        return CheckResult(mirror.key, record.state, reason, started, changed, deferred=shortage is not None)

    def _pass_over(self, mirror: Mirror, cause: str, known: MirrorRecord | None) -> CheckResult:
        """Leave a mirror as it stands, since upstream was not asked; an alert may have become due all the same."""
        if known is None:
            return CheckResult(mirror.key, None, deferred_because(cause), deferred=True)
        record = self._remember(mirror, with_alerts(known, known, mirror.alert_after, self._clock()), known)
        return CheckResult(
            mirror.key, record.state, deferred_because(cause), changed=record.version != known.version, deferred=True
        )

    def _remember(self, mirror: Mirror, record: MirrorRecord, known: MirrorRecord | None) -> MirrorRecord:
        record = with_outcome_events(known, record, mirror.rule, self._clock())
        if not record.says_the_same_as(known):
            record = self._records.save(record, known.version if known is not None else 0)
        self._announcer.note(known, record)
        return record

    def _refresh(
        self, mirror: Mirror, root: Descriptor, record: MirrorRecord, allowance: Allowance
    ) -> tuple[StartResult | None, str | None]:
        """Start a refresh, unless it is to wait; why, is the second thing answered."""
        registry, manifests = mirror.upstream.repository.registry, manifests_to_read(root, record.platforms)
        if (shortage := allowance.shortage(registry, manifests)) is not None:
            return None, shortage
        started = self._start_refresh(refresh_request(mirror, root, record))
        if started in (StartResult.STARTED, StartResult.WAITING):
            allowance.promise(registry, manifests)
        if started in (StartResult.ENDED, StartResult.SUCCEEDED):
            # It was stopped before it could record how it ended, or its success did not last. Where it has recorded
            # something only just now, this write meets a conflict, and the mirror is looked at again.
            self._records.save(after_abort(record, root.digest, self._clock()), record.version)
        return started, None


def _reason(reason: str, started: StartResult | None, shortage: str | None) -> str:
    if shortage is not None:
        return deferred_because(shortage)
    return f"{reason}; waits until another refresh has ended" if started is StartResult.WAITING else reason
