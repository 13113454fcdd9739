"""The local clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from local.clock import LocalClock


def test_advance_moves_every_clock_of_the_file(tmp_path: Path) -> None:
    one, other = LocalClock(tmp_path / "clock"), LocalClock(tmp_path / "clock")
    assert one.offset == timedelta(0)

    one.advance(90)
    other.advance(0.5)

    assert one.offset == other.offset == timedelta(seconds=90.5)
    assert abs(one.now() - datetime.now(UTC) - one.offset) < timedelta(seconds=5)
    assert one.now().tzinfo is UTC


def test_clock_does_not_go_back(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not go back"):
        LocalClock(tmp_path / "clock").advance(-1)


def test_writing_leaves_no_temporary_file(tmp_path: Path) -> None:
    clock = LocalClock(tmp_path / "clock")
    clock.advance(1)
    clock.advance(1)

    assert [path.name for path in tmp_path.iterdir()] == ["clock"]
