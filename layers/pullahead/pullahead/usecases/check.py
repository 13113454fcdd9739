"""Check mirrors: look at both sides, judge, remember transitions, start refreshes, tell people.

A tag that was fresh and is fresh costs one HEAD upstream and a share of one question to ECR; nothing is written.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.errors import AccessDeniedError, ConflictError, PullaheadError
from pullahead.freshness.alerts import Alert
from pullahead.freshness.judge import Observation, judge
from pullahead.freshness.outcome import failures_in_a_row
from pullahead.freshness.records import Record, RefreshFailure, State
from pullahead.messages import CheckRequest, RefreshRequest
from pullahead.oci import Descriptor, Digest
from pullahead.ports import (
    Clock,
    FindsPublished,
    HeadsManifests,
    PublishesAlerts,
    Records,
    Started,
    StartsRefreshes,
)
from pullahead.rules.model import Mirror, Rules
from pullahead.usecases.remember import added_alerts, deliver_pending

_THREADS = 8
_RETRY_AFTER_ABORT = timedelta(minutes=5)
_MAX_TRIES = 5


class CheckResult(NamedTuple):
    """What one check concluded. `changed`: it was a transition, or started a refresh; else there is nothing to tell.

    `error` is set where Pullahead itself failed and the check must be repeated.
    """

    mirror: str
    state: State | None
    reason: str
    started: Started | None = None
    changed: bool = False
    error: PullaheadError | None = None


class CheckMirrors:
    """The use case, with the ports that it looks through and acts on."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        upstream: HeadsManifests,
        target: FindsPublished,
        records: Records,
        refreshes: StartsRefreshes,
        alerts: PublishesAlerts,
        clock: Clock,
    ) -> None:
        self._rules, self._upstream, self._target = rules, upstream, target
        self._records, self._refreshes, self._alerts, self._clock = records, refreshes, alerts, clock

    def __call__(self, request: CheckRequest) -> list[CheckResult]:
        """Check the tags of one request; tags that no rule names are passed over.

        Raises what ECR and the records raise when asked for the whole batch: nothing was then done.
        """
        rules = self._rules()
        mirrors = [mirror for tag in request.tags if (mirror := rules.find(request.repository, tag)) is not None]
        if not mirrors:
            return []
        known = self._records.load([mirror.key for mirror in mirrors])
        mirrors = [mirror for mirror in mirrors if not _is_our_own_push(request, known.get(mirror.key))]
        if not mirrors:
            return []
        seen = self._look(mirrors, self._published(request.repository, [mirror.tag for mirror in mirrors]))
        return [self._conclude(mirror, observed, known.get(mirror.key)) for mirror, observed in seen]

    def _published(self, repository: str, tags: list[str]) -> Callable[[str], Digest | AccessDeniedError | None]:
        try:
            return self._target.published_digests(repository, tags).get
        except AccessDeniedError as error:
            refusal = error  # a human must act: said once for each mirror, rather than by messages that come back
            return lambda _tag: refusal

    def _look(
        self, mirrors: list[Mirror], published: Callable[[str], Digest | AccessDeniedError | None]
    ) -> Iterable[tuple[Mirror, Observation]]:
        with ThreadPoolExecutor(min(_THREADS, len(mirrors))) as pool:
            heads = list(pool.map(self._head, mirrors))
        return [(mirror, Observation(head, published(mirror.tag))) for mirror, head in zip(mirrors, heads, strict=True)]

    def _head(self, mirror: Mirror) -> Descriptor | PullaheadError:
        try:
            return self._upstream.head_manifest(mirror.upstream)
        except PullaheadError as error:
            return error

    def _conclude(self, mirror: Mirror, seen: Observation, known: Record | None) -> CheckResult:
        try:
            for _ in range(_MAX_TRIES):
                try:
                    return self._act(mirror, seen, known)
                except ConflictError:  # what was seen may be older than what is written there now: look again
                    known = self._records.load([mirror.key]).get(mirror.key)
                    ((_, seen),) = self._look([mirror], self._published(mirror.repository, [mirror.tag]))
            raise ConflictError(f"the record of {mirror.key} was changed by others {_MAX_TRIES} times in a row")
        except PullaheadError as error:
            return CheckResult(mirror.key, None, str(error), error=error)

    def _act(self, mirror: Mirror, seen: Observation, known: Record | None) -> CheckResult:
        verdict = judge(seen, known, mirror, self._clock())
        record, added = verdict.record, added_alerts(known, verdict.record)
        if not record.says_the_same_as(known):
            record = self._records.save(record, known.version if known is not None else 0)
        record, untold = self._tell(record, added)
        started = self._refresh(mirror, seen.upstream, record) if verdict.refresh else None
        if untold is not None:
            raise untold
        changed = known is None or record.version != known.version or started is Started.STARTED
        return CheckResult(mirror.key, record.state, verdict.reason, started, changed)

    def _tell(self, record: Record, added: tuple[Alert, ...]) -> tuple[Record, PullaheadError | None]:
        """Deliver alerts; an error is handed back, so that a broken topic stops no refresh."""
        try:
            return deliver_pending(record, added, self._records, self._alerts, self._clock()), None
        except PullaheadError as error:
            return record, error

    def _refresh(self, mirror: Mirror, root: Descriptor | PullaheadError, record: Record) -> Started | None:
        if isinstance(root, PullaheadError):
            return None
        started = self._refreshes.start(refresh_request(mirror, root, record))
        if started in (Started.ENDED, Started.SUCCEEDED):
            # It was stopped before it could record how it ended, or its success did not last. Where it has recorded
            # something only just now, this write meets a conflict, and the mirror is looked at again.
            self._records.save(_after_abort(record, root.digest, self._clock()), record.version)
        return started


def refresh_request(mirror: Mirror, root: Descriptor, record: Record) -> RefreshRequest:
    """Make the request whose execution runs once for this mirror, digest and episode."""
    return RefreshRequest(
        name=execution_name(mirror.key, root.digest, record.episode),
        repository=mirror.repository,
        tag=mirror.tag,
        upstream=str(mirror.upstream),
        root=root,
        episode=record.episode,
        stale_since=record.unfresh_since or record.since,
    )


def execution_name(key: str, digest: Digest, episode: int) -> str:
    """Derive an execution's name, at most 80 characters (Step Functions API reference, StartExecution, name)."""
    readable = re.sub(r"[^A-Za-z0-9-]+", "-", key).strip("-")[:40]
    identity = hashlib.sha256(f"{key}\n{digest}\n{episode}".encode()).hexdigest()[:24]
    return f"{readable}-{episode}-{identity}"[-80:]


def _is_our_own_push(request: CheckRequest, known: Record | None) -> bool:
    return (
        request.reason == "push"
        and known is not None
        and known.state is State.FRESH
        # A slow refresh may put, and record, what upstream has left behind: that is to be made right at once.
        and known.published_digest == known.upstream_digest == request.digest
        and not known.pending
    )


def _after_abort(record: Record, digest: Digest, now: datetime) -> Record:
    count = failures_in_a_row(record, digest) + 1
    text = "the refresh ended without a lasting outcome; see the executions of the refresh state machine"
    failure = RefreshFailure(digest, "RefreshAborted", text, False, count, now + _RETRY_AFTER_ABORT)
    return record.with_changes(failure=failure, episode=record.episode + 1)
