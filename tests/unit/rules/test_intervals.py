"""Intervals that registries bear: longer where a rate is exceeded, for that registry alone, and said so."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pullahead.oci import parse_reference
from pullahead.rules.intervals import within_rates
from pullahead.rules.model import Mirror, RateLimit, Rule, Rules, UpstreamSettings
from pullahead.rules.request_rates import rate_of
from pullahead.rules.sources.combine import gather_rules
from pullahead.rules.sources.findings import Findings
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.samples import mirror, rule, rules

QUARTER = timedelta(minutes=15)
BORNE = int(0.5 * 0.8 * QUARTER.total_seconds())  # of docker.io every 15 minutes: 0.5 a second


def tags(count: int, host: str = "docker.io", check_every: timedelta = QUARTER) -> list[Mirror]:
    upstreams = [parse_reference(f"{host}/team/app:{number}") for number in range(count)]
    return [
        mirror(str(number), repository=f"mirror/{host}", check_every=check_every)._replace(upstream=upstream)
        for number, upstream in enumerate(upstreams)
    ]


def choosing(newest: int | None, host: str = "docker.io") -> Rule:
    selection = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),), newest=newest)
    return rule(tags=selection, upstream=f"{host}/team/app")


def interval_of(known: Rules, host: str) -> timedelta:
    (found,) = {each.check_every for each in known.mirrors if each.upstream.repository.registry == host}
    return found


def test_rules_within_the_rates_stay_as_they_are() -> None:
    known = rules([*tags(BORNE), *tags(2 * BORNE, "ghcr.io"), *tags(5000, "registry.example")])
    slowed = within_rates(known)
    assert slowed.rules is known
    assert slowed.notices == ()


def test_tags_of_a_registry_that_does_not_bear_them_are_checked_less_often_and_others_as_before() -> None:
    slowed = within_rates(rules([*tags(5000), *tags(100, "ghcr.io")]))
    assert interval_of(slowed.rules, "docker.io") == QUARTER * 14  # 5.6 a second wanted, 0.4 allowed
    assert interval_of(slowed.rules, "ghcr.io") == QUARTER
    (notice,) = slowed.notices
    assert notice.startswith("docker.io does not allow as many requests as its tags need")
    assert "14 times their intervals" in notice


@pytest.mark.parametrize("count", [BORNE + 1, BORNE + 200, 3 * BORNE, 10_000])
def test_longer_intervals_are_within_the_rate_and_hardly_longer_than_they_must_be(count: int) -> None:
    interval = interval_of(within_rates(rules(tags(count))).rules, "docker.io")
    per_second = count / interval.total_seconds()
    assert 0.75 * 0.4 <= per_second <= 0.4 + 1e-9


def test_few_more_tags_change_no_interval() -> None:
    """A tag that is cached for the first time must not move the times of all others."""
    some = tags(5040)
    intervals = {interval_of(within_rates(rules(some[:count])).rules, "docker.io") for count in range(4960, 5041, 20)}
    assert intervals == {QUARTER * 14}


def test_different_intervals_become_longer_by_one_factor() -> None:
    hourly = tags(4000, check_every=timedelta(hours=1))
    slowed = within_rates(rules([*tags(4000), *hourly])).rules.mirrors
    factors = {
        each.check_every / before.check_every for each, before in zip(slowed, [*tags(4000), *hourly], strict=True)
    }
    assert len(factors) == 1
    assert factors != {1.0}


@pytest.mark.parametrize(("newest", "is_slowed"), [(BORNE + 1, True), (BORNE - 100, False), (None, False)])
def test_tags_that_a_rule_selects_count_as_far_as_it_says_how_many(newest: int | None, *, is_slowed: bool) -> None:
    slowed = within_rates(rules([], "r", choosing(newest)))
    (found,) = slowed.rules.rules
    assert (found.check_every > QUARTER, bool(slowed.notices)) == (is_slowed, is_slowed)
    assert found.mirror("1").check_every == found.check_every


@pytest.mark.parametrize(("per_second", "factor"), [(100.0, 1), (0.25, 11.25)])
def test_rate_that_the_rules_set_counts(per_second: float, factor: float) -> None:
    settings = UpstreamSettings("docker.io", rate_limit=RateLimit(per_second))
    slowed = within_rates(replace(rules(tags(2000)), upstreams=(settings,))).rules
    assert interval_of(slowed, "docker.io") == QUARTER * factor


def test_gathered_rules_are_within_the_rates() -> None:
    gathered = gather_rules(rules(tags(5000)), Findings())
    assert interval_of(gathered.rules, "docker.io") == QUARTER * 14
    assert len(gathered.notices) == 1
    assert gathered.rules.digest == "rules-1"


@pytest.mark.parametrize(
    ("host", "per_second", "expected"),
    [("docker.io", None, (0.5, 50)), ("docker.io", 5.0, (5.0, 5)), ("registry.example", 0.1, (0.1, 1))],
)
def test_rate_is_the_published_one_unless_the_rules_set_one(
    host: str, per_second: float | None, expected: tuple[float, int]
) -> None:
    assert rate_of(host, per_second) == expected


def test_other_registries_have_no_rate() -> None:
    assert rate_of("registry.example", None) is None
