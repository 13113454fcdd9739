"""Check mirrors: compare upstream with ECR, judge, record transitions, start refreshes. Alerts are sent by the review.

A fresh tag that stays fresh costs one HEAD upstream and, every half an hour, a share of one request to ECR; nothing is
written. Between these requests the record says what ECR serves, as long as the schedule asks and nothing has changed.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import NamedTuple

from pullahead.admission.scans import ImageScans, NoScans
from pullahead.checks.looks import looks_due
from pullahead.checks.ports import Replications
from pullahead.checks.put_back import SHORTEST_SECONDS, Postponed, PutBack, put_back_checks
from pullahead.checks.scans import MAX_READ, read_due_scans
from pullahead.checks.select import ON_REQUEST, MirrorSelector, SelectedMirrors
from pullahead.checks.timetable import is_ecr_asked, is_ecr_asked_by_listing
from pullahead.checks.upstream_pool import Backoffs, NotAsked, Question, UpstreamPool
from pullahead.clock import Clock
from pullahead.errors import (
    AccessDeniedError,
    ConflictError,
    NewerRecordError,
    NotFoundError,
    PullaheadError,
    RateLimitedError,
    RegistryError,
    RegistryTimeoutError,
    RegistryUnavailableError,
)
from pullahead.messages import CheckRequest, RefreshRequest
from pullahead.mirrors.admission import after_failed_look
from pullahead.mirrors.judge import Observation, Verdict, judge, needs_no_upstream_check, wants_refresh, with_alerts
from pullahead.mirrors.namespace_owners import owns
from pullahead.mirrors.outbox import OutboxSender, with_outcome_events
from pullahead.mirrors.pinned import reference_to_ask
from pullahead.mirrors.rate_limit_budget import (
    Allowance,
    QuotaOf,
    RemainingQuota,
    deferred_because,
    manifests_to_read,
    oldest_first,
    request_order,
    was_not_sent,
)
from pullahead.mirrors.record import ManualCheck, MirrorRecord, State, Trigger
from pullahead.mirrors.refresh_outcome import after_abort, retry_ahead_of_schedule
from pullahead.mirrors.rule_record import rule_key
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.oci import Descriptor, Digest, Reference, Repository, parse_reference
from pullahead.oci.registries import PublishedDigests, Upstream
from pullahead.refresh.ports import StartResult
from pullahead.refresh.request import ahead_request, refresh_request
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules, is_chosen, rule_named
from pullahead.text import one_line

QueueLooks = Callable[[Sequence[CheckRequest]], None]
"""Queues looks for late referrers. Raises: StorageError."""

StartRefresh = Callable[[RefreshRequest], StartResult]
"""Starts a refresh, or queues it. Raises: StorageError."""

_MAX_ATTEMPTS = 5
_CHECKED_AGAIN_AFTER_SECONDS = 300.0
_MAX_NOTED_CHARACTERS = 500


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


class Checked(NamedTuple):
    """What became of one request: the results of its mirrors, or an error for which all of it is to be retried.

    `put_back` is what is to be queued again, since upstream could not be asked now.
    """

    results: tuple[CheckResult, ...] = ()
    error: Exception | None = None
    put_back: tuple[PutBack, ...] = ()


def remember_access(_repository: Repository) -> None:
    """Keep what is known of a repository's credential."""


def unknown_quota(_registry: str) -> RemainingQuota | None:
    """Know of no registry's limit."""
    return None


def no_looks(_requests: Sequence[CheckRequest]) -> None:
    """Queue no looks for late referrers."""


class NoReplications:
    """Knows of no repository into which ECR's replication writes."""

    def note(self, repository: str, source: str, at: datetime) -> None:
        """Remember nothing."""

    def source_of(self, _repository: str, _now: datetime) -> str:
        """Know of none."""
        return ""


