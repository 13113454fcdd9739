"""Look for referrers that came after their image, and have them copied. A look that finds nothing new writes nothing.

Checks queue the looks (`looks`), so that these delay no check. A look lists what belongs to the manifests that a mirror
serves, and compares that with what the last copy found. It takes many requests, so what all of them together may take
is limited, however slowly a registry answers, and mirrors for which there is no time are left for another message.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NamedTuple, TypeVar

from msgspec import structs

from pullahead.checks.check import CheckResult, StartRefresh
from pullahead.checks.put_back import LeftToSchedule
from pullahead.checks.select import mirrors_named_by
from pullahead.checks.upstream_pool import (
    RESERVED_SECONDS,
    NotAsked,
    Question,
    RemainingSeconds,
    UpstreamPool,
    without_end,
)
from pullahead.clock import Clock
from pullahead.errors import (
    ConfigError,
    DeferredError,
    PullaheadError,
    RateLimitedError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
)
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ReferrerNamed, ReferrersOutcome, Trouble
from pullahead.mirrors.admission import demanded_proof
from pullahead.mirrors.judge import wants_refresh
from pullahead.mirrors.outbox import OutboxSender, with_outcome_events
from pullahead.mirrors.record import MirrorRecord, RuleRecord
from pullahead.mirrors.referrers import KnownReferrers, after_referrers, after_trouble, is_retry_due
from pullahead.mirrors.refresh_outcome import with_referrers
from pullahead.mirrors.rule_record import rule_key
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.oci import Digest, Reference, Repository, parse_reference
from pullahead.oci.registries import CopySource
from pullahead.refresh.plan import read_subjects
from pullahead.refresh.plan_referrers import MAX_STORED_SUBJECTS
from pullahead.refresh.ports import StartResult
from pullahead.refresh.referrers import Listing, list_referrers, trouble_of
from pullahead.refresh.request import ahead_request, late_request
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rule, Rules

_T = TypeVar("_T")

LOOK_SECONDS: Final = 60.0
"""How long one look at one image may take, with all of its requests."""
_HEAD_SECONDS: Final = 20.0
SECONDS_OF_LOOK: Final = LOOK_SECONDS + _HEAD_SECONDS + RESERVED_SECONDS
"""What a function must have left to look at a mirror."""
_VERIFIED_AT_MOST_EVERY: Final = timedelta(minutes=1)  # for whoever may send webhooks
_MAX_NAMED = 1000  # mirrors of one upstream repository that are looked up for a webhook
_IS_DOWN = frozenset(
    kind.__name__ for kind in (RegistryUnavailableError, RegistryTimeoutError, RateLimitedError, DeferredError)
)


class Looks(NamedTuple):
    """The results of the looks for one message, and what there was no time for: to be queued. `to_schedule`: of how
    many mirrors it is not known whether one is due, as a webhook has named an image that too many follow."""

    results: list[CheckResult]
    left: tuple[CheckRequest, ...] = ()
    to_schedule: tuple[LeftToSchedule, ...] = ()


class _ListedReferrers(NamedTuple):
    """What a look has listed of the manifests that it was for, or why it could not."""

    subjects: tuple[Digest, ...]
    listing: Listing
    trouble: Trouble | None = None


class LookForReferrers:
    """Looks for late referrers of mirrors. The `pool` of a batch knows which registries are left alone."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        upstream: CopySource,
        records: RecordStore,
        start_refresh: StartRefresh,
        outbox_sender: OutboxSender,
        clock: Clock,
    ) -> None:
        self._rules, self._upstream, self._records = rules, upstream, records
        self._start_refresh, self._outbox_sender, self._clock = start_refresh, outbox_sender, clock

    def __call__(
        self,
        request: CheckRequest,
        pool: UpstreamPool | None = None,
        remaining_seconds: RemainingSeconds = without_end,
    ) -> Looks:
        """Look for those of the mirrors that a request names. Raises StorageError: then nothing was done."""
        mirrors = mirrors_named_by(request, self._rules())
        known = self._records.load([mirror.key for mirror in mirrors]) if mirrors else {}
        return self._look_at(mirrors, known, request.asked_at, pool, remaining_seconds)

    def named(
        self,
        request: ReferrerNamed,
        pool: UpstreamPool | None = None,
        remaining_seconds: RemainingSeconds = without_end,
    ) -> Looks:
        """Look for those of the mirrors that serve the subject whose tag a webhook has named. Raises: StorageError."""
        repository = parse_reference(request.upstream, default_tag=None).repository
        every = list(self._mirrors_of(repository, self._rules()))
        mirrors, too_many = every[:_MAX_NAMED], len(every) - _MAX_NAMED
        known = self._records.load([mirror.key for mirror in mirrors]) if mirrors else {}
        serving = [m for m in mirrors if _serves(known.get(m.key), request.subject)]
        verified = [self._verify_again(m, known.get(m.key), request.subject) for m in mirrors]
        looks = self._look_at(serving, known, request.asked_at, pool, remaining_seconds)
        why = f"more than {_MAX_NAMED:,} mirrors follow it, and a webhook has named one of its referrers"
        left = (LeftToSchedule(request.upstream, too_many, why),) if too_many > 0 else ()
        return looks._replace(results=[*filter(None, verified), *looks.results], to_schedule=left)

    def _verify_again(self, mirror: Mirror, record: MirrorRecord | None, subject: str) -> CheckResult | None:
        """Look at the signatures of a digest that may not be served yet: what was named may be one of them."""
        seen = record.admission.seen if record is not None and record.admission is not None else ()
        found = next((each for each in seen if each.digest.startswith(subject)), None)
        if record is None or found is None or demanded_proof(record, mirror, found.digest) is None:
            return None
        now = self._clock()
        if wants_refresh(record, now):
            return None  # which may wait for a slot, and its place is not to be taken
        if found.signature is not None and now - found.signature.at < _VERIFIED_AT_MOST_EVERY:
            return None  # when its time comes, it is looked at again
        try:
            started = self._start_refresh(ahead_request(mirror, found.root, record, now))
        except PullaheadError as error:
            return CheckResult(mirror.key, None, str(error), error=error)
        return CheckResult(mirror.key, record.state, "its signatures are looked at again", started)

    def _look_at(
        self,
        mirrors: Sequence[Mirror],
        known: Mapping[MirrorKey, MirrorRecord],
        asked_at: datetime,
        pool: UpstreamPool | None,
        remaining_seconds: RemainingSeconds,
    ) -> Looks:
        run, results = _Run(self._upstream, pool or UpstreamPool(self._clock)), list[CheckResult]()
        for number, mirror in enumerate(mirrors):
            if number and remaining_seconds() < SECONDS_OF_LOOK:
                return Looks(results, tuple(_looks_at(mirrors[number:], asked_at)))
            results.append(self._result(mirror, known.get(mirror.key), run))
        return Looks(results)

    def _result(self, mirror: Mirror, record: MirrorRecord | None, run: "_Run") -> CheckResult:
        if record is None or not record.serves_what_it_may or record.upstream_digest is None:
            return CheckResult(mirror.key, None, "referrers are not looked for: the mirror is not fresh")
        if not mirror.referrers.copies_any:
            return CheckResult(mirror.key, record.state, "its rule copies no referrers")
        try:
            return self._look(mirror, record, record.upstream_digest, run)
        except PullaheadError as error:
            return CheckResult(mirror.key, None, str(error), error=error)

    def _look(self, mirror: Mirror, record: MirrorRecord, digest: Digest, run: "_Run") -> CheckResult:
        known = _known_of(record)
        looked = run.look(mirror, record, digest, known)
        if looked is None:
            return CheckResult(mirror.key, record.state, "the registry does not answer", deferred=True)
        now = self._clock()
        if looked.trouble is not None:
            return self._record_trouble(mirror, digest, looked.trouble, now)
        is_new = known is None or looked.listing.fingerprint != known.outcome.fingerprint
        if not is_new and not is_retry_due(known, now):
            return CheckResult(mirror.key, record.state, "no late referrers")
        if is_new and not looked.listing.found:
            return self._record_fingerprint(mirror, digest, looked, now)
        return self._start(mirror, record, digest, looked, run, now)

    def _start(
        self, mirror: Mirror, record: MirrorRecord, digest: Digest, looked: _ListedReferrers, run: "_Run", now: datetime
    ) -> CheckResult:
        source = mirror.upstream.at(digest)
        root = run.ask(source, "HEAD manifest", _HEAD_SECONDS, partial(self._upstream.head_manifest, source))
        started = self._start_refresh(late_request(mirror, root, record, looked.listing.fingerprint, now))
        if started is StartResult.SUCCEEDED:  # these were copied before, and others since
            return self._record_fingerprint(mirror, digest, looked, now)
        if started is StartResult.ENDED:
            text = "the copy of late referrers ended without an outcome; see the executions of the state machine"
            return self._record_trouble(mirror, digest, Trouble("RefreshAborted", text), now)
        reason = f"{len(looked.listing.found)} referrers upstream; they are copied"
        return CheckResult(mirror.key, record.state, reason, started, started is StartResult.STARTED)

    def _record_trouble(self, mirror: Mirror, digest: Digest, trouble: Trouble, now: datetime) -> CheckResult:
        """Record that a look failed, unless one did before and is not to be retried yet."""

        def change(known: KnownReferrers | None) -> KnownReferrers | None:
            is_noted = known is not None and known.retry_at is not None and now < known.retry_at
            return None if is_noted else after_trouble(known, digest, trouble, "", now)

        return self._record(mirror, digest, change, f"referrers could not be looked for: {trouble.text}", now)

    def _record_fingerprint(
        self, mirror: Mirror, digest: Digest, looked: _ListedReferrers, now: datetime
    ) -> CheckResult:
        """Record that there is nothing to copy of what was found."""
        subjects = looked.subjects if len(looked.subjects) <= MAX_STORED_SUBJECTS else ()

        def change(known: KnownReferrers | None) -> KnownReferrers:
            if known is not None:
                outcome = structs.replace(known.outcome, fingerprint=looked.listing.fingerprint)
                return structs.replace(known, outcome=outcome)
            outcome = ReferrersOutcome(looked.listing.fingerprint, subjects=subjects)
            return after_referrers(None, digest, outcome, "", now)

        return self._record(mirror, digest, change, "no late referrers", now)

    def _record(
        self,
        mirror: Mirror,
        digest: Digest,
        change: Callable[[KnownReferrers | None], KnownReferrers | None],
        reason: str,
        now: datetime,
    ) -> CheckResult:
        before: MirrorRecord | None = None

        def apply(current: MirrorRecord | None) -> MirrorRecord | None:
            nonlocal before
            before = current
            if current is None or current.upstream_digest != digest:
                return None  # the mirror has moved on
            known = change(_known_of(current))
            if known is None:
                return None
            alerted = current.referrers is not None and current.referrers.alerted
            after = with_referrers(current, structs.replace(known, alerted=alerted), mirror.alert_after, now)
            return with_outcome_events(current, after, mirror.rule, now)

        record = update_record(self._records, mirror.key, apply)
        if record is None:
            return CheckResult(mirror.key, None, reason)
        self._outbox_sender.announce(before, record)
        is_changed = before is None or record.version != before.version
        return CheckResult(mirror.key, record.state, reason, changed=is_changed)

    def _mirrors_of(self, repository: Repository, rules: Rules) -> Iterator[Mirror]:
        """Find the mirrors that follow an upstream repository: those that rules name, and those that they selected."""
        named = rules.named_mirrors.of_upstream(repository)
        yield from (mirror for mirror in named if not rules.is_inactive(mirror.rule))
        for rule in _selecting_rules(repository, rules):
            record = self._records.load_one(rule_key(rule))
            if isinstance(record, RuleRecord):
                yield from (rule.mirror(tag) for tag in record.followed)


