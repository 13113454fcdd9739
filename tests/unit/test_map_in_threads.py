"""Calling a function for many arguments, a few at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pullahead.map_in_threads import AT_ONCE, map_in_threads

PATIENCE_SECONDS = 20


def test_results_come_in_the_order_of_the_arguments() -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(map_in_threads(pool, str, range(20))) == [str(number) for number in range(20)]


def test_a_few_arguments_are_called_at_once() -> None:
    met = threading.Barrier(AT_ONCE, timeout=PATIENCE_SECONDS)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert len(list(map_in_threads(pool, lambda _: met.wait(), range(AT_ONCE)))) == AT_ONCE


def test_no_more_arguments_are_begun_before_the_results_are_taken() -> None:
    called = list[int]()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = map_in_threads(pool, called.append, range(AT_ONCE * 3))
        for _ in range(AT_ONCE):
            next(results)
        assert sorted(called) == list(range(AT_ONCE))


def test_error_is_raised_in_the_place_of_its_result() -> None:
    def call(number: int) -> int:
        if number == 3:
            raise ValueError(number)
        return number

    taken = list[int]()
    with ThreadPoolExecutor(AT_ONCE) as pool, pytest.raises(ValueError, match="3"):
        taken.extend(map_in_threads(pool, call, range(AT_ONCE)))
    assert taken == [0, 1, 2]


def test_single_argument_takes_no_thread() -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert list(map_in_threads(pool, lambda _: threading.get_ident(), [1])) == [threading.get_ident()]
