"""Medians and spread: what one slow run may change."""

import msgspec
import pytest

from bench.results import CaseResult, Requests, Run, ToolResult, medians, paired, spread


def run(wall: float, cpu: float = 1.0, rss: float = 20.0, engine: float | None = None) -> Run:
    return Run(wall, cpu, rss, engine)


def test_one_slow_run_does_not_move_the_median() -> None:
    runs = [run(1.0), run(1.1), run(60.0), run(0.9), run(1.2)]

    assert medians(runs).wall_seconds == 1.1
    assert spread(runs) == pytest.approx((60.0 - 0.9) / 1.1)


def test_each_figure_has_its_own_median() -> None:
    figures = medians([run(1.0, cpu=3.0, rss=30.0), run(2.0, cpu=1.0, rss=10.0), run(3.0, cpu=2.0, rss=20.0)])

    assert (figures.wall_seconds, figures.cpu_seconds, figures.peak_rss_mib) == (2.0, 2.0, 20.0)


def test_an_engine_that_once_said_nothing_has_no_median() -> None:
    assert medians([run(1.0, engine=0.8), run(1.0, engine=0.9), run(1.0, engine=0.7)]).engine_seconds == 0.8
    assert medians([run(1.0, engine=0.8), run(1.0)]).engine_seconds is None


def test_the_rate_is_of_the_median() -> None:
    assert medians([run(2.0)]).rate(10_000_000) == 5.0


def test_a_tool_with_a_problem_is_no_peer_and_is_not_found() -> None:
    case = CaseResult(
        "large",
        "",
        1,
        (
            ToolResult("pullahead", (run(1.0),), problem="ended with 1"),
            ToolResult("crane", (run(1.0),), problem="ended with 1"),
            ToolResult("skopeo", (run(1.0),)),
        ),
    )

    assert case.find("pullahead") is None
    assert [peer.tool for peer in case.peers()] == ["skopeo"]


def test_results_of_an_earlier_bench_are_still_read() -> None:
    earlier = {"case": "large", "title": "", "size_bytes": 1, "tools": [], "tags": 1, "floor_seconds": [1.5]}

    read = msgspec.json.decode(msgspec.json.encode(earlier), type=CaseResult)

    assert (read.case, read.bare_loop) == ("large", None)


def test_requests_of_both_sides_add_up() -> None:
    assert Requests(upstream=43, target=87).total == 130


def test_ratio_of_pairs_is_not_moved_by_a_slow_round() -> None:
    assert paired([1.0, 10.0, 1.1], [2.0, 20.0, 2.2]) == pytest.approx(0.5)
