"""Turns: a rate after a burst, in the order of asking; a window that gives way and recovers."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pullahead.registry.rate_limits import Slot, TokenBucket, Window
from tests.polling import until
from tests.unit.registry.harness import FakeTime

MOST = 8


def bucket(time: FakeTime, per_second: float = 2.0, burst: int = 3) -> TokenBucket:
    return TokenBucket(per_second, burst, time, time.sleep)


def entered(window: Window) -> Slot:
    """Enter where there must be a place."""
    place = window.enter(0)
    assert place is not None
    return place


class TestTokenBucket:
    def test_request_after_a_burst_waits(self) -> None:
        time = FakeTime()
        paced = bucket(time)
        assert [paced.wait(60) for _ in range(6)] == [None] * 6
        assert time.slept == [0.5, 0.5, 0.5]

    def test_burst_is_restored_after_a_pause(self) -> None:
        time = FakeTime()
        paced = bucket(time)
        for _ in range(3):
            paced.wait(60)
        time.now += 100
        for _ in range(3):
            paced.wait(60)
        assert time.slept == []
        paced.wait(60)
        assert time.slept == [0.5]

    def test_refused_wait_takes_no_turn(self) -> None:
        time = FakeTime()
        paced = bucket(time)
        for _ in range(3):
            paced.wait(0)
        assert [paced.wait(0.4), paced.wait(0.4)] == [0.5, 0.5]
        assert paced.wait(0.5) is None
        assert time.slept == [0.5]

    def test_clock_that_is_set_back_delays_nothing(self) -> None:
        time = FakeTime()
        paced = bucket(time)
        for _ in range(3):
            paced.wait(60)
        time.now -= 500
        paced.wait(60)
        assert time.slept == [0.5]

    def test_turns_are_taken_in_order_without_a_lock(self) -> None:
        """Each waits on its own, for its own turn: none is let go by another's waking up."""
        slept: list[float] = []
        all_asleep = threading.Barrier(4)

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            all_asleep.wait(10)

        paced = TokenBucket(1.0, 1, lambda: 0.0, sleep)
        paced.wait(0)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(paced.wait, [60.0] * 4)) == [None] * 4
        assert sorted(slept) == [1.0, 2.0, 3.0, 4.0]

    @pytest.mark.parametrize(("per_second", "burst"), [(0.0, 1), (-1.0, 1), (1.0, 0)])
    def test_bucket_that_lets_nothing_through_is_refused(self, per_second: float, burst: int) -> None:
        with pytest.raises(ValueError, match="lets nothing through"):
            bucket(FakeTime(), per_second, burst)


class TestWindow:
    def test_no_more_than_the_window_are_under_way(self) -> None:
        window = Window(2)
        first = entered(window)
        entered(window)
        assert window.enter(0.01) is None
        window.leave(first, went_well=None)
        entered(window)

    def test_complaint_halves_the_window(self) -> None:
        window = Window(MOST)
        for size in (4, 2, 1, 1):
            window.leave(entered(window), went_well=False)
            assert window.size == size

    def test_one_storm_of_complaints_halves_once(self) -> None:
        window = Window(MOST)
        places = [entered(window) for _ in range(MOST)]
        for place in places:
            window.leave(place, went_well=False)
        assert window.size == MOST / 2

    def test_window_grows_slowly(self) -> None:
        window = Window(MOST)
        window.leave(entered(window), went_well=False)
        answers = 0
        while window.size < MOST:
            window.leave(entered(window), went_well=True)
            answers += 1
        assert 4 + 5 + 6 + 7 <= answers <= 4 + 5 + 6 + 7 + 4
        for _ in range(50):
            window.leave(entered(window), went_well=True)
        assert window.size == MOST

    def test_broken_connection_does_not_change_the_window(self) -> None:
        window = Window(MOST)
        window.leave(entered(window), went_well=False)
        for _ in range(50):
            window.leave(entered(window), went_well=None)
        assert window.size == MOST / 2

    def test_waiting_requests_start_in_order(self) -> None:
        window = Window(1)
        slot = entered(window)
        order: list[int] = []

        def ask(number: int) -> None:
            place = window.enter(10)
            assert place is not None
            order.append(number)
            window.leave(place, went_well=True)

        with ThreadPoolExecutor(5) as pool:
            for number in range(5):
                pool.submit(ask, number)
                until(lambda wanted=number + 1: len(window._waiting) == wanted, "waiting for a place")  # type: ignore[misc]
            window.leave(slot, went_well=True)
        assert order == [0, 1, 2, 3, 4]

    def test_slot_of_a_cancelled_wait_is_freed(self) -> None:
        window = Window(1)
        slot = entered(window)
        assert window.enter(0.01) is None
        window.leave(slot, went_well=True)
        window.leave(entered(window), went_well=True)
        entered(window)