class _Run:
    """The looks of one message: tags of one digest share a look, and a registry that is down is asked once."""

    def __init__(self, upstream: CopySource, pool: UpstreamPool) -> None:
        self._upstream, self._pool = upstream, pool
        self._looked: dict[object, _ListedReferrers] = {}
        self._down: set[str] = set()

    def look(
        self, mirror: Mirror, record: MirrorRecord, digest: Digest, known: KnownReferrers | None
    ) -> _ListedReferrers | None:
        """List what belongs to what a mirror serves; None where its registry was found not to answer just now."""
        source = mirror.upstream.at(digest)
        key = (source, record.platforms, mirror.referrers)
        if key not in self._looked:
            if source.repository.registry in self._down:
                return None
            looked = self._looked[key] = self._list(source, mirror, record.platforms, known)
            if looked.trouble is not None and looked.trouble.kind in _IS_DOWN:
                self._down.add(source.repository.registry)
        return self._looked[key]

    def ask(self, source: Reference, operation: str, seconds: float, ask: Callable[[], _T]) -> _T:
        """Ask the registry for at most so many seconds, if it is not left alone. Raises what `ask` raises, and
        RegistryTimeoutError."""
        answers = list[_T | Exception | NotAsked]()
        registry = source.repository.registry
        self._pool.add(Question(registry, operation, str(source), seconds, ask, answers.append))
        self._pool.run()
        (answer,) = answers
        if isinstance(answer, NotAsked):
            raise RegistryTimeoutError(answer.value, operation=operation, side=Side.UPSTREAM, reference=str(source))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _list(
        self, source: Reference, mirror: Mirror, platforms: tuple[str, ...], known: KnownReferrers | None
    ) -> _ListedReferrers:
        def look() -> _ListedReferrers:
            subjects = known.outcome.subjects if known is not None else ()
            subjects = subjects or read_subjects(source, platforms, self._upstream)
            listing = list_referrers(source, subjects, self._upstream, mirror.referrers)
            return _ListedReferrers(subjects, listing, next(iter(listing.troubles), None))

        try:
            return self.ask(source, "listing referrers", LOOK_SECONDS, look)
        except PullaheadError as error:
            return _ListedReferrers((), Listing(), trouble_of(error))


