"""Intervals of checks that registries bear. Pure.

Where the tags of a registry need more requests than it allows, they are checked less often, all of them alike and each
in its turn; the tags of other registries keep their intervals.
"""

import math
from collections import defaultdict
from dataclasses import replace
from typing import NamedTuple, TypeVar

from pullahead.rules.model import Mirror, RateLimit, Rule, Rules
from pullahead.rules.request_rates import rate_of

_T = TypeVar("_T", Mirror, Rule)


_SHARE = 0.8  # of a rate is for checks; the rest for listings, tokens, and checks that events ask for
_ROUNDING = 1e-9
_STEPS = 4  # of a factor: the same for a few tags more or less, so that times of checks do not move


class WithinRates(NamedTuple):
    """Rules with intervals that registries bear, and a notice for each registry whose intervals are longer."""

    rules: Rules
    notices: tuple[str, ...] = ()


def within_rates(rules: Rules) -> WithinRates:
    """Lengthen the intervals of mirrors, and of rules that select tags, where their registry does not bear them.

    Of the tags that rules select only `newest` says how many there may be.
    """
    factors = _factors(rules)
    if not factors:
        return WithinRates(rules)

    def slow_rule(rule: Rule) -> Rule:
        return _slowed(rule, factors.get(rule.upstream.registry))

    def slow_mirror(mirror: Mirror) -> Mirror:
        return _slowed(mirror, factors.get(mirror.upstream.repository.registry))

    mirrors = rules.named_mirrors.with_changes(slow_rule, slow_mirror)
    slowed = replace(rules, mirrors=mirrors, rules=tuple(map(slow_rule, rules.rules)))
    return WithinRates(slowed, tuple(_notice(host, factor) for host, factor in sorted(factors.items())))


def _factors(rules: Rules) -> dict[str, float]:
    """Return by how much intervals are to be longer, for the hosts where they are."""
    wanted = defaultdict[str, float](float)
    for named in rules.named_mirrors.groups:
        wanted[named.upstream.registry] += len(named.tags) / named.check_every.total_seconds()
    for rule in rules.rules:
        if rule.tags.patterns:
            wanted[rule.upstream.registry] += (1 + (rule.tags.newest or 0)) / rule.check_every.total_seconds()
    factors = {}
    for host, per_second in wanted.items():
        settings = rules.settings_of(host)
        limit = settings.rate_limit if settings is not None else RateLimit()
        rate = rate_of(host, limit.requests_per_second)
        factor = per_second / (rate.per_second * _SHARE) if rate is not None else 0.0
        if factor > 1 + _ROUNDING:
            factors[host] = math.ceil((factor - _ROUNDING) * _STEPS) / _STEPS
    return factors


def _slowed(subject: _T, factor: float | None) -> _T:
    return subject if factor is None else subject._replace(check_every=subject.check_every * factor)


def _notice(host: str, factor: float) -> str:
    return (
        f"{host} does not allow as many requests as its tags need by `check_every`: they are checked in turn, at "
        f"{factor:g} times their intervals. Check them less often, or set `rate_limit.requests_per_second` of {host} "
        "if your account is allowed more."
    )
