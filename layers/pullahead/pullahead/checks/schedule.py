"""Queue checks of the mirrors that are due, and listings of the rules that are due.

Checks are queued with delays: what became due over the time since the last run comes over as long a time, each at the
same moment of its interval, so that registries and functions have an even load. Where more is due than a registry's
rate or the functions allow, as after a change of the rules, the rest comes later. Few checks are queued at once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, NamedTuple

from pullahead.checks.ports import CheckQueue
from pullahead.checks.put_back import LONGEST_SECONDS
from pullahead.checks.timetable import SCHEME, is_due, is_listing_due, last_time
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ListRequest, StartWaitingRequest
from pullahead.mirrors.rule_record import needs_listing
from pullahead.mirrors.store import Heartbeat, RecordStore
from pullahead.rules.model import Rules
from pullahead.rules.named_mirrors import NamedTags
from pullahead.rules.request_rates import Rate, rate_of

_SHARE_OF_RATE: Final = 0.85  # so that what was put back has room; a tenth is for what events ask for
_MESSAGES_A_SECOND: Final = 15  # 100,000 tags, ten of a repository, in less than the five minutes until the next run
_STEP_SECONDS: Final = 5  # of delays: each is a request to SQS for up to ten messages
_LONG_STEP_SECONDS: Final = 20  # where little is due, so that functions get several messages at once
_FEW_TAGS: Final = 500  # at once, of registries without a rate
_CLOCKS_DIFFER: Final = timedelta(minutes=1)


def batches(
    groups: Iterable[NamedTags], size: int, size_of: Mapping[str, int] = MappingProxyType({})
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Group tags by repository into batches of at most `size`, or what `size_of` says of a repository."""
    tags_of = defaultdict[str, list[str]](list)
    for group in groups:
        tags_of[group.repository] += group.tags
    for repository in sorted(tags_of):
        tags = sorted(tags_of[repository])
        most = size_of.get(repository, size)
        for start in range(0, len(tags), most):
            yield repository, tuple(tags[start : start + most])


class Scheduled(NamedTuple):
    """How many mirrors the rules name, how many checks and listings were queued, and problems with the rules that were
    not logged before."""

    mirrors: int
    due: int
    problems: tuple[str, ...] = ()
    listings: int = 0


def schedule_checks(rules: Rules, records: RecordStore, queue: CheckQueue, now: datetime) -> Scheduled:
    """Queue a check of every mirror, and a listing of every rule that selects, that is due since the last heartbeat.

    New rules make everything due, and so does a heartbeat of the future, until which nothing would be. The heartbeat is
    written last: if anything fails, the next run queues the same again.
    """
    heartbeat = records.load_heartbeat()
    is_same = heartbeat is not None and (heartbeat.rules_digest, heartbeat.scheme) == (rules.digest, SCHEME)
    last = heartbeat.at if heartbeat is not None and is_same and heartbeat.at <= now + _CLOCKS_DIFFER else None
    named = rules.named_mirrors.groups
    active = [group for group in named if not rules.is_inactive(group.rule)]
    due = [group for group in active if is_due(group, last, now)]
    hosts = {group.repository: group.upstream.registry for group in due}  # where it has several, one of them
    registries = {group.upstream.registry for group in active}
    rates = {host: rate for host in registries if (rate := _rate_of(host, rules)) is not None}
    sizes = {host: min(MAX_TAGS_PER_CHECK, _at_once(rate)) for host, rate in rates.items()}
    paced = {repository: sizes[host] for repository, host in hosts.items() if host in sizes}
    checks = [
        CheckRequest(reason="schedule", repository=repository, tags=tags, asked_at=now)
        for repository, tags in batches(due, MAX_TAGS_PER_CHECK, paced)
    ]
    listings = [
        ListRequest(rule=rule.name, asked_at=now)
        for rule in rules.rules
        if not rules.is_inactive(rule.name) and needs_listing(rule) and is_listing_due(rule, last, now)
    ]
    later = _by_delay(checks, hosts, rates, _loads(active, rates, last, now), _moments(due, last, now))
    queue.send([*later.pop(0, ()), *listings, StartWaitingRequest()])  # in case the event of an ended refresh was lost
    for delay, some in sorted(later.items()):
        queue.send(some, delay)
    records.save_heartbeat(Heartbeat(now, rules.digest, SCHEME))
    return Scheduled(_count(named), _count(due), listings=len(listings))


