"""Notice pulls from ECR: check, and so copy, what a rule with `on_demand` allows and nobody demanded yet.

A pull of a known mirror costs a share of one batch read, and once a day a write; within five minutes of the last one,
nothing. A pull that no rule allows costs only the event. No upstream is asked here.

The manifests below an index are pulled by digest, too. So ECR is asked for a digest before it is demanded, once an hour
at most in a process: what ECR has needs no mirror of its own.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pullahead.caching import TtlCache
from pullahead.checks.ports import CheckQueue
from pullahead.clock import Clock
from pullahead.messages import CheckRequest
from pullahead.mirrors.demand import Demand, is_absent
from pullahead.mirrors.record import Record
from pullahead.mirrors.rule_record import limit_reached, rule_key
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.mirrors.stored_form import newer_of
from pullahead.oci import Digest
from pullahead.oci.referrers import subject_of_tag
from pullahead.on_demand.cloudtrail import IgnoredPull, Pull, read_pull
from pullahead.on_demand.ports import DemandStore
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, OnDemand, Rule, Rules, rule_named

KNOWN_FOR = timedelta(minutes=5)
"""How long a process does not read a demand again."""
_HELD_FOR = timedelta(hours=1)
"""How long a process does not ask ECR again for a digest that it has."""
_MAX_KNOWN = 20_000

HoldsManifest = Callable[[str, Digest], bool]
"""Tells whether a repository of ECR has a manifest; not where there is no such repository. Raises: RegistryError."""


def holds_nothing(_repository: str, _digest: Digest) -> bool:
    """Hold no manifest."""
    return False


class PullOutcome(StrEnum):
    """What became of a pull."""

    KNOWN = "known"
    HELD = "held"  # a digest that ECR has, below some tag
    DEMANDED = "demanded"
    REFUSED = "refused"  # the rule has reached its daily_limit, or is inactive


class NoticedPulls(NamedTuple):
    """The result of a batch of messages. `seen`: how many mirrors that rules allow were pulled, known ones included;
    `outcomes` and `failed`: by mirror; `failures`: errors by message; `ignored`: why other messages were ignored.
    """

    seen: int
    outcomes: Mapping[MirrorKey, PullOutcome]
    failed: Mapping[MirrorKey, Exception]
    failures: Mapping[str, Exception]
    ignored: tuple[str, ...]

    @property
    def demanded(self) -> tuple[MirrorKey, ...]:
        """The mirrors that are copied now."""
        return tuple(key for key, outcome in self.outcomes.items() if outcome is PullOutcome.DEMANDED)

    @property
    def refused(self) -> tuple[MirrorKey, ...]:
        """The mirrors that are not copied today."""
        return tuple(key for key, outcome in self.outcomes.items() if outcome is PullOutcome.REFUSED)


class _PulledMirror(NamedTuple):
    mirror: Mirror
    rule: Rule
    bounds: OnDemand
    at: datetime
    missing: bool
    digest: Digest | None = None  # that was pulled, rather than a tag


class NoticePulls:
    """Notices pulls."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        demands: DemandStore,
        records: RecordStore,
        queue: CheckQueue,
        clock: Clock,
        own_roles: Collection[str] = (),
        holds_manifest: HoldsManifest = holds_nothing,
    ) -> None:
        self._holds_manifest = holds_manifest
        self._rules, self._demands, self._records = rules, demands, records
        self._queue, self._clock, self._own_roles = queue, clock, own_roles
        self._known = TtlCache[MirrorKey, bool, datetime](_MAX_KNOWN)
        self._limits_reached: dict[str, tuple[date, int]] = {}  # by rule: on which day, and which limit

    def __call__(self, messages: Mapping[str, str]) -> NoticedPulls:
        """Notice the pulls of messages, by message id.

        Raises: ConfigError; StorageError if demands cannot be read, so that all messages are to be retried.
        """
        read = {identifier: read_pull(body, self._own_roles) for identifier, body in messages.items()}
        pulls = {identifier: pull for identifier, pull in read.items() if isinstance(pull, Pull)}
        seen, outcomes, failed = self._notice_all(pulls.values())
        failures = {identifier: failed[key] for identifier, pull in pulls.items() for key in pull.keys if key in failed}
        ignored = tuple(each.reason for each in read.values() if isinstance(each, IgnoredPull))
        return NoticedPulls(seen, outcomes, failed, failures, ignored)

    def _notice_all(
        self, pulls: Iterable[Pull]
    ) -> tuple[int, Mapping[MirrorKey, PullOutcome], Mapping[MirrorKey, Exception]]:
        now, rules = self._clock(), self._rules()
        pulled = _pulled_mirrors(pulls, rules, now)
        unknown = {key: each for key, each in pulled.items() if not self._known.get(key, now)}
        known = self._demands.load(list(unknown)) if unknown else {}
        unknown = {key: each for key, each in unknown.items() if key not in newer_of(known)}
        retriable = self._retriable(known, now)
        outcomes, failed = dict[MirrorKey, PullOutcome](), dict[MirrorKey, Exception]()
        for key, each in unknown.items():
            try:
                outcomes[key] = self._notice(each, known.get(key), rules, now, may_retry=key in retriable)
            except Exception as error:  # noqa: BLE001 - it is returned: not even a defect stops the others
                failed[key] = error
            else:
                is_held = outcomes[key] is PullOutcome.HELD
                self._known.put(key, True, now + (_HELD_FOR if is_held else KNOWN_FOR))
        return len(pulled), outcomes, failed

    def _retriable(self, known: Mapping[MirrorKey, Demand], now: datetime) -> frozenset[MirrorKey]:
        """Name the mirrors for which upstream may be asked again: it did not have them, long enough ago."""
        old = [key for key, demand in known.items() if demand.may_be_asked_again(now)]
        records = self._records.load(old) if old else {}
        return frozenset(key for key in old if is_absent(records.get(key)))

    def _notice(
        self, pulled: _PulledMirror, known: Demand | None, rules: Rules, now: datetime, *, may_retry: bool
    ) -> PullOutcome:
        if known is None and self._is_held(pulled):
            return PullOutcome.HELD
        if known is None or may_retry:
            return self._demand(pulled, known, rules, now)
        if pulled.missing and known.kept:
            self._check(pulled.mirror, now)  # the repository was deleted
        if known.is_to_note(pulled.rule.name, pulled.at):
            noted = known._replace(rule=pulled.rule.name, since=max(known.since, pulled.at))
            # If it was changed meanwhile, another process has noted the pull.
            self._demands.save(noted, known, noted.expires_at(pulled.bounds))
        return PullOutcome.KNOWN

    def _is_held(self, pulled: _PulledMirror) -> bool:
        if pulled.digest is None or pulled.missing:
            return False
        return self._holds_manifest(pulled.mirror.repository, pulled.digest)

    def _demand(self, pulled: _PulledMirror, known: Demand | None, rules: Rules, now: datetime) -> PullOutcome:
        rule = pulled.rule
        if rules.is_inactive(rule.name):
            return PullOutcome.REFUSED
        if not self._is_within_limit(rule, pulled.bounds, now):
            self._alert_limit(pulled, now)
            return PullOutcome.REFUSED
        # The check first: after a crash before the demand is written, there are two checks rather than none.
        self._check(pulled.mirror, now)
        tries = known.tries + 1 if known is not None else 1
        demand = Demand(pulled.mirror.key, rule.name, pulled.at, now, tries)
        self._demands.save(demand, known, demand.expires_at(pulled.bounds))
        return PullOutcome.DEMANDED

    def _check(self, mirror: Mirror, now: datetime) -> None:
        """Queue a check that is never merged: a demand is written once, and this is its check."""
        request = CheckRequest(
            reason="pull", repository=mirror.repository, tags=(mirror.tag,), asked_at=now, settled=True
        )
        self._queue.send([request])

    def _is_within_limit(self, rule: Rule, bounds: OnDemand, now: datetime) -> bool:
        if self._limits_reached.get(rule.name) == (now.date(), bounds.daily_limit):
            return False
        return self._demands.count(rule.name, now.date(), bounds.daily_limit)

    def _alert_limit(self, pulled: _PulledMirror, now: datetime) -> None:
        """Raise the alert that a rule has reached its limit; a process does so once a day."""
        reached = now.date(), pulled.bounds.daily_limit
        if self._limits_reached.get(pulled.rule.name) == reached:
            return

        def change(before: Record | None) -> Record:
            return limit_reached(before, pulled.rule, pulled.mirror.key, now)

        update_record(self._records, rule_key(pulled.rule), change)
        self._limits_reached[pulled.rule.name] = reached


def _comes_with_its_image(tag: str, rule: Rule) -> bool:
    """Whether a tag keeps signatures or the like, which are copied with their image: it is no mirror of its own."""
    return rule.referrers.copies_any and subject_of_tag(tag) is not None


def _pulled_mirrors(pulls: Iterable[Pull], rules: Rules, now: datetime) -> dict[MirrorKey, _PulledMirror]:
    """Find the mirrors on demand among pulls, each once."""
    pulled: dict[MirrorKey, _PulledMirror] = {}
    for pull in pulls:
        for tag, digest in pull.targets.items():
            mirror = rules.find(pull.repository, tag)
            rule = rule_named(mirror.rule, rules) if mirror is not None and mirror.on_demand else None
            if mirror is None or rule is None or rule.on_demand is None or _comes_with_its_image(tag, rule):
                continue
            before = pulled.get(mirror.key)
            at = min(pull.at, now)
            pulled[mirror.key] = _PulledMirror(
                mirror,
                rule,
                rule.on_demand,
                max(at, before.at) if before is not None else at,
                pull.missing or (before is not None and before.missing),
                digest,
            )
    return pulled
