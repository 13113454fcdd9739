"""Compare every tag that the rules name with what the target serves, in one process. Writes nothing.

The schedule, the listings and the checks are the service's own; its queue, table and state machine are in memory. What
the service has in its records, and this cannot, is read from upstream: the digest of selected platforms.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple

import msgspec

from pullahead.checks.check import CheckMirrors, CheckPorts, CheckResult
from pullahead.checks.listing import ListTags
from pullahead.checks.schedule import schedule_checks
from pullahead.checks.select import mirrors_named_by
from pullahead.errors import NotFoundError, PullaheadError
from pullahead.messages import CheckRequest, ListRequest, RefreshRequest
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.record import Published, State
from pullahead.mirrors.refresh_outcome import BLOCKING_ERRORS
from pullahead.oci import Descriptor, Digest
from pullahead.oci.media_types import INDEXES, OCI_MANIFEST
from pullahead.oci.platforms import select_platforms
from pullahead.oci.registries import PublishedDigests, Upstream
from pullahead.rules.model import Mirror, Rules, rule_named
from pullahead.standalone.in_memory import InMemoryQueue, InMemoryRecords, InMemoryRefreshes, NullEventBus

_LISTINGS_AT_ONCE = 8
_REPOSITORIES_AT_ONCE = 8
_CHECKS_AT_ONCE = 4  # each asks upstream on threads of its own
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
"""Called from several threads with the number of tags that were compared, and the number of all tags."""


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

    def _compare(self, checks: list[CheckRequest], count: int) -> Iterable[TagStatus]:
        progress = _Progress(self._report, count)

        def check(request: CheckRequest) -> list[TagStatus]:
            compared = self._check(request)
            progress.add(len(request.tags))
            return compared

        with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
            compared = [each for batch in pool.map(check, checks) for each in batch]
            return list(pool.map(self._by_platforms, compared))

    def _check(self, request: CheckRequest) -> list[TagStatus]:
        mirrors = mirrors_named_by(request, self._rules)
        try:
            self._accept_immutable(mirrors)
            results = {result.mirror: result for result in self._check_mirrors(request)}
        except PullaheadError as error:
            return [TagStatus(mirror, State.UNKNOWN, str(error)) for mirror in mirrors]
        return [self._compared(mirror, results[mirror.key]) for mirror in mirrors]

    def _accept_immutable(self, mirrors: list[Mirror]) -> None:
        """Take the immutable tags that the target has as fresh: upstream is not asked for them."""
        for mirror in mirrors:
            digest = self._published.of(mirror) if mirror.immutable and not self._asks_immutable else None
            if digest is not None and mirror.pin in (None, digest):
                observed = Observation(Descriptor(OCI_MANIFEST, digest, 0), digest)
                self._records.save(judge(observed, None, mirror, self._now).record, 0)

    def _compared(self, mirror: Mirror, result: CheckResult) -> TagStatus:
        record = self._records.load([mirror.key]).get(mirror.key)
        return TagStatus(
            mirror,
            result.state or State.UNKNOWN,
            result.reason,
            record.upstream_digest if record is not None else None,
            record.published_digest if record is not None else None,
            self._refreshes.of(mirror.key),
        )

    def _by_platforms(self, compared: TagStatus) -> TagStatus:
        """Judge a mirror of selected platforms again: its digest is not upstream's, and follows from the index."""
        request, record = compared.refresh, self._records.load([compared.mirror.key]).get(compared.mirror.key)
        if request is None or record is None or not request.platforms or compared.published_digest is None:
            return compared
        if request.root.media_type not in INDEXES:
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
        self._answers: dict[str, Mapping[str, Digest] | PullaheadError] = {}

    def ask(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Ask the target for tags, by repository."""
        with ThreadPoolExecutor(_REPOSITORIES_AT_ONCE) as pool:
            answers = pool.map(lambda item: self._ask(*item), wanted.items())
            self._answers = dict(zip(wanted, answers, strict=True))

    def digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Return the digests that the target answered. Raises what it raised."""
        answer = self._answers[repository]
        if isinstance(answer, PullaheadError):
            raise answer
        return {tag: answer[tag] for tag in tags if tag in answer}

    def of(self, mirror: Mirror) -> Digest | None:
        """Return the digest of a mirror's tag."""
        answer = self._answers[mirror.repository]
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
        self._lock = threading.Lock()

    def add(self, done: int) -> None:
        with self._lock:
            self._done += done
            self._report(self._done, self._count)


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
