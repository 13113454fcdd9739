"""Queue checks of the mirrors that are due, and listings of the rules that are due.

Many checks are queued with delays: those of a registry with a rate come as its rate allows, and all together as the
functions can handle them. As the same tags are due together, each still comes at the same moment of its interval.
Without that all would come at once: most of a paced registry's would be put back again and again, and checks that
events ask for would wait behind those of the schedule.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from pullahead.checks.ports import CheckQueue
from pullahead.checks.put_back import LONGEST_SECONDS
from pullahead.checks.timetable import SCHEME, is_due, is_listing_due
from pullahead.messages import MAX_TAGS_PER_CHECK, CheckRequest, ListRequest, StartWaitingRequest
from pullahead.mirrors.rule_record import needs_listing
from pullahead.mirrors.store import Heartbeat, RecordStore
from pullahead.rules.model import Rules
from pullahead.rules.named_mirrors import NamedTags
from pullahead.rules.request_rates import Rate, rate_of

_SHARE_OF_RATE: Final = 0.9  # so that what was put back, and what events ask for, has room
_MESSAGES_A_SECOND: Final = 15  # 100,000 tags, ten of a repository, in less than the five minutes until the next run
_STEP_SECONDS: Final = 5  # of delays: each is a request to SQS for up to ten messages


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

    New rules make everything due. The heartbeat is written last: if anything fails, the next run queues the same again.
    """
    heartbeat = records.load_heartbeat()
    is_same = heartbeat is not None and (heartbeat.rules_digest, heartbeat.scheme) == (rules.digest, SCHEME)
    last = heartbeat.at if heartbeat is not None and is_same else None
    named = rules.named_mirrors.groups
    due = [group for group in named if not rules.is_inactive(group.rule) and is_due(group, last, now)]
    hosts = {group.repository: group.upstream.registry for group in due}  # where it has several, one of them
    rates = {host: rate for host in set(hosts.values()) if (rate := _rate_of(host, rules)) is not None}
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
    later = _by_delay(checks, hosts, rates)
    queue.send([*later.pop(0, ()), *listings, StartWaitingRequest()])  # in case the event of an ended refresh was lost
    for delay, some in sorted(later.items()):
        queue.send(some, delay)
    records.save_heartbeat(Heartbeat(now, rules.digest, SCHEME))
    return Scheduled(_count(named), _count(due), listings=len(listings))


def _by_delay(
    checks: Sequence[CheckRequest], hosts: Mapping[str, str], rates: Mapping[str, Rate]
) -> dict[int, list[CheckRequest]]:
    """Group checks by the delay that the rates of their registries ask for."""
    due = Counter[str]()
    for check in checks:
        due[hosts[check.repository]] += len(check.tags)
    seconds_of, others, by_delay = defaultdict[str, float](float), 0, defaultdict[int, list[CheckRequest]](list)
    for check in checks:
        host = hosts[check.repository]
        rate = rates.get(host)
        if rate is not None and due[host] <= rate.burst:  # all may go at once
            seconds = 0.0
        elif rate is None:
            seconds, others = others / _MESSAGES_A_SECOND, others + 1
        else:
            seconds = seconds_of[host]
            seconds_of[host] += len(check.tags) / (rate.per_second * _SHARE_OF_RATE)
        by_delay[min(LONGEST_SECONDS, int(seconds // _STEP_SECONDS) * _STEP_SECONDS)].append(check)
    return by_delay


def _rate_of(host: str, rules: Rules) -> Rate | None:
    settings = rules.settings_of(host)
    return rate_of(host, settings.rate_limit.requests_per_second if settings is not None else None)


def _at_once(rate: Rate) -> int:
    """Return for how many tags there is a message, so that its rate allows all of them at once."""
    return max(rate.burst, int(rate.per_second * _STEP_SECONDS))


def _count(groups: Iterable[NamedTags]) -> int:
    return sum(len(group.tags) for group in groups)
