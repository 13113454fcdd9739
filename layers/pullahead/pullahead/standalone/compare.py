"""Compare every tag that the rules name with what the target serves, in one process. Writes nothing.

The schedule, the listings and the checks are the service's own; its queue, table and state machine are in memory. What
the service has in its records, and this cannot, is read from upstream: the digest of selected platforms.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from pullahead.checks.check import CheckMirrors, CheckPorts, CheckResult
from pullahead.checks.listing import ListTags
from pullahead.checks.schedule import schedule_checks
from pullahead.checks.select import mirrors_named_by
from pullahead.checks.upstream_pool import Threads, UpstreamPool
from pullahead.errors import NotFoundError, PullaheadError
from pullahead.messages import CheckRequest, ListRequest, RefreshRequest
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.record import WAITING, Published, State
from pullahead.mirrors.refresh_outcome import BLOCKING_ERRORS
from pullahead.oci import Descriptor, Digest
from pullahead.oci.media_types import INDEXES, OCI_MANIFEST
from pullahead.oci.platforms import select_platforms
from pullahead.oci.registries import PublishedDigests, Upstream
from pullahead.rules.model import Mirror, Rules, rule_named
from pullahead.standalone.in_memory import InMemoryQueue, InMemoryRecords, InMemoryRefreshes, NullEventBus

_LISTINGS_AT_ONCE = 8
_REPOSITORIES_AT_ONCE = 8
_INDEXES_AT_ONCE = 4
_NOT_REMEMBERED = "its rule has `admit`, which takes the memory of a deployed stack; the target keeps what it has"
_ROUNDS_OF_LISTINGS = 2  # a namespace's repositories, and the tags of each


class TagStatus(NamedTuple):
    """The state of one tag. `refresh` is set where it has to be copied."""

    mirror: Mirror
    state: State
    reason: str
    upstream_digest: Digest | None = None
    published_digest: Digest | None = None
    refresh: RefreshRequest | None = None


class ListingFailure(NamedTuple):
    """A listing from which a rule could not select its tags, and why."""

    rule: str
    upstream: str
    reason: str


class ComparisonResult(NamedTuple):
    """The states of all tags, and the listings that failed."""

    tags: tuple[TagStatus, ...]
    unlisted: tuple[ListingFailure, ...]


ReportProgress = Callable[[int, int], None]
"""Called with the number of tags that were compared, and the number of all tags."""


class RulesComparison:
    """Compares all mirrors of the rules, at one moment."""

    def __init__(
        self,
        rules: Rules,
        upstream: Upstream,
        published_digests: PublishedDigests,
        now: datetime,
        report: ReportProgress,
        *,
        asks_immutable: bool = False,
    ) -> None:
        """`asks_immutable`: ask upstream also for immutable tags that the target has."""
        self._asks_immutable = asks_immutable
        self._demanding, rules = rules, rules.without_signatures()  # these are looked at when a tag is copied
        self._rules, self._upstream, self._now, self._report = rules, upstream, now, report
        self._records, self._queue, self._refreshes = InMemoryRecords(), InMemoryQueue(), InMemoryRefreshes()
        self._published = _PublishedDigests(published_digests)
        announcer = OutboxSender(self._records, NullEventBus(), lambda: now)
        ports = CheckPorts(
            upstream, self._published.digests, self._records, self._refreshes.start, announcer, lambda: now
        )
        self._check_mirrors = CheckMirrors(lambda: rules, ports)
        self._listers: dict[str, ListTags] = {}

    def __call__(self) -> ComparisonResult:
        """List and compare. A failure is part of the result of its rule or tag, and does not stop the others."""
        schedule_checks(self._rules, self._records, self._queue, self._now)
        unlisted = [failed for _ in range(_ROUNDS_OF_LISTINGS) for failed in self._list()]
        checks = _each_tag_once(self._queue.checks)
        wanted: dict[str, list[str]] = {}
        for check in checks:
            wanted.setdefault(check.repository, []).extend(check.tags)
        self._published.ask(wanted)
        return ComparisonResult(
            tuple(self._compare(checks, sum(len(tags) for tags in wanted.values()))), tuple(unlisted)
        )

    def _list(self) -> list[ListingFailure]:
        """List what was requested; the listings of one upstream repository one after another, so that they share it."""
        grouped: dict[str, list[ListRequest]] = {}
        for request in self._queue.take_listings():
            grouped.setdefault(self._listed(request), []).append(request)
        for upstream in grouped.keys() - self._listers.keys():
            self._listers[upstream] = self._lister()
        with ThreadPoolExecutor(_LISTINGS_AT_ONCE) as pool:
            failed = pool.map(lambda item: self._list_for(*item), grouped.items())
            return [each for group in failed for each in group]

    def _listed(self, request: ListRequest) -> str:
        rule = rule_named(request.rule, self._rules)
        return request.upstream or (str(rule.upstream) if rule is not None else "")

    def _lister(self) -> ListTags:
        return ListTags(lambda: self._rules, self._upstream, self._records, self._queue, lambda: self._now)

    def _list_for(self, upstream: str, requests: list[ListRequest]) -> list[ListingFailure]:
        results = [(request.rule, self._listers[upstream](request)) for request in requests]
        return [
            ListingFailure(rule, upstream, result.reason)
            for rule, result in results
            if result is not None and result.state is not State.FRESH
        ]

    def _compare(self, checks: list[CheckRequest], count: int) -> list[TagStatus]:
        """Check everything as one batch, so that each registry is asked on as few connections as a batch uses."""
        progress = _Progress(self._report, count)
        mirrors = [mirrors_named_by(request, self._rules) for request in checks]
        for some in mirrors:
            progress.add(self._accept_immutable(some))
        pool = UpstreamPool(lambda: self._now, asking=_ReportingThreads(progress))
        compared: list[TagStatus] = []
        for some, checked in zip(mirrors, self._check_mirrors.check(checks, pool), strict=True):
            if checked.error is None:
                results = {result.mirror: result for result in checked.results}
                compared += [self._compared(mirror, results[mirror.key]) for mirror in some]
            elif isinstance(checked.error, PullaheadError):
                compared += [TagStatus(mirror, State.UNKNOWN, str(checked.error)) for mirror in some]
            else:
                raise checked.error
        with ThreadPoolExecutor(_INDEXES_AT_ONCE) as threads:
            by_platforms = threads.map(self._by_platforms, (each for each in compared if _has_platforms(each)))
            judged = {status.mirror.key: status for status in by_platforms}
        return [judged.get(status.mirror.key, status) for status in compared]

    def _accept_immutable(self, mirrors: list[Mirror]) -> int:
        """Take the immutable tags that the target has as fresh: upstream is not asked for them. Return how many."""
        accepted = 0
        for mirror in mirrors:
            digest = self._published.of(mirror) if mirror.immutable and not self._asks_immutable else None
            if digest is not None and mirror.pin in (None, digest):
                observed = Observation(Descriptor(OCI_MANIFEST, digest, 0), digest)
                self._records.save(judge(observed, None, mirror, self._now).record, 0)
                accepted += 1
        return accepted

    def _compared(self, mirror: Mirror, result: CheckResult) -> TagStatus:
        record = self._records.load([mirror.key]).get(mirror.key)
        reason = _NOT_REMEMBERED if result.state in WAITING else result.reason
        demanding = self._demanding.find(mirror.repository, mirror.tag)
        is_verified = demanding is not None and demanding.admit is not None and demanding.admit.verify is not None
        if is_verified and self._refreshes.of(mirror.key) is not None:
            reason = f"{reason}; it is copied if its signatures are what its rule demands"
        return TagStatus(
            mirror,
            result.state or State.UNKNOWN,
            reason,
            record.upstream_digest if record is not None else None,
            record.published_digest if record is not None else None,
            self._refreshes.of(mirror.key),
        )

    def _by_platforms(self, compared: TagStatus) -> TagStatus:
        """Judge a mirror of selected platforms again: its digest is not upstream's, and follows from the index."""
        request, record = compared.refresh, self._records.load([compared.mirror.key]).get(compared.mirror.key)
        if request is None or record is None:
            return compared
        try:
            index = self._upstream.get_manifest(request.source)
            selected = select_platforms(index, request.platforms, str(request.source))
        except PullaheadError as error:
            state = State.BLOCKED if type(error).__name__ in BLOCKING_ERRORS else State.UNKNOWN
            return compared._replace(state=state, reason=str(error), refresh=None)
        digest = selected.digest if isinstance(selected, Descriptor) else selected.descriptor.digest
        current = record.with_changes(filtered=Published(request.root.digest, request.platforms, digest))
        verdict = judge(Observation(request.root, compared.published_digest), current, compared.mirror, self._now)
        refresh = request if verdict.refresh else None
        return compared._replace(state=verdict.record.state, reason=verdict.reason, refresh=refresh)


