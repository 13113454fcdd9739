"""Streams that do not come through in time, for want of caution."""

from pullahead.refresh.copy_unit import UploadMethodChooser

MB = 1_000_000


def test_large_blob_is_streamed_before_anything_was_measured() -> None:
    roads = UploadMethodChooser()
    assert roads.surely_streams(1 * MB, 10.0)
    assert not roads.surely_streams(20 * MB, 10.0)
    assert roads.surely_streams(20 * MB, 20.0)


def test_whatever_the_size_some_time_is_needed() -> None:
    assert not UploadMethodChooser().surely_streams(1, 1.9)


def test_measured_streams_allow_for_larger_ones_with_threefold_caution() -> None:
    roads = UploadMethodChooser()
    roads.learn(100 * MB, 1.0)
    assert roads.surely_streams(2600 * MB, 80.5)
    assert not roads.surely_streams(2600 * MB, 79.5)


def test_slowest_of_the_last_streams_counts_and_older_ones_do_not() -> None:
    roads = UploadMethodChooser()
    roads.learn(10 * MB, 10.0)
    for _ in range(3):
        roads.learn(100 * MB, 1.0)
    assert not roads.surely_streams(100 * MB, 100.0)
    roads.learn(100 * MB, 1.0)
    assert roads.surely_streams(100 * MB, 100.0)


def test_small_blobs_that_mostly_wait_for_answers_say_nothing() -> None:
    roads = UploadMethodChooser()
    roads.learn(1000, 1.0)
    roads.learn(2 * MB, 0.0)
    assert roads.surely_streams(20 * MB, 20.0)