class CheckPorts(NamedTuple):
    """What checks work with.

    `forget_access` makes the next request to an upstream repository look up its credential again. `head_seconds` is how
    long one HEAD may take, with its tries.
    """

    upstream: Upstream
    published_digests: PublishedDigests
    records: RecordStore
    start_refresh: StartRefresh
    outbox_sender: OutboxSender
    clock: Clock
    quota: QuotaOf = unknown_quota
    forget_access: Callable[[Repository], None] = remember_access
    queue_looks: QueueLooks = no_looks
    replications: Replications = NoReplications()
    scans: ImageScans = NoScans()
    head_seconds: float = float("inf")


class CheckMirrors:
    """Checks the mirrors of a batch of requests. For several threads."""

    def __init__(self, rules: Callable[[], Rules], ports: CheckPorts, select: MirrorSelector | None = None) -> None:
        self._rules, self._ports, self._select = rules, ports, select or MirrorSelector()
        self._backoffs = Backoffs()

    def __call__(self, request: CheckRequest, pool: UpstreamPool | None = None) -> list[CheckResult]:
        """Check the tags of one request; tags that no rule follows are skipped. Raises what fails all of it."""
        (checked,) = self.check([request], pool or UpstreamPool(self._ports.clock, self._backoffs))
        if checked.error is not None:
            raise checked.error
        return list(checked.results)

    def check(self, requests: Sequence[CheckRequest], pool: UpstreamPool) -> list[Checked]:
        """Check the tags of each request of a batch, and run the pool.

        The requests share reads of records and questions to ECR, and each of them fails alone. Where two name the same
        mirror, the second is looked at after the first. Raises what reading the rules raises.
        """
        rules = self._rules()
        known, errors = self._load(requests, rules)
        checked = {number: Checked(error=error) for number, error in errors.items()}
        allowance = Allowance(self._ports.quota)
        left = {number: request for number, request in enumerate(requests) if number not in errors}
        for some in _rounds(left):
            checks = _Round(self._ports, rules, known, allowance, pool)
            for number, request in some.items():
                checked[number] = Checked()
                try:
                    self._note_replication(request, rules)
                    if not self._is_of_other_owner(request, rules):
                        checks.add(number, request, self._select(request, rules, known))
                except Exception as error:  # noqa: BLE001 - it fails this request alone
                    checked[number] = Checked(error=error)
            checked |= checks.run()
        self._ports.outbox_sender.flush()
        return [checked[number] for number in range(len(requests))]

    def _is_of_other_owner(self, request: CheckRequest, rules: Rules) -> bool:
        """Whether an event names an upstream repository of a namespace that does not own its target."""
        rule = rules.named(request.rule) if request.rule is not None else None
        if request.reason == "schedule" or request.upstream is None or rule is None or not rule.is_namespace:
            return False
        path = parse_reference(request.upstream).repository.path
        return not owns(path, self._ports.records.load_one(rule_key(rule)))

    def _note_replication(self, request: CheckRequest, rules: Rules) -> None:
        """Remember that ECR's replication writes a repository, if a rule names the tag that it has written."""
        if request.replicated_from is not None and self._select.named_by(request, rules):
            self._ports.replications.note(request.repository, request.replicated_from, request.asked_at)

    def _load(
        self, requests: Sequence[CheckRequest], rules: Rules
    ) -> tuple[dict[MirrorKey, MirrorRecord], Mapping[int, Exception]]:
        """Read the records of all requests at once; if that fails, of each alone. Return errors by request.

        What a scheduled check reads may be old: whatever it writes is refused then, and looked at again.
        """
        keys = [[mirror.key for mirror in self._select.named_by(request, rules)] for request in requests]
        consistent = any(request.reason != "schedule" for request in requests)
        try:
            return self._read([key for some in keys for key in some], consistent=consistent), {}
        except Exception as error:  # noqa: BLE001 - it fails the requests whose own reads fail, too
            if len(requests) == 1:
                return {}, {0: error}
        known: dict[MirrorKey, MirrorRecord] = {}
        errors: dict[int, Exception] = {}
        for number, some in enumerate(keys):
            try:
                known |= self._read(some, consistent=consistent)
            except Exception as error:  # noqa: BLE001 - it fails this request alone
                errors[number] = error
        return known, errors

    def _read(self, keys: Collection[MirrorKey], *, consistent: bool) -> dict[MirrorKey, MirrorRecord]:
        return dict(self._ports.records.load(keys, consistent=consistent)) if keys else {}


