"""The simulation, in seconds: what it promises of many tags holds for a few, and it can tell when it does not."""

from dataclasses import replace

import pytest

from bench.simulate.__main__ import missed_goals
from bench.simulate.page import plot, table, totals
from bench.simulate.scenarios import HUB, OTHER, PRIVATE, Result, Scenario, simulate, six_hosts
from bench.simulate.service import Settings
from bench.simulate.world import Fault

TAGS = 1_000


@pytest.fixture(scope="module")
def steady() -> Result:
    return simulate(Scenario("steady", TAGS, six_hosts()))


def test_every_tag_is_checked_within_its_interval_and_a_minute(steady: Result) -> None:
    assert missed_goals([steady]) == []
    for host in steady.hosts:
        assert host.checked == host.tags
        assert host.age_p99 <= host.check_every + 60


def test_check_costs_one_head_a_tag_and_interval(steady: Result) -> None:
    by_events = steady.scenario.moves_a_day * steady.scenario.by_event
    for host in steady.hosts:
        intervals = steady.used.seconds / host.check_every
        assert host.tags * (intervals - 1) <= host.heads <= host.tags * (intervals + 1 + by_events)


def test_cost_is_about_that_of_the_documented_table(steady: Result) -> None:
    assert 0.5 <= steady.usd_per_thousand <= 1.5
    assert steady.usd_per_thousand + 2.5 <= steady.usd_with_trail <= 7.0
    repositories, hours = TAGS / 10, steady.used.seconds / 3600
    assert 2.0 <= steady.used.describe_images / repositories / hours <= 3.0  # twice an hour, and what moves


def test_tags_that_are_asked_about_too_often_are_noticed(steady: Result) -> None:
    (missed,) = missed_goals([steady._replace(usd_with_trail=7.01)])
    assert missed == "steady, 1,000 tags: 7.01 USD for 1,000 tags with a second trail"


def test_tags_of_a_dead_registry_hold_up_no_others(steady: Result) -> None:
    dead = simulate(Scenario("dead", TAGS, six_hosts(other=(Fault("dead", 1800, 5400),))))
    before = {host.host: host for host in steady.hosts}
    for host in dead.hosts:
        if host.host == OTHER:
            assert host.heads == 0
        else:
            assert host.age_p99 <= 1.1 * before[host.host].age_p99


def test_registry_that_allows_too_little_has_all_tags_in_turn() -> None:
    hosts = tuple(host for host in six_hosts() if host.name in (PRIVATE, HUB))
    result = simulate(Scenario("hub", 3_000, hosts, until=2 * 3600, measured_from=0.0, moves_a_day=0.0))
    (hub,) = (host for host in result.hosts if host.host == HUB)
    used_of_limit = hub.heads / (result.used.seconds * 0.5)
    assert used_of_limit <= 1.01
    assert hub.most_checks - hub.fewest_checks <= 2 * 3600 / hub.check_every + 1


def test_first_deployment_is_finished_with_as_many_refreshes_at_once_as_are_allowed() -> None:
    result = simulate(Scenario("first", 300, six_hosts(), 3600.0, 0.0, begins_fresh=False, moves_a_day=0.0))
    assert result.left == 0
    assert 300 <= result.used.refreshes <= 330  # some run twice, as they are asked for while they end
    assert result.finished is not None
    assert result.finished >= 300 * 25 / 20 * 0.8  # twenty at once, of 25 seconds


def test_too_few_functions_are_noticed() -> None:
    slow = tuple(host for host in six_hosts() if host.name == PRIVATE)
    hosts = (replace(slow[0], share=1.0, latency=3.0),)
    result = simulate(Scenario("slow", TAGS * 3, hosts, settings=Settings(concurrency=1)))
    assert missed_goals([result]) != []


def test_page_has_every_scenario_and_host(steady: Result) -> None:
    assert table([steady]).count("\n") == 1 + len(steady.hosts)
    assert totals([steady]).count("| steady |") == 1
    assert plot([steady]).count("<rect") == 2 + len(steady.hosts)
