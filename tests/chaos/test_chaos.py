"""A short chaos run holds everything; `make chaos` runs a long one."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from tests.chaos.__main__ import text_of
from tests.chaos.run import SHORT, Expectation, Report, run_chaos


@pytest.mark.timeout(240)
def test_everything_is_held_while_everything_around_goes_wrong(tmp_path: Path) -> None:
    report = run_chaos(tmp_path, SHORT, seed=15)
    assert [each for each in report.held if each.findings] == [], text_of(report)
    made = ("records poisoned", "checks repeated and reordered", "calls of ECR that failed", "tags moved")
    assert all(report.done[what] for what in made), text_of(report)


def test_report_names_what_was_not_held() -> None:
    held = (
        Expectation("all is well", ()),
        Expectation("every mirror is FRESH", tuple(f"mirror {number}" for number in range(12))),
    )
    report = Report(7, 61.0, Counter({"functions killed": 3}), held, timedelta(seconds=330))
    assert not report.is_good
    assert report._replace(held=held[:1]).is_good
    lines = text_of(report).splitlines()
    assert "        3  functions killed" in lines
    assert lines[lines.index("  yes  all is well") + 1] == "   NO  every mirror is FRESH"
    assert "         and 2 more" in lines
    assert lines[-1] == "longest lag 330 s, seed 7, 61 s"
