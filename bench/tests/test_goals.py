"""The verdicts: which peer is the measure, where the line is, and what is not measured."""

import pytest

from bench.goals import ROADS, Verdict, judge
from bench.results import CaseResult, Machine, Requests, Results, RoadResult, Run, ToolResult

MACHINE = Machine("2026-01-05 10:00 UTC", "2 x a CPU", "6.1", 16, "a RAM disk", 0.1, {"skopeo": "1.9.3"})


def tool(
    name: str, wall: float, cpu: float = 1.0, rss: float = 20.0, engine: float | None = None, requests: int = 100
) -> ToolResult:
    return ToolResult(name, (Run(wall, cpu, rss, engine),) * 5, Requests(requests - 40, 40))


def results(*cases: CaseResult, roads: tuple[RoadResult, ...] = ()) -> Results:
    return Results(MACHINE, 2048, 5, cases, roads)


def case(name: str, *tools: ToolResult) -> CaseResult:
    return CaseResult(name, name, 1_000_000, tools)


def verdict_of(goal: str, measured: Results) -> Verdict:
    (verdict,) = [verdict for verdict in judge(measured) if verdict.goal.startswith(goal)]
    return verdict


@pytest.mark.parametrize(("wall", "holds"), [(6.99, True), (7.0, True), (7.01, False)])
def test_without_crane_the_bound_is_that_of_skopeo(wall: float, holds: bool) -> None:
    verdict = verdict_of("large: wall", results(case("large", tool("pullahead", wall), tool("skopeo", 10.0))))

    assert verdict.holds is holds
    assert "0.70" in verdict.goal


def test_with_crane_the_best_peer_is_the_measure_even_where_it_is_not_crane() -> None:
    tools = [tool("pullahead", 9.4), tool("skopeo", 10.0), tool("crane", 11.0)]

    verdict = verdict_of("large: wall", results(case("large", *tools)))

    assert verdict.holds is True
    assert verdict.factor == pytest.approx(9.4 / 9.5)
    assert "0.95" in verdict.goal
    assert "skopeo 10.00 s" in verdict.measured


def test_the_best_peer_is_found_for_each_figure() -> None:
    tools = [tool("pullahead", 9.0, cpu=7.0), tool("skopeo", 10.0, cpu=10.0), tool("crane", 11.0, cpu=8.0)]

    assert verdict_of("large: CPU", results(case("large", *tools))).holds is False


def test_the_engine_is_judged_beside_the_process() -> None:
    tools = [tool("pullahead", 6.0, engine=5.0), tool("skopeo", 10.0)]

    process, engine = (v for v in judge(results(case("small", *tools))) if v.goal.startswith("small: wall"))

    assert (process.holds, engine.holds) == (False, True)
    assert engine.goal.endswith("engine alone")


@pytest.mark.parametrize(("requests", "holds"), [(130, True), (131, False)])
def test_requests_have_a_ceiling(requests: int, holds: bool) -> None:
    measured = results(case("small", tool("pullahead", 1.0, requests=requests)))

    assert verdict_of("small: requests", measured).holds is holds


@pytest.mark.parametrize(("rss", "holds"), [(96.0, True), (96.1, False)])
def test_memory_has_a_ceiling_with_a_huge_layer_too(rss: float, holds: bool) -> None:
    measured = results(case("huge", tool("pullahead", 1.0, rss=rss)))

    assert verdict_of("huge: RSS", measured).holds is holds


@pytest.mark.parametrize(("road", "bound"), ROADS.items())
def test_a_road_is_judged_by_its_median(road: str, bound: float) -> None:
    reached = results(roads=(RoadResult(road, (bound - 1, bound, bound + 50)),))
    missed = results(roads=(RoadResult(road, (bound - 1, bound + 0.1, bound + 50)),))

    assert verdict_of(f"ECR, {road}", reached).holds is True
    assert verdict_of(f"ECR, {road}", missed).holds is False
    assert verdict_of(f"ECR, {road}", missed).factor == pytest.approx((bound + 0.1) / bound)


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert {(verdict.holds, verdict.factor) for verdict in judge(results())} == {(None, None)}


def test_a_peer_alone_proves_nothing() -> None:
    assert verdict_of("large: wall", results(case("large", tool("skopeo", 10.0)))).holds is None


def test_a_copy_of_ours_that_failed_misses_its_goals() -> None:
    measured = results(case("large", ToolResult("pullahead", problem="ended with 1"), tool("skopeo", 10.0)))

    assert verdict_of("large: wall", measured).holds is False
    assert verdict_of("large: RSS", measured).holds is False
