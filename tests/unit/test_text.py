"""Texts for people: one safe line, sizes, counts, durations and moments."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pullahead.text import count_text, moment_text, one_line, public_text, rate_text, size_text, span_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (119, "1 min"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (86399, "23 h 59 min"),
        (86400, "1 d"),
        (86400 + 3599, "1 d"),
        (90000, "1 d 1 h"),
        (400 * 86400, "400 d"),
    ],
)
def test_span_has_at_most_two_units(seconds: float, text: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == text


def test_moment_is_written_in_utc() -> None:
    moment = datetime(2026, 11, 24, 1, 5, tzinfo=timezone(timedelta(hours=2)))
    assert moment_text(moment) == "2026-11-23 23:05 UTC" == moment_text(moment.astimezone(UTC))


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**3 * 50, "50.0 GiB"), (1024**6, "1024.0 PiB")],
)
def test_size_has_the_largest_unit_of_which_there_is_one(size: int, text: str) -> None:
    assert size_text(size) == text


def test_rate_without_time_is_zero() -> None:
    assert rate_text(1000, 0.0) == "0.0 MB/s"
    assert rate_text(3_200_000, 2.0) == "1.6 MB/s"


def test_noun_of_a_count_has_its_number() -> None:
    assert (count_text(1, "blob"), count_text(0, "blob")) == ("1 blob", "0 blobs")


def test_characters_that_steer_a_terminal_become_spaces() -> None:
    assert one_line("a\x1b[2J\nb\x9bc\u202ed ") == "a [2J b c d"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n b\tc", "a b c"),
        ("a\u202eb\x00c", "a b c"),
        ("x" * 20, "x" * 20),
        ("x" * 21, "x" * 19 + "…"),
        ("\n" * 1000 + "x", "…"),
    ],
)
def test_line_is_cut_at_its_maximum_length(text: str, line: str) -> None:
    assert one_line(text, 20) == line


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("get of https://h/x?X-Amz-Signature=abc failed", "get of https://h/x failed"),
        ("HTTPS://h/x?X-Amz-Signature=abc", "HTTPS://h/x"),
        ("Http://user:password@h/x#part", "Http://h/x"),
        ("https://user:password@h/", "https://h/"),
    ],
)
def test_logins_and_queries_of_urls_are_left_out(text: str, public: str) -> None:
    assert public_text(text) == public
