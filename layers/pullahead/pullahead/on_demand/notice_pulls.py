"""Notice what is pulled from ECR: what a rule on demand allows and nobody demanded yet is checked, and so fetched.

A pull of what is known costs a share of one look-up, and once a day a write; a process that saw it a moment ago does
not even look. What no rule allows costs nothing but the event. Nothing here asks an upstream.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pullahead.checks.ports import CheckQueue
from pullahead.clock import Clock
from pullahead.messages import CheckRequest
from pullahead.mirrors.demand import Demand, is_absent
from pullahead.mirrors.record import Record
from pullahead.mirrors.rule_record import limit_reached, rule_key
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.on_demand.cloudtrail import IgnoredPull, Pull, read_pull
from pullahead.on_demand.ports import DemandStore
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, OnDemand, Rule, Rules, rule_named

REMEMBERED_FOR = timedelta(minutes=5)
_MAX_REMEMBERED = 20_000


class PullOutcome(StrEnum):
    """What became of a pull."""

    KNOWN = "known"
    DEMANDED = "demanded"
    REFUSED = "refused"  # more new mirrors than the rule allows a day, or the rule is paused


class NoticedPulls(NamedTuple):
    """What a batch of messages came to, by mirror. `seen`: mirrors that rules on demand allow, also those of which this
    process knew; `failed`: why a mirror's pulls could not be noticed; `failures`: the same by message; `ignored`: why
    others mean nothing.
    """

    seen: int
    outcomes: Mapping[MirrorKey, PullOutcome]
    failed: Mapping[MirrorKey, Exception]
    failures: Mapping[str, Exception]
    ignored: tuple[str, ...]

    @property
    def demanded(self) -> tuple[MirrorKey, ...]:
        """The mirrors that are fetched now."""
        return tuple(key for key, outcome in self.outcomes.items() if outcome is PullOutcome.DEMANDED)

    @property
    def refused(self) -> tuple[MirrorKey, ...]:
        """The mirrors that are not fetched today."""
        return tuple(key for key, outcome in self.outcomes.items() if outcome is PullOutcome.REFUSED)


class _Wanted(NamedTuple):
    mirror: Mirror
    rule: Rule
    bounds: OnDemand
    at: datetime
    missing: bool


class NoticePulls:
    """The use case, with what it looks through and writes, and what this process saw a moment ago."""

    def __init__(
        self,
        rules: Callable[[], Rules],
        demands: DemandStore,
        records: RecordStore,
        queue: CheckQueue,
        clock: Clock,
        own_roles: Collection[str] = (),
    ) -> None:
        self._rules, self._demands, self._records = rules, demands, records
        self._queue, self._clock, self._own_roles = queue, clock, own_roles
        self._seen: dict[MirrorKey, datetime] = {}
        self._used_up: dict[str, tuple[date, int]] = {}  # by rule: the day, and the limit that was reached

    def __call__(self, messages: Mapping[str, str]) -> NoticedPulls:
        """Notice what messages tell, by their identifiers.

        Raises: ConfigError; StorageError where nothing could be looked up, so that all are to come back.
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
        wanted = _wanted(pulls, rules, now)
        unseen = {key: each for key, each in wanted.items() if self._seen.get(key, now) <= now}
        known = self._demands.load(list(unseen)) if unseen else {}
        absent = self._absent(known, now)
        outcomes, failed = dict[MirrorKey, PullOutcome](), dict[MirrorKey, Exception]()
        for key, each in unseen.items():
            try:
                outcomes[key] = self._notice(each, known.get(key), rules, now, may_ask=key in absent)
            except Exception as error:  # noqa: BLE001 - it is returned: a defect, too, holds up no other mirror
                failed[key] = error
            else:
                self._remember(key, now)
        return len(wanted), outcomes, failed

    def _absent(self, known: Mapping[MirrorKey, Demand], now: datetime) -> frozenset[MirrorKey]:
        """Name what upstream may be asked for once more, since it had nothing when it was asked, long enough ago."""
        old = [key for key, demand in known.items() if demand.may_be_asked_again(now)]
        records = self._records.load(old) if old else {}
        return frozenset(key for key in old if is_absent(records.get(key)))

    def _notice(
        self, wanted: _Wanted, known: Demand | None, rules: Rules, now: datetime, *, may_ask: bool
    ) -> PullOutcome:
        if known is None or may_ask:
            return self._demand(wanted, known, rules, now)
        if wanted.missing and known.kept:
            self._check(wanted.mirror, now)  # somebody removed the repository
        if known.is_to_note(wanted.rule.name, wanted.at):
            noted = known._replace(rule=wanted.rule.name, since=max(known.since, wanted.at))
            # Where it has changed meanwhile, somebody else has noted it.
            self._demands.save(noted, known, noted.expires_at(wanted.bounds))
        return PullOutcome.KNOWN

    def _demand(self, wanted: _Wanted, known: Demand | None, rules: Rules, now: datetime) -> PullOutcome:
        rule = wanted.rule
        if rule.name in rules.paused:
            return PullOutcome.REFUSED
        if not self._is_within_limit(rule, wanted.bounds, now):
            self._tell_limit(wanted, now)
            return PullOutcome.REFUSED
        # The check first: a crash before the demand is written asks twice, rather than never.
        self._check(wanted.mirror, now)
        tries = known.tries + 1 if known is not None else 1
        demand = Demand(wanted.mirror.key, rule.name, wanted.at, now, tries)
        self._demands.save(demand, known, demand.expires_at(wanted.bounds))
        return PullOutcome.DEMANDED

    def _check(self, mirror: Mirror, now: datetime) -> None:
        """Ask for a check that nothing merges: a demand is written once, and this is what it is for."""
        request = CheckRequest(
            reason="pull", repository=mirror.repository, tags=(mirror.tag,), asked_at=now, settled=True
        )
        self._queue.send([request])

    def _is_within_limit(self, rule: Rule, bounds: OnDemand, now: datetime) -> bool:
        if self._used_up.get(rule.name) == (now.date(), bounds.daily_limit):
            return False
        return self._demands.count(rule.name, now.date(), bounds.daily_limit)

    def _tell_limit(self, wanted: _Wanted, now: datetime) -> None:
        """Let it be told that a rule's limit is reached; this process does so once a day."""
        reached = now.date(), wanted.bounds.daily_limit
        if self._used_up.get(wanted.rule.name) == reached:
            return

        def change(before: Record | None) -> Record:
            return limit_reached(before, wanted.rule, wanted.mirror.key, now)

        update_record(self._records, rule_key(wanted.rule), change)
        self._used_up[wanted.rule.name] = reached

    def _remember(self, key: MirrorKey, now: datetime) -> None:
        if len(self._seen) >= _MAX_REMEMBERED:
            self._seen.clear()
        self._seen[key] = now + REMEMBERED_FOR


def _wanted(pulls: Iterable[Pull], rules: Rules, now: datetime) -> dict[MirrorKey, _Wanted]:
    """Find the mirrors on demand among what was pulled, each once."""
    wanted: dict[MirrorKey, _Wanted] = {}
    for pull in pulls:
        for tag in pull.tags:
            mirror = rules.find(pull.repository, tag)
            rule = rule_named(mirror.rule, rules) if mirror is not None and mirror.on_demand else None
            if mirror is None or rule is None or rule.on_demand is None:
                continue
            before = wanted.get(mirror.key)
            at = min(pull.at, now)
            wanted[mirror.key] = _Wanted(
                mirror,
                rule,
                rule.on_demand,
                max(at, before.at) if before is not None else at,
                pull.missing or (before is not None and before.missing),
            )
    return wanted
