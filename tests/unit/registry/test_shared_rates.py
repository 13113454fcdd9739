"""Rates that processes share: all together keep to them, with few writes; without the table each has a part."""

from collections import Counter

import pytest

from pullahead.errors import StorageError
from pullahead.registry.shared_rates import Requests, SharedRate, Window, window_of
from pullahead.rules.request_rates import PUBLISHED_RATES, Rate
from tests.architecture.sam_template import real_template
from tests.unit.registry.harness import FakeTime

HOST = "registry.example"


class Table:
    """Counts what was taken of each window, and the writes."""

    def __init__(self) -> None:
        self.taken = Counter[tuple[str, Window]]()
        self.writes = 0
        self.is_down = False

    def take(self, host: str, window: Window) -> int:
        self.writes += 1
        if self.is_down:
            raise StorageError("503")
        left = window.requests - self.taken[host, window]
        self.taken[host, window] += window.part
        return max(0, min(window.part, left))


class Processes:
    """Five processes that send as many requests as they may, by the schedule and by events."""

    def __init__(self, rate: Rate) -> None:
        self.time, self.table = FakeTime(), Table()
        self.rates = [SharedRate(HOST, rate, self.table.take, self.time, self.time.sleep) for _ in range(5)]
        self.sent: list[float] = []

    def send_until(
        self, seconds: float, *, processes: int = 5, step: float = 0.5, by_event: tuple[bool, ...] = (False, True)
    ) -> None:
        while self.time() < seconds:
            for rate in self.rates[:processes]:
                for kind in by_event:
                    while rate.wait(0.0, by_event=kind) is None:
                        self.sent.append(self.time())
            self.time.now += step


@pytest.mark.parametrize("rate", [*PUBLISHED_RATES.values(), Rate(0.1, 1), Rate(100.0, 100)])
def test_all_processes_together_keep_to_the_rate_and_use_it(rate: Rate) -> None:
    both = Processes(rate)
    begun, seconds = both.time(), 20 * window_of(rate, 0).seconds
    both.send_until(begun + seconds)
    allowed = rate.per_second * seconds
    assert 0.9 * allowed <= len(both.sent) <= allowed + window_of(rate, 0).requests


@pytest.mark.parametrize("processes", [1, 5])
def test_however_many_processes_ask_all_of_the_rate_is_used(processes: int) -> None:
    both = Processes(Rate(20.0, 40))
    begun = both.time()
    both.send_until(begun + 100, processes=processes)
    assert 1900 <= len(both.sent) <= 2100


def test_write_is_for_many_requests_and_none_is_made_while_the_rate_is_used_up() -> None:
    both = Processes(Rate(20.0, 40))
    both.send_until(both.time() + 100, step=0.01)
    windows = len({window.number for _, window in both.table.taken})
    assert both.table.writes <= windows * (
        23 + 3 * 5
    )  # twenty parts, three smaller ones, and refusals for each process


def test_refusal_says_when_the_next_window_begins() -> None:
    both = Processes(Rate(1.0, 5))
    both.time.now = 1000.0
    (one, *_) = both.rates
    assert [one.wait(0.0) for _ in range(9)] == [None] * 9
    assert one.wait(0.0) == 10.0
    both.time.now += 2
    assert one.wait(7.9) == 8.0
    assert one.wait(8.0) is None
    assert both.time() == 1010.0


def test_what_a_process_took_and_did_not_send_is_sent_in_the_next_window_or_never() -> None:
    both = Processes(Rate(1.0, 10))
    both.time.now = 1000.0
    for seconds, writes in ((0, 1), (10, 1), (20, 2)):
        assert both.rates[0].wait(0.0) is None
        both.time.now += seconds
        assert both.table.writes == writes
    assert both.rates[0].wait(0.0) is None
    assert both.table.writes == 3  # a whole window lies between


@pytest.mark.parametrize("back", [0.2, 3600.0])
def test_what_was_taken_is_sent_though_the_clock_is_set_back(back: float) -> None:
    alone = Processes(Rate(30.0, 30))
    rate = alone.rates[0]
    begun = alone.time.now = window_of(Rate(30.0, 30), alone.time()).ends_at
    assert rate.wait(0.0) is None
    written = alone.table.writes
    alone.time.now = begun - back
    sent = sum(rate.wait(0.0) is None for _ in range(5))
    assert sent == 5
    assert alone.table.writes == (written if back < 1 else written + 1)


class TestEvents:
    """Events have a part of each window that the schedule cannot take, and the other way round."""

    @pytest.mark.parametrize("rate", [*PUBLISHED_RATES.values(), Rate(0.1, 1), Rate(100.0, 100)])
    def test_event_is_let_through_in_a_window_that_the_schedule_has_used_up(self, rate: Rate) -> None:
        both = Processes(rate)
        both.send_until(both.time() + 0.5, by_event=(False,))
        assert all(each.wait(0.0) is not None for each in both.rates)
        assert any(each.wait(0.0, by_event=True) is None for each in both.rates)

    @pytest.mark.parametrize("rate", [*PUBLISHED_RATES.values(), Rate(0.1, 1), Rate(100.0, 100)])
    def test_flood_of_events_takes_half_of_the_rate_at_most_however_early_it_comes(self, rate: Rate) -> None:
        both = Processes(rate)
        seconds = 20 * window_of(rate, 0).seconds
        begun, sent = both.time(), dict.fromkeys((True, False), 0)
        while both.time() < begun + seconds:
            for kind in (True, False):
                for each in both.rates:
                    while each.wait(0.0, by_event=kind) is None:
                        sent[kind] += 1
            both.time.now += 0.5
        assert sent[True] <= 0.6 * rate.per_second * seconds
        assert sent[False] >= 0.4 * rate.per_second * seconds

    @pytest.mark.parametrize("rate", [*PUBLISHED_RATES.values(), Rate(0.1, 1), Rate(100.0, 100)])
    def test_each_process_sends_for_an_event_in_a_window_that_the_schedule_has_used_up(self, rate: Rate) -> None:
        both = Processes(rate)
        events = window_of(rate, both.time()).for_some(Requests.EVENTS).requests
        both.send_until(both.time() + 0.5, by_event=(False,))
        let_through = [each.wait(0.0, by_event=True) is None for each in both.rates]
        assert sum(let_through) == min(5, events)

    @pytest.mark.parametrize("rate", [*PUBLISHED_RATES.values(), Rate(0.1, 1), Rate(100.0, 100)])
    def test_parts_of_a_window_are_the_whole_window(self, rate: Rate) -> None:
        window = window_of(rate, 0)
        parts = [window.for_some(of) for of in Requests]
        assert sum(part.requests for part in parts) == window.requests
        assert sum(part.share for part in parts) == window.share
        assert [part.part for part in parts] == [
            part.share if part.of is Requests.EVENTS else window.part for part in parts
        ]


def test_without_the_table_each_process_has_its_part() -> None:
    both = Processes(Rate(20.0, 40))
    both.table.is_down = True
    begun = both.time()
    both.send_until(begun + 100)
    assert 1900 <= len(both.sent) <= 2100
    assert both.table.writes <= 5 * 3 * 21


def test_shares_are_as_many_as_the_template_has_processes_that_check() -> None:
    (event,) = real_template().resources("AWS::Serverless::Function")["CheckFreshnessFunction"]["Events"].values()
    window = window_of(Rate(20.0, 40), 0)
    assert window.share * event["Properties"]["ScalingConfig"]["MaximumConcurrency"] == window.requests
