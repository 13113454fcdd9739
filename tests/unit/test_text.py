"""One safe line, time spans and times, as people read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pullahead.text import moment_text, one_line, span_text


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
def test_span_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == text


def test_time_is_in_utc() -> None:
    moment = datetime(2026, 11, 24, 1, 5, tzinfo=timezone(timedelta(hours=2)))
    assert moment_text(moment) == "2026-11-23 23:05 UTC" == moment_text(moment.astimezone(UTC))


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
def test_line_is_short_and_printable(text: str, line: str) -> None:
    assert one_line(text, 20) == line
