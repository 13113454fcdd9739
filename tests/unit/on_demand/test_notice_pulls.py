"""Pulls: what is new and allowed is checked once; what is known costs a share of a look-up, and is noted once a day."""

from datetime import timedelta

import pytest

from pullahead.messages import CheckRequest
from pullahead.mirrors.demand import Demand
from pullahead.on_demand.notice_pulls import REMEMBERED_FOR
from pullahead.rules.load import load_rules
from tests.fakes.pulls import ALPINE, RULES, Pulls


def test_first_pull_is_remembered_and_checked_at_once() -> None:
    pulls = Pulls()
    noticed = pulls.pull(ALPINE)
    now = pulls.clock()
    assert (noticed.seen, noticed.demanded, noticed.failures) == (1, (ALPINE,), {})
    assert pulls.queue.sent == [CheckRequest("pull", "mirror/hub/library/alpine", ("3.20",), now, settled=True)]
    assert pulls.stored() == Demand(ALPINE, "hub", now, now)
    assert pulls.demands.expiries[ALPINE] > now + timedelta(days=30)


def test_image_that_docker_pulls_by_head_and_get_is_demanded_once() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE, ALPINE, ALPINE)
    pulls.start()
    pulls.pull(ALPINE)
    assert pulls.sent == [str(ALPINE)]
    assert (pulls.script.count("count_demand"), pulls.script.count("save_demand")) == (1, 1)


def test_known_pull_is_one_look_up_and_nothing_more() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE)
    pulls.start()
    pulls.script.calls.clear()
    assert pulls.pull(ALPINE, ALPINE).demanded == ()
    assert pulls.script.calls == ["load_demands"]


def test_process_that_saw_a_pull_does_not_even_look_for_a_while() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE)
    pulls.script.calls.clear()
    assert pulls.pull(ALPINE).seen == 1
    assert pulls.script.calls == []
    pulls.clock.now += REMEMBERED_FOR
    pulls.pull(ALPINE)
    assert pulls.script.calls == ["load_demands"]


@pytest.mark.parametrize(
    "name",
    [
        "mirror/hub/library/docker:28",  # denied
        "mirror/hub/library/alpine:3.21-rc1",  # denied by its tag
        "mirror/hub/grafana/grafana:9",  # another tag than is allowed
        "mirror/hub/evil/miner:latest",  # not allowed
        "mirror/other/library/alpine:3.20",  # of no rule
        "mirror/hub/library/own:1.0",  # named by another rule
    ],
)
def test_what_no_rule_on_demand_allows_costs_nothing(name: str) -> None:
    pulls = Pulls()
    assert pulls.pull(name).seen == 0
    assert pulls.script.calls == []


def test_own_pulls_and_garbage_cost_nothing() -> None:
    pulls = Pulls()
    noticed = pulls.notice({"a": pulls.message(str(ALPINE), role="ours"), "b": "{", "c": "null"})
    assert (noticed.seen, len(noticed.ignored), noticed.failures) == (0, 3, {})
    assert pulls.script.calls == []


def test_ten_thousand_pulls_of_known_mirrors_are_no_check_and_a_look_up_for_each_hundred() -> None:
    pulls = Pulls()
    pulls.raise_limit(10_000)
    names = [f"mirror/hub/library/app:{number}" for number in range(1000)]
    for batch in _hundreds(names):
        pulls.pull(*batch)
    assert len(pulls.sent) == 1000
    pulls.script.calls.clear()
    for number in range(10):
        pulls.clock.now += REMEMBERED_FOR
        if number == 5:
            pulls.start()
        for batch in _hundreds(names):
            pulls.pull(*batch)
    assert len(pulls.sent) == 1000
    assert pulls.script.calls == ["load_demands"] * 100


def _hundreds(names: list[str]) -> list[list[str]]:
    return [names[start : start + 100] for start in range(0, len(names), 100)]


class TestNoting:
    def test_pull_is_noted_once_a_day(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        first = pulls.clock()
        for _ in range(48):
            pulls.clock.advance(hours=1)
            pulls.pull(ALPINE)
        assert pulls.stored().since == first + timedelta(days=2)
        assert pulls.script.count("save_demand") == 3
        assert pulls.sent == [str(ALPINE)]

    def test_late_message_does_not_set_the_last_pull_back(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.clock.advance(days=2)
        pulls.pull(ALPINE)
        noted = pulls.stored()
        pulls.start()
        pulls.pull(ALPINE, at=pulls.clock() - timedelta(days=1))
        assert pulls.stored() == noted

    def test_clock_that_is_ahead_gives_no_longer_life(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE, at=pulls.clock() + timedelta(days=900))
        assert pulls.stored().since == pulls.clock()

    def test_rule_that_got_another_name_takes_the_demand_over(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.rules = load_rules(RULES.replace("name: hub", "name: docker"), source="rules.yaml")
        pulls.start()
        assert pulls.pull(ALPINE, at=pulls.clock() - timedelta(hours=3)).demanded == ()
        assert (pulls.stored().rule, pulls.stored().since) == ("docker", pulls.clock())
        assert pulls.sent == [str(ALPINE)]

    def test_somebody_who_noted_it_at_the_same_moment_is_right(self) -> None:
        pulls = Pulls()
        pulls.pull(ALPINE)
        pulls.clock.advance(days=2)
        pulls.start()
        theirs = pulls.stored()._replace(since=pulls.clock(), kept=True)
        pulls.script.before("save_demand", lambda: pulls.demands.stored.update({ALPINE: theirs}))
        assert pulls.pull(ALPINE).failures == {}
        assert pulls.stored() == theirs


def test_pull_of_a_kept_mirror_reads_no_record_however_old_the_demand_is() -> None:
    pulls = Pulls()
    pulls.pull(ALPINE)
    pulls.demands.stored[ALPINE] = pulls.stored()._replace(kept=True)
    pulls.clock.advance(hours=23)
    pulls.script.calls.clear()
    pulls.pull(ALPINE)
    assert pulls.script.calls == ["load_demands"]