class _PublishedDigests:
    """Asks the target once for all tags of a repository: in batches, each missing tag would cost a listing."""

    def __init__(self, published_digests: PublishedDigests) -> None:
        self._published_digests = published_digests
        self._answers: dict[str, Future[Mapping[str, Digest] | PullaheadError]] = {}

    def ask(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Begin to ask the target for tags, by repository: it answers while upstream does."""
        pool = ThreadPoolExecutor(_REPOSITORIES_AT_ONCE)
        self._answers = {repository: pool.submit(self._ask, repository, tags) for repository, tags in wanted.items()}
        pool.shutdown(wait=False)

    def digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Return the digests that the target answers. Raises what it raised."""
        answer = self._answers[repository].result()
        if isinstance(answer, PullaheadError):
            raise answer
        return {tag: answer[tag] for tag in tags if tag in answer}

    def of(self, mirror: Mirror) -> Digest | None:
        """Return the digest of a mirror's tag."""
        answer = self._answers[mirror.repository].result()
        return None if isinstance(answer, PullaheadError) else answer.get(mirror.tag)

    def _ask(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest] | PullaheadError:
        try:
            return self._published_digests(repository, tags)
        except NotFoundError:
            return {}
        except PullaheadError as error:
            return error


class _Progress:
    def __init__(self, report: ReportProgress, count: int) -> None:
        self._report, self._count, self._done = report, count, 0

    def add(self, done: int) -> None:
        self._done += done
        self._report(self._done, self._count)


class _ReportingThreads(Threads):
    """Asks in threads, and counts the answers."""

    def __init__(self, progress: _Progress) -> None:
        super().__init__()
        self._progress = progress

    def answer(self, seconds: float) -> tuple[int, Any] | None:
        """Take an answer, and report it."""
        answer = super().answer(seconds)
        self._progress.add(0 if answer is None else 1)
        return answer


def _has_platforms(status: TagStatus) -> bool:
    """Whether a stale tag has to be judged by the platforms that are selected of an index."""
    request = status.refresh
    is_selected = request is not None and bool(request.platforms) and request.root.media_type in INDEXES
    return is_selected and status.published_digest is not None


def _each_tag_once(checks: Iterable[CheckRequest]) -> list[CheckRequest]:
    """Leave out tags that another check has already: two rules may select one tag."""
    taken: set[tuple[str, str]] = set()
    unique = []
    for check in sorted(checks, key=lambda check: check.repository):  # listings end in any order
        tags = tuple(tag for tag in check.tags if (check.repository, tag) not in taken)
        taken.update((check.repository, tag) for tag in tags)
        if tags:
            unique.append(msgspec.structs.replace(check, tags=tags))
    return unique