def _rounds(requests: Mapping[int, CheckRequest]) -> Iterator[Mapping[int, CheckRequest]]:
    """Split requests so that no mirror is named twice in a round, and the requests of each mirror keep their order."""
    left = dict(requests)
    while left:
        now, taken = {}, set[tuple[str, str]]()
        for number, request in left.items():
            keys = {(request.repository, tag) for tag in request.tags}
            if taken.isdisjoint(keys):
                now[number] = request
            taken |= keys
        yield now
        left = {number: request for number, request in left.items() if number not in now}


class _Check(NamedTuple):
    """The check of one mirror for one request, the record that is known, and how often it was attempted before.

    `assumed` is the digest that ECR serves as far as the record says, where ECR is asked only if something has changed.
    """

    number: int
    request: CheckRequest
    key: MirrorKey
    mirror: Mirror
    known: MirrorRecord | None
    attempts: int = 0
    assumed: Digest | None = None

    @property
    def registry(self) -> str:
        return self.mirror.upstream.repository.registry


class _Stale(NamedTuple):
    """A check that found that its mirror is to be refreshed."""

    check: _Check
    root: Descriptor
    record: MirrorRecord
    reason: str
    again: bool = False


class _Round:
    """Requests that are checked together. What is found is recorded as it comes.

    Refreshes from one registry are started when all of its mirrors were looked at: the longest stale go first, and no
    registry waits for another.
    """

    def __init__(
        self,
        ports: CheckPorts,
        rules: Rules,
        known: dict[MirrorKey, MirrorRecord],
        allowance: Allowance,
        pool: UpstreamPool,
    ) -> None:
        self._ports, self._rules, self._known, self._allowance, self._pool = ports, rules, known, allowance, pool
        self._checks: dict[MirrorKey, _Check] = {}
        self._published = _PublishedTags(ports.published_digests)
        self._left = Counter[str]()
        self._stale = defaultdict[str, dict[MirrorKey, _Stale]](dict)
        self._ahead = defaultdict[str, list[_Stale]](list)
        self._results: dict[MirrorKey, CheckResult] = {}
        self._postponed: dict[MirrorKey, Postponed] = {}
        self._errors: dict[int, Exception] = {}
        self._replicated_from: dict[str, str] = {}  # by repository
        self._scans_left = MAX_READ

    def add(self, number: int, request: CheckRequest, selected: SelectedMirrors) -> None:
        """Add the mirrors of a request."""
        if request.reason == "manual":
            for upstream in {mirror.upstream.repository for mirror in selected.mirrors}:
                self._ports.forget_access(upstream)  # the person may just have corrected it
        for mirror in selected.mirrors:
            key = mirror.key
            known = selected.known.get(key)
            assumed = _assumed(request, mirror, known, self._rules)
            self._checks[key] = _Check(number, request, key, mirror, known, assumed=assumed)
            self._published.want(mirror)

    def run(self) -> Mapping[int, Checked]:
        """Check all mirrors; return what became of the requests that have some."""
        to_ask = [check.mirror for check in self._checks.values() if not self._is_settled(check)]
        self._left.update(mirror.upstream.repository.registry for mirror in to_ask)
        asked_at = max((check.request.asked_at for check in self._checks.values()), default=self._ports.clock())
        for mirror in request_order(to_ask, self._records_before(), asked_at):
            check = self._checks[mirror.key]
            self._ask(check, self._reference_to_ask(check))
        self._pool.run()
        results = defaultdict[int, list[CheckResult]](list)
        checks = defaultdict[int, list[_Check]](list)
        for key, check in self._checks.items():
            results[check.number] += [self._results[key]] if key in self._results else []
            checks[check.number].append(check)
        for number, some in checks.items():
            results[number] += self._queue_looks(some)
        return {
            number: Checked(tuple(results[number]), self._errors.get(number), self._put_back(some))
            for number, some in checks.items()
        }

    def _put_back(self, checks: Sequence[_Check]) -> tuple[PutBack, ...]:
        postponed = [self._postponed[each.key] for each in checks if each.key in self._postponed]
        return tuple(put_back_checks(checks[0].request, postponed, self._rules, self._ports.clock()))

    def _queue_looks(self, checks: Sequence[_Check]) -> list[CheckResult]:
        """Queue looks for late referrers of a request's mirrors that are fresh as before, and for which it is time."""
        results = {key: result for key, result in self._results.items() if not result.deferred}
        fresh = [each for each in checks if each.key in results and results[each.key].state is State.FRESH]
        known = {each.key: each.known for each in fresh if each.known is not None}
        due = looks_due(checks[0].request, [each.mirror for each in fresh], known, self._ports.clock())
        try:
            if due:
                self._ports.queue_looks(due)
        except PullaheadError as error:
            return [CheckResult(checks[0].key, None, str(error), error=error)]
        return []

    def _records_before(self) -> Mapping[MirrorKey, MirrorRecord]:
        return {key: check.known for key, check in self._checks.items() if check.known is not None}

    def _is_settled(self, check: _Check) -> bool:
        """Look at ECR first where a tag is immutable or pinned; tell whether that was enough."""
        mirror = check.mirror
        may_be_settled = mirror.immutable and check.known is not None and check.request.reason != "manual"
        if not may_be_settled and mirror.pin is None:
            return False
        is_settled = True  # where ECR fails: the request is retried
        with self._each_alone(check):
            published = check.assumed or self._published.digest_of(mirror)
            is_settled = may_be_settled and needs_no_upstream_check(mirror, check.known, published)
            if is_settled:
                self._results[check.key] = CheckResult(check.key, State.FRESH, "immutable, and ECR serves it")
        return is_settled

    def _reference_to_ask(self, check: _Check) -> Reference:
        """Name what to ask upstream for; of a pinned tag, that depends on what ECR serves. Raises what ECR raises."""
        if check.mirror.pin is None:
            return check.mirror.upstream
        return reference_to_ask(check.mirror, check.known, check.assumed or self._published.digest_of(check.mirror))

    def _ask(self, check: _Check, reference: Reference) -> None:
        by_event = check.request.is_by_event
        ask = partial(self._ports.upstream.head_manifest, reference, by_event=by_event)
        conclude, seconds = partial(self._conclude, check), self._ports.head_seconds
        self._pool.add(Question(check.registry, "HEAD manifest", str(reference), seconds, ask, conclude, by_event))

    def _conclude(self, check: _Check, answer: Descriptor | Exception | NotAsked) -> None:
        self._left[check.registry] -= 1
        with self._each_alone(check):
            if isinstance(answer, NotAsked):
                self._postponed[check.key] = Postponed(check.mirror, None)
                self._results[check.key] = CheckResult(check.key, None, deferred_because(answer.value), deferred=True)
            elif isinstance(answer, Exception) and not isinstance(answer, PullaheadError):
                raise answer
            elif (result := self._act(check, answer)) is not None:
                self._finish(check, result)
        if not self._left[check.registry]:
            self._start_refreshes(check.registry)

    @contextmanager
    def _each_alone(self, check: _Check) -> Iterator[None]:
        """Let an error fail this check, or, if it is not one of this mirror, this request; others go on."""
        try:
            yield
        except ConflictError:  # the observation may be older than what was written there: observe again
            self._again(check)
        except NewerRecordError as error:
            self._results[check.key] = CheckResult(check.key, None, str(error))
        except RegistryError as error:  # of ECR: what upstream raises is an observation
            self._errors[check.number] = error
        except PullaheadError as error:
            self._results[check.key] = CheckResult(check.key, None, str(error), error=error)
        except Exception as error:  # noqa: BLE001 - it fails this request, which is retried
            self._errors[check.number] = error

    def _again(self, check: _Check) -> None:
        key = check.key
        if check.attempts + 1 == _MAX_ATTEMPTS:
            error = ConflictError(f"the record of {key} was changed by others {_MAX_ATTEMPTS} times in a row")
            self._results[key] = CheckResult(key, None, str(error), error=error)
            return
        with self._each_alone(check):
            known = self._ports.records.load([key]).get(key)
            self._published.forget(check.mirror)
            again = check._replace(known=known, attempts=check.attempts + 1, assumed=None)
            reference = self._reference_to_ask(again)
            self._left[check.registry] += 1
            self._ask(again, reference)

    def _finish(self, check: _Check, result: CheckResult) -> None:
        """Keep the result; a person who asked can follow it: a check that finds nothing new leaves no other trace."""
        self._results[check.key] = result
        if check.request.reason == "manual":
            started = result.started in (StartResult.STARTED, StartResult.RUNNING, StartResult.WAITING)
            text = one_line(result.reason, _MAX_NOTED_CHARACTERS)
            note = ManualCheck(check.request.asked_at, self._ports.clock(), text, started)
            noted = update_record(
                self._ports.records, check.key, lambda known: known and known.with_changes(manual=note)
            )
            if isinstance(noted, MirrorRecord):
                self._known[check.key] = noted

    def _act(self, check: _Check, answer: Descriptor | PullaheadError) -> CheckResult | None:
        """Judge and record an answer; None if a refresh is to be started."""
        mirror, known = check.mirror, check.known
        if isinstance(answer, RateLimitedError) and was_not_sent(answer):
            self._postponed[check.key] = Postponed(mirror, answer.retry_after_seconds or 0.0)
            return self._defer(check, str(answer))
        verdict, read = None, self._with_scans(check, answer)
        if check.assumed is not None and not self._published.is_known(mirror):
            verdict = self._judge(check, Observation(answer, check.assumed), read)
        if verdict is None or not verdict.record.says_the_same_as(known):
            observed = Observation(answer, self._published.digest_of(mirror))
            verdict = self._judge(check, observed, read)
        if known is None and check.request.reason != "manual" and _is_made_up(mirror, answer):
            return CheckResult(check.key, None, f"not followed: {answer}")  # no record, no alert
        record = self._save(mirror, verdict.record, known)
        if verdict.ahead is not None:
            ahead = _Stale(check, verdict.ahead, record, verdict.reason, verdict.ahead_again)
            self._ahead[check.registry].append(ahead)
        root = answer if mirror.pin is not None and isinstance(answer, Descriptor) else verdict.root
        if verdict.refresh and root is not None and mirror.pin in (None, root.digest):
            self._stale[check.registry][check.key] = _Stale(check, root, record, verdict.reason)
            return None
        if _has_just_failed(answer, known, check.request):
            self._postponed[check.key] = Postponed(mirror, _CHECKED_AGAIN_AFTER_SECONDS)
        changed = known is None or record.version != known.version
        return CheckResult(check.key, record.state, verdict.reason, None, changed)

    def _judge(self, check: _Check, observed: Observation, known: MirrorRecord | None) -> Verdict:
        request, mirror = check.request, self._with_replication(check, observed)
        trigger = Trigger.WEBHOOK if request.sender else Trigger(request.reason)
        now = self._ports.clock()
        return judge(observed, known, mirror, now, trigger, request.sender, request.asked_at)

    def _with_scans(self, check: _Check, answer: Descriptor | PullaheadError) -> MirrorRecord | None:
        """Read what scans say by now of digests that wait, where upstream has answered."""
        if check.known is None or isinstance(answer, PullaheadError):
            return check.known
        now = self._ports.clock()
        event_at = {"scan": check.request.asked_at, "manual": now}.get(check.request.reason)
        read = read_due_scans(check.known, check.mirror, self._ports.scans, now, self._scans_left, event_at)
        self._scans_left -= read.digests
        if read.is_left:
            self._postponed[check.key] = Postponed(check.mirror, SHORTEST_SECONDS)
        return read.record

    def _with_replication(self, check: _Check, observed: Observation) -> Mirror:
        """Say from where ECR's replication writes the tag, if that may be why it was deleted or overwritten."""
        mirror, known = check.mirror, check.known
        if check.request.reason in ON_REQUEST or known is None:
            return mirror
        if not _was_changed(known, observed):
            return mirror._replace(replicated_from=known.replicated_from or "")
        repository = mirror.repository
        if repository not in self._replicated_from:
            self._replicated_from[repository] = self._ports.replications.source_of(repository, self._ports.clock())
        return mirror._replace(replicated_from=self._replicated_from[repository])

    def _defer(self, check: _Check, cause: str) -> CheckResult:
        """Leave a mirror as it is, since no request was sent to upstream; an alert may be due all the same."""
        mirror, known = check.mirror, check.known
        if known is None:
            return CheckResult(check.key, None, deferred_because(cause), deferred=True)
        record = self._save(mirror, with_alerts(known, known, mirror.alert_after, self._ports.clock()), known)
        changed = record.version != known.version
        return CheckResult(check.key, record.state, deferred_because(cause), changed=changed, deferred=True)

    def _save(self, mirror: Mirror, record: MirrorRecord, known: MirrorRecord | None) -> MirrorRecord:
        record = with_outcome_events(known, record, mirror.rule, self._ports.clock())
        if not record.says_the_same_as(known):
            record = self._ports.records.save(record, known.version if known is not None else 0)
            self._known[mirror.key] = record
        self._ports.outbox_sender.note(known, record)
        return record

    def _start_refreshes(self, registry: str) -> None:
        stale = self._stale.pop(registry, {})
        mirrors = [check.mirror for key, check in self._checks.items() if key in stale]
        for mirror in oldest_first(mirrors, self._records_before()):
            each = stale[mirror.key]
            with self._each_alone(each.check):
                self._finish(each.check, self._refresh(each))
        for each in self._ahead.pop(registry, []):
            result = self._results.get(each.check.key)
            if result is not None and result.started is StartResult.WAITING:
                continue  # of one mirror one refresh waits, and it would take the place of what the tag may serve
            with self._each_alone(each.check):
                self._copy_ahead(each)

    def _copy_ahead(self, waiting: _Stale) -> None:
        """Start the copy of a digest that may not be served yet. If that does not work, it is copied when it may be."""
        check, root, record, _, again = waiting
        manifests = manifests_to_read(root, record.platforms)
        if self._allowance.shortage(check.registry, manifests) is None:
            now = self._ports.clock()
            request = ahead_request(check.mirror, root, record, now, again=again)
            started = self._ports.start_refresh(request)
            if started in (StartResult.STARTED, StartResult.WAITING):
                self._allowance.promise(check.registry, manifests)
            if started in (StartResult.ENDED, StartResult.SUCCEEDED):  # what it has found, it would have recorded
                why = "the copy that it was to be verified with ended without an outcome"
                failed = after_failed_look(record, check.mirror, root.digest, why, now, now)
                if not failed.says_the_same_as(record):
                    self._known[check.key] = self._ports.records.save(failed, record.version)

    def _refresh(self, stale: _Stale) -> CheckResult:
        """Start a refresh, unless a limit of the registry leaves no room for it."""
        check, root, record, reason, _ = stale
        manifests = manifests_to_read(root, record.platforms)
        changed = check.known is None or record.version != check.known.version
        if (shortage := self._allowance.shortage(check.registry, manifests)) is not None:
            return CheckResult(check.key, record.state, deferred_because(shortage), None, changed, deferred=True)
        started = self._ports.start_refresh(refresh_request(check.mirror, root, record))
        if started in (StartResult.ENDED, StartResult.SUCCEEDED):
            # It was stopped before it recorded its outcome, or its success did not last. If it has recorded its outcome
            # just now, this write meets a conflict, and the mirror is observed again.
            aborted = after_abort(record, root.digest, self._ports.clock())
            record = self._known[check.key] = self._ports.records.save(aborted, record.version)
            changed = True
            started = self._start_after_abort(check, root, record) or started
        if started in (StartResult.STARTED, StartResult.WAITING):
            self._allowance.promise(check.registry, manifests)
        reason = f"{reason}; the refresh waits for a slot" if started is StartResult.WAITING else reason
        return CheckResult(check.key, record.state, reason, started, changed or started is StartResult.STARTED)

    def _start_after_abort(self, check: _Check, root: Descriptor, record: MirrorRecord) -> StartResult | None:
        """Start the next refresh at once where the last one was the first that ended so; else it is checked again when
        it may be retried."""
        now = self._ports.clock()
        if wants_refresh(record, now):
            return self._ports.start_refresh(refresh_request(check.mirror, root, record))
        if (wait := retry_ahead_of_schedule(record, root.digest, now)) is not None:
            self._postponed[check.key] = Postponed(check.mirror, wait.total_seconds())
        return None


