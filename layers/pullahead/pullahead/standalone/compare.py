"""Look through all rules in one process: list, compare, and tell of every tag how it stands. Writes nothing anywhere.

The schedule, the listings and the checks are the service's own; only its queue, table and state machine are held in
memory. What the service remembers and a first look cannot know is found out: the digest of chosen platforms.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NamedTuple

import msgspec

from pullahead.checks.check import CheckMirrors, CheckResult
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
    """How one tag stands. `refresh` is set where it is to be made fresh."""

    mirror: Mirror
    state: State
    reason: str
    upstream_digest: Digest | None = None
    published_digest: Digest | None = None
    refresh: RefreshRequest | None = None


class ListingFailure(NamedTuple):
    """What a rule could not choose from, and why."""

    rule: str
    upstream: str
    reason: str


class ComparisonResult(NamedTuple):
    """All that a look through the rules found."""

    tags: tuple[TagStatus, ...]
    unlisted: tuple[ListingFailure, ...]


CountsChecks = Callable[[int, int], None]
"""Is told, from several threads, how many tags are compared, and of how many."""


class RulesComparison:
    """The use case, for one run at one moment."""

    def __init__(
        self, rules: Rules, upstream: Upstream, published_digests: PublishedDigests, now: datetime, told: CountsChecks
    ) -> None:
        self._rules, self._upstream, self._now, self._told = rules, upstream, now, told
        self._records, self._queue, self._refreshes = InMemoryRecords(), InMemoryQueue(), InMemoryRefreshes()
        self._published = _PublishedAtOnce(published_digests)
        announcer = OutboxSender(self._records, NullEventBus(), lambda: now)
        self._check_mirrors = CheckMirrors(
            lambda: rules,
            upstream,
            self._published.digests,
            self._records,
            self._refreshes.start,
            announcer,
            lambda: now,
        )
        self._followers: dict[str, ListTags] = {}

    def __call__(self) -> ComparisonResult:
        """List and compare. What fails is told of its rule or tag, and stops nothing else."""
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
        """Follow the listings that wait; those of one upstream repository one after another, as they share it."""
        grouped: dict[str, list[ListRequest]] = {}
        for request in self._queue.take_listings():
            grouped.setdefault(self._listed(request), []).append(request)
        for upstream in grouped.keys() - self._followers.keys():
            self._followers[upstream] = self._follower()
        with ThreadPoolExecutor(_LISTINGS_AT_ONCE) as pool:
            failed = pool.map(lambda item: self._follow(*item), grouped.items())
            return [each for group in failed for each in group]

    def _listed(self, request: ListRequest) -> str:
        rule = rule_named(request.rule, self._rules)
        return request.upstream or (str(rule.upstream) if rule is not None else "")

    def _follower(self) -> ListTags:
        return ListTags(lambda: self._rules, self._upstream, self._records, self._queue, lambda: self._now)

    def _follow(self, upstream: str, requests: list[ListRequest]) -> list[ListingFailure]:
        results = [(request.rule, self._followers[upstream](request)) for request in requests]
        return [
            ListingFailure(rule, upstream, result.reason)
            for rule, result in results
            if result is not None and result.state is not State.FRESH
        ]

    def _compare(self, checks: list[CheckRequest], count: int) -> Iterable[TagStatus]:
        counted = _Counted(self._told, count)

        def check(request: CheckRequest) -> list[TagStatus]:
            compared = self._check(request)
            counted.add(len(request.tags))
            return compared

        with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
            compared = [each for batch in pool.map(check, checks) for each in batch]
            return list(pool.map(self._by_platforms, compared))

    def _check(self, request: CheckRequest) -> list[TagStatus]:
        mirrors = mirrors_named_by(request, self._rules)
        try:
            self._settle(mirrors)
            results = {result.mirror: result for result in self._check_mirrors(request)}
        except PullaheadError as error:
            return [TagStatus(mirror, State.UNKNOWN, str(error)) for mirror in mirrors]
        return [self._compared(mirror, results[mirror.key]) for mirror in mirrors]

    def _settle(self, mirrors: list[Mirror]) -> None:
        """Take an immutable tag that the target has for what it should be: it is never asked for upstream again."""
        for mirror in mirrors:
            if mirror.immutable and (digest := self._published.of(mirror)) is not None:
                seen = Observation(Descriptor(OCI_MANIFEST, digest, 0), digest)
                self._records.save(judge(seen, None, mirror, self._now).record, 0)

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
        """Judge again what is there with chosen platforms: its digest is not upstream's, and only reading tells it."""
        request, record = compared.refresh, self._records.load([compared.mirror.key]).get(compared.mirror.key)
        if request is None or record is None or not request.platforms or compared.published_digest is None:
            return compared
        if request.root.media_type not in INDEXES:
            return compared
        try:
            index = self._upstream.get_manifest(request.source)
            chosen = select_platforms(index, request.platforms, str(request.source))
        except PullaheadError as error:
            state = State.BLOCKED if type(error).__name__ in BLOCKING_ERRORS else State.UNKNOWN
            return compared._replace(state=state, reason=str(error), refresh=None)
        digest = chosen.digest if isinstance(chosen, Descriptor) else chosen.descriptor.digest
        known = record.with_changes(filtered=Published(request.root.digest, request.platforms, digest))
        verdict = judge(Observation(request.root, compared.published_digest), known, compared.mirror, self._now)
        refresh = request if verdict.refresh else None
        return compared._replace(state=verdict.record.state, reason=verdict.reason, refresh=refresh)


class _PublishedAtOnce:
    """Asks the target for all tags of a repository together, once: in batches a missing tag costs a listing each."""

    def __init__(self, published_digests: PublishedDigests) -> None:
        self._published_digests = published_digests
        self._answers: dict[str, Mapping[str, Digest] | PullaheadError] = {}

    def ask(self, wanted: Mapping[str, Collection[str]]) -> None:
        """Ask for tags by repository."""
        with ThreadPoolExecutor(_REPOSITORIES_AT_ONCE) as pool:
            answers = pool.map(lambda item: self._ask(*item), wanted.items())
            self._answers = dict(zip(wanted, answers, strict=True))

    def digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Tell what was answered. Raises what the target raised."""
        answer = self._answers[repository]
        if isinstance(answer, PullaheadError):
            raise answer
        return {tag: answer[tag] for tag in tags if tag in answer}

    def of(self, mirror: Mirror) -> Digest | None:
        """Tell which digest a mirror's tag has."""
        answer = self._answers[mirror.repository]
        return None if isinstance(answer, PullaheadError) else answer.get(mirror.tag)

    def _ask(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest] | PullaheadError:
        try:
            return self._published_digests(repository, tags)
        except NotFoundError:
            return {}
        except PullaheadError as error:
            return error


class _Counted:
    def __init__(self, told: CountsChecks, count: int) -> None:
        self._told, self._count, self._done = told, count, 0
        self._lock = threading.Lock()

    def add(self, done: int) -> None:
        with self._lock:
            self._done += done
            self._told(self._done, self._count)


def _each_tag_once(checks: Iterable[CheckRequest]) -> list[CheckRequest]:
    """Leave out tags that another check has already: two rules may choose one."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for check in sorted(checks, key=lambda check: check.repository):  # listings end in any order
        tags = tuple(tag for tag in check.tags if (check.repository, tag) not in seen)
        seen.update((check.repository, tag) for tag in tags)
        if tags:
            kept.append(msgspec.structs.replace(check, tags=tags))
    return kept
