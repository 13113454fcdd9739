"""What a size of Lambda costs, and where docs/operating.md says it."""

import pytest

from bench import lambda_table
from bench.results import LambdaResult, Sent, SizeResult
from bench.tests.samples import machine

SIZES = LambdaResult(
    150_000_000,
    "a control group",
    (
        SizeResult(1024, 0.58, "streamed", (Sent(1.0, 0.5, 60.0), Sent(2.0, 0.5, 61.0), Sent(1.0, 0.5, 62.0))),
        SizeResult(1024, 0.58, "parts", problem="it stood still"),
    ),
)


def test_a_terabyte_costs_the_seconds_that_it_takes() -> None:
    assert lambda_table.usd_per_terabyte(1024, 1000.0) == pytest.approx(1000 * 0.0000133334)
    assert lambda_table.usd_per_terabyte(512, 500.0) == pytest.approx(1000 * 0.0000133334)


def test_a_row_holds_medians_and_a_size_that_failed_its_reason() -> None:
    head, _, streamed, parts = lambda_table.lambda_table(SIZES).splitlines()

    assert streamed == "| 1,024 | 0.58 | streamed | 150 | 0.089 | 3.58 | 61 |"
    assert "not measured: it stood still" in parts
    assert {line.count("|") for line in (head, streamed, parts)} == {8}


def test_page_has_a_place_for_the_table() -> None:
    page = lambda_table.PAGE.read_text(encoding="utf-8")
    written = lambda_table.with_table(page, SIZES, machine())

    assert "| 1,024 | 0.58 | streamed | 150 |" in written
    assert "2 x a CPU" in written
    assert lambda_table.with_table(written, SIZES, machine()) == written