def _assumed(request: CheckRequest, mirror: Mirror, known: MirrorRecord | None, rules: Rules) -> Digest | None:
    """Return the digest that ECR serves by a record of a fresh tag, unless somebody asks or it is time to ask ECR."""
    if request.reason != "schedule" or request.sender or known is None or known.state is not State.FRESH:
        return None
    rule = rule_named(mirror.rule, rules) if is_chosen(mirror, rules) else None
    if rule is not None:
        is_time = is_ecr_asked_by_listing(rule, request.asked_at)
    else:
        is_time = is_ecr_asked(mirror, request.asked_at)
    return None if is_time else known.published_digest


def _is_made_up(mirror: Mirror, answer: Descriptor | PullaheadError) -> bool:
    """Whether a tag that no rule names may not exist: upstream may list any number of tags that it does not have."""
    if mirror.listed and isinstance(answer, NotFoundError):
        return True
    return mirror.guessed and not isinstance(answer, Descriptor)


def _has_just_failed(answer: Descriptor | PullaheadError, known: MirrorRecord | None, request: CheckRequest) -> bool:
    """Whether upstream failed at this check and did not at the last one: then the mirror is checked again before long.

    Once only: what goes on is left to the schedule.
    """
    failed = isinstance(answer, RegistryTimeoutError | RegistryUnavailableError)
    return failed and request.reason != "manual" and (known is None or known.state is not State.UNKNOWN)


