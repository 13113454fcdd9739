"""Whether a stream surely ends within the time left."""

from pullahead.refresh.copy_unit import StreamTimes

MB = 1_000_000


def test_slow_stream_is_assumed_before_one_was_measured() -> None:
    times = StreamTimes()
    assert times.surely_fits(1 * MB, 10.0)
    assert not times.surely_fits(20 * MB, 10.0)
    assert times.surely_fits(20 * MB, 20.0)


def test_two_seconds_are_needed_whatever_the_size() -> None:
    assert not StreamTimes().surely_fits(1, 1.9)


def test_stream_may_be_three_times_slower_than_the_measured_one() -> None:
    times = StreamTimes()
    times.record(100 * MB, 1.0)
    assert times.surely_fits(2600 * MB, 80.5)
    assert not times.surely_fits(2600 * MB, 79.5)


def test_slowest_of_the_last_four_streams_counts() -> None:
    times = StreamTimes()
    times.record(10 * MB, 10.0)
    for _ in range(3):
        times.record(100 * MB, 1.0)
    assert not times.surely_fits(100 * MB, 100.0)
    times.record(100 * MB, 1.0)
    assert times.surely_fits(100 * MB, 100.0)


def test_small_and_instant_streams_are_not_measured() -> None:
    times = StreamTimes()
    times.record(1000, 1.0)
    times.record(2 * MB, 0.0)
    assert times.surely_fits(20 * MB, 20.0)