class _Load(NamedTuple):
    """What comes due, evenly spread: so many tags over so many seconds, of which `at_once` may come together.

    By what the rules say, not by what is due now: each repository is to keep its place in its interval.
    """

    tags: float
    seconds: float
    at_once: int

    @property
    def is_spread(self) -> bool:
        """Whether checks come at moments of their own."""
        return self.tags > self.at_once

    @property
    def step(self) -> int:
        """The step of delays."""
        few = self.tags * _LONG_STEP_SECONDS <= self.at_once * self.seconds
        return _LONG_STEP_SECONDS if few else _STEP_SECONDS


def _moments(due: Iterable[NamedTags], last: datetime | None, now: datetime) -> Mapping[str, float]:
    """Return how many seconds after the last run each repository became due; none if that was too long ago."""
    if last is None or (now - last).total_seconds() > LONGEST_SECONDS:
        return {}
    return {group.repository: max(0.0, (last_time(group, now) - last).total_seconds()) for group in due}


def _loads(
    groups: Iterable[NamedTags], rates: Mapping[str, Rate], last: datetime | None, now: datetime
) -> Mapping[str, _Load]:
    """Return what comes due of each registry with a rate, and under "" of all others together."""
    seconds = min(LONGEST_SECONDS, (now - last).total_seconds()) if last is not None else LONGEST_SECONDS
    tags = defaultdict[str, float](float)
    for group in groups:
        host = group.upstream.registry
        tags[host if host in rates else ""] += len(group.tags) / group.check_every.total_seconds() * seconds
    return {
        host: _Load(count, seconds, _at_once(rates[host]) if host in rates else _FEW_TAGS)
        for host, count in tags.items()
    }


def _by_delay(
    checks: Sequence[CheckRequest],
    hosts: Mapping[str, str],
    rates: Mapping[str, Rate],
    loads: Mapping[str, _Load],
    moments: Mapping[str, float],
) -> dict[int, list[CheckRequest]]:
    """Group checks by their delay: as long after now as they became due after the last run, or when their registries'
    rates, or the functions, allow them."""
    due = Counter[str]()
    for check in checks:
        due[hosts[check.repository]] += len(check.tags)
    free_at, others, by_delay = defaultdict[str, float](float), 0, defaultdict[int, list[CheckRequest]](list)
    for check in sorted(checks, key=lambda check: moments.get(check.repository, 0.0)):
        host = hosts[check.repository]
        rate, load = rates.get(host), loads[host if host in rates else ""]
        seconds = moments.get(check.repository, 0.0) if load.is_spread else 0.0
        if rate is None:
            others = max(others, int(seconds * _MESSAGES_A_SECOND))
            seconds, others = others / _MESSAGES_A_SECOND, others + 1
        elif load.is_spread or due[host] > rate.burst:
            seconds = max(seconds, free_at[host])
            free_at[host] = seconds + len(check.tags) / (rate.per_second * _SHARE_OF_RATE)
        step = load.step if moments else _STEP_SECONDS
        by_delay[min(LONGEST_SECONDS, int(seconds // step) * step)].append(check)
    return by_delay


def _rate_of(host: str, rules: Rules) -> Rate | None:
    settings = rules.settings_of(host)
    return rate_of(host, settings.rate_limit.requests_per_second if settings is not None else None)


def _at_once(rate: Rate) -> int:
    """Return for how many tags there is a message, so that its rate allows all of them at once."""
    return max(rate.burst, int(rate.per_second * _STEP_SECONDS))


def _count(groups: Iterable[NamedTags]) -> int:
    return sum(len(group.tags) for group in groups)