def _was_changed(known: MirrorRecord, observed: Observation) -> bool:
    """Whether ECR no longer serves what it did at the last check, or serves something else."""
    published = observed.published
    if known.published_digest is None or isinstance(published, PullaheadError):
        return False
    return published != known.published_digest


class _PublishedTags:
    """What ECR serves: asked once for all tags of a repository, when the first of them is needed."""

    def __init__(self, published_digests: PublishedDigests) -> None:
        self._published_digests = published_digests
        self._wanted = defaultdict[str, list[str]](list)
        self._answers: dict[str, Mapping[str, Digest] | PullaheadError] = {}
        self._outdated: set[tuple[str, str]] = set()

    def want(self, mirror: Mirror) -> None:
        """Note a tag that will be needed."""
        self._wanted[mirror.repository].append(mirror.tag)

    def forget(self, mirror: Mirror) -> None:
        """Ask for this tag anew when it is needed again."""
        self._outdated.add((mirror.repository, mirror.tag))

    def is_known(self, mirror: Mirror) -> bool:
        """Whether ECR was asked about the tag's repository."""
        return mirror.repository in self._answers

    def digest_of(self, mirror: Mirror) -> Digest | AccessDeniedError | None:
        """Return the digest of a tag, or the refusal of ECR, which a human must end. Raises what else ECR raised."""
        if (mirror.repository, mirror.tag) in self._outdated:
            self._outdated.discard((mirror.repository, mirror.tag))
            answer = self._ask(mirror.repository, [mirror.tag])
        elif mirror.repository in self._answers:
            answer = self._answers[mirror.repository]
        else:
            answer = self._answers[mirror.repository] = self._ask(mirror.repository, self._wanted[mirror.repository])
        if isinstance(answer, AccessDeniedError):
            return answer
        if isinstance(answer, PullaheadError):
            raise answer
        return answer.get(mirror.tag)

    def _ask(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest] | PullaheadError:
        try:
            return self._published_digests(repository, tags)
        except PullaheadError as error:
            return error