def _looks_at(mirrors: Iterable[Mirror], asked_at: datetime) -> Iterator[CheckRequest]:
    """Make the messages that ask for looks at mirrors."""
    tags = defaultdict[str, list[str]](list)
    for mirror in mirrors:
        tags[mirror.repository].append(mirror.tag)
    for repository, some in tags.items():
        for start in range(0, len(some), MAX_TAGS_PER_CHECK):
            yield CheckRequest("referrers", repository, tuple(some[start : start + MAX_TAGS_PER_CHECK]), asked_at)


def _known_of(record: MirrorRecord) -> KnownReferrers | None:
    """Return what is known of the referrers of the digest that a mirror serves."""
    known = record.referrers
    return known if known is not None and known.digest == record.upstream_digest else None


def _serves(record: MirrorRecord | None, subject: str) -> bool:
    """Whether a mirror serves a manifest whose digest begins like this, or may do so: not all manifests are known."""
    if record is None or record.upstream_digest is None:
        return False
    known = _known_of(record)
    subjects: Iterable[str] = known.outcome.subjects if known is not None else ()
    return not subjects or any(each.startswith(subject) for each in (record.upstream_digest, *subjects))


def _selecting_rules(repository: Repository, rules: Rules) -> Iterator[Rule]:
    for rule in rules.rules:
        if rules.is_inactive(rule.name) or rule.on_demand is not None:
            continue
        if rule.is_namespace:
            is_below = repository.path.startswith(rule.upstream.path.removesuffix("*"))
            if is_below and repository.registry == rule.upstream.registry:
                try:
                    yield rule.expand(repository.path)
                except ConfigError:  # there is no name that ECR allows; the listing of the namespace says so
                    continue
        elif rule.tags.patterns and rule.upstream == repository:
            yield rule
