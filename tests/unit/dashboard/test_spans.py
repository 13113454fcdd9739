"""Spans: two units at the most, and never a negative one."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from pullahead.dashboard.spans import moment_text, span_text


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
def test_span_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert span_text(timedelta(seconds=seconds)) == text


def test_moment_is_told_in_utc() -> None:
    moment = datetime(2026, 11, 24, 1, 5, tzinfo=timezone(timedelta(hours=2)))
    assert moment_text(moment) == "2026-11-23 23:05 UTC" == moment_text(moment.astimezone(UTC))
