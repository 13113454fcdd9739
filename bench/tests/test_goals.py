"""The verdicts: who is the measure, where the line is, and what is not measured."""

import pytest

from bench.goals import BARE, BARE_CPU_MS, ROADS, Verdict, judge
from bench.results import (
    CallsResult,
    ImportResult,
    LambdaResult,
    Results,
    RoadResult,
    Run,
    Sent,
    SizeResult,
    StartResult,
    ToolResult,
)
from bench.tests.samples import case, machine, results, tool


def verdict_of(goal: str, measured: Results) -> Verdict:
    (verdict,) = [verdict for verdict in judge(measured) if verdict.goal.startswith(goal)]
    return verdict


WITH_CRANE = machine(skopeo="1.9.3", crane="0.21.0", registry="3.0.0")


@pytest.mark.parametrize(("wall", "holds"), [(7.99, True), (8.0, True), (8.01, False)])
def test_debian_skopeo_is_a_measure(wall: float, holds: bool) -> None:
    measured = results(case("layer", tool("pullahead", wall), tool("skopeo", 10.0)))

    assert verdict_of("layer: wall ≤ 0.80 x skopeo 1.9.3", measured).holds is holds


def test_another_skopeo_is_none() -> None:
    other = machine(skopeo="1.22.0")
    measured = results(case("layer", tool("pullahead", 5.0), tool("skopeo", 10.0)), on=other)

    assert verdict_of("layer: wall ≤ 0.80 x skopeo 1.9.3", measured).holds is None


@pytest.mark.parametrize(("cpu", "holds"), [(9.5, True), (9.6, False)])
def test_crane_is_a_measure_with_distribution_3(cpu: float, holds: bool) -> None:
    measured = results(case("large", tool("pullahead", 5.0, cpu), tool("crane", 10.0, 10.0)), on=WITH_CRANE)

    assert verdict_of("large: CPU ≤ 0.95 x crane with distribution 3", measured).holds is holds


def test_crane_is_none_with_debian_registry() -> None:
    measured = results(
        case("large", tool("pullahead", 5.0), tool("crane", 10.0)), on=machine(crane="0.21.0", registry="2.8.2")
    )

    assert verdict_of("large: CPU ≤ 0.95 x crane", measured).holds is None


def test_ratio_is_taken_round_by_round() -> None:
    ours = ToolResult("pullahead", tuple(Run(wall, 1.0, 20.0) for wall in (1.0, 10.0, 100.0)))
    skopeo = ToolResult("skopeo", tuple(Run(wall, 1.0, 20.0) for wall in (100.0, 20.0, 50.0)))

    verdict = verdict_of("layer: wall ≤ 0.80", results(case("layer", ours, skopeo)))

    assert verdict.factor == pytest.approx(0.5 / 0.8)  # of 0.01, 0.5 and 2, though the medians are 10 and 50


@pytest.mark.parametrize(("bare", "factor"), [(7.0, 7.0 / 8.0), (8.4, 8.4 / 8.0)])
def test_bare_loop_is_held_against_the_same_goal(bare: float, factor: float) -> None:
    measured = results(
        case("layer", tool("pullahead", 9.0), tool("skopeo", 10.0), bare_loop=tool("a bare loop", bare, cpu=0.5))
    )

    wall, cpu = verdict_of("layer: wall ≤ 0.80 x skopeo", measured), verdict_of("layer: CPU ≤ 0.60 x skopeo", measured)

    assert wall.holds is False
    assert wall.bare_loop == pytest.approx(factor)
    assert wall.measured == f"0.90 (9.00 s, skopeo 10.00 s; a bare loop {bare:.2f} s)"
    assert cpu.bare_loop == pytest.approx(0.5 / 0.6)
    assert cpu.measured == "1.00 (1.00 s, skopeo 1.00 s; a bare loop 0.50 s)"
    assert verdict_of("layer: RSS", measured).bare_loop is None


def test_bare_loop_is_held_against_the_seconds_of_unchanged_tags_and_not_against_requests() -> None:
    measured = results(case("unchanged", tool("pullahead", 0.6), tags=200, bare_loop=tool("a bare loop", 0.54)))

    wall, requests = verdict_of("unchanged: wall", measured), verdict_of("unchanged: requests for a tag", measured)

    assert wall.measured == "0.60 s; a bare loop 0.54 s"
    assert wall.bare_loop == pytest.approx(1.2)
    assert requests.bare_loop is None


def test_engine_is_not_held_against_a_bare_loop_whose_start_counts() -> None:
    small = case("small", tool("pullahead", 9.0, engine=8.0), tool("skopeo", 10.0), bare_loop=tool("a bare loop", 5.0))

    assert verdict_of("small: engine", results(small)).bare_loop is None


def test_bare_loop_that_failed_changes_no_verdict() -> None:
    failed = ToolResult("a bare loop", problem="ended with 1")
    measured = results(case("layer", tool("pullahead", 9.0), tool("skopeo", 10.0), bare_loop=failed))

    verdict = verdict_of("layer: wall ≤ 0.80", measured)

    assert (verdict.holds, verdict.bare_loop, verdict.measured) == (False, None, "0.90 (9.00 s, skopeo 10.00 s)")


def test_engine_is_held_against_the_peers_whole_process() -> None:
    measured = results(case("small", tool("pullahead", 9.0, engine=7.0), tool("skopeo", 10.0)))

    assert verdict_of("small: engine", measured).holds is True


def test_engine_that_says_nothing_misses_its_goal() -> None:
    assert (
        verdict_of("small: engine", results(case("small", tool("pullahead", 1.0), tool("skopeo", 10.0)))).holds is False
    )


@pytest.mark.parametrize(("requests", "holds"), [(130, True), (131, False)])
def test_requests_have_a_ceiling(requests: int, holds: bool) -> None:
    measured = results(case("small", tool("pullahead", 1.0, requests=requests)))

    assert verdict_of("small: requests", measured).holds is holds


@pytest.mark.parametrize(("requests", "holds"), [(400, True), (401, False)])
def test_requests_for_unchanged_tags_are_counted_by_tag(requests: int, holds: bool) -> None:
    measured = results(case("unchanged", tool("pullahead", 1.0, requests=requests), tags=200))

    assert verdict_of("unchanged: requests for a tag", measured).holds is holds


@pytest.mark.parametrize("name", ["layer", "three", "large", "huge"])
@pytest.mark.parametrize(("rss", "holds"), [(64.0, True), (64.1, False)])
def test_memory_has_a_ceiling_whatever_the_size(name: str, rss: float, holds: bool) -> None:
    measured = results(case(name, tool("pullahead", 1.0, rss=rss)))

    assert verdict_of(f"{name}: RSS", measured).holds is holds


@pytest.mark.parametrize("slower", [1.0, 1.5])
@pytest.mark.parametrize(("road", "bound"), ROADS.items())
def test_a_road_is_judged_by_its_median_in_proportion_to_the_machine(road: str, bound: float, slower: float) -> None:
    bare = RoadResult(BARE, (BARE_CPU_MS * slower,))
    allowed = bound * slower
    reached = results(roads=(RoadResult(road, (allowed - 1, allowed - 0.01, allowed + 50)), bare))
    missed = results(roads=(RoadResult(road, (allowed - 1, allowed + 0.1, allowed + 50)), bare))

    assert verdict_of(f"ECR, {road}", reached).holds is True
    assert verdict_of(f"ECR, {road}", missed).holds is False
    assert verdict_of(f"ECR, {road}", missed).factor == pytest.approx((allowed + 0.1) / allowed)


def test_a_road_without_its_floor_is_not_judged() -> None:
    assert verdict_of("ECR, parts", results(roads=(RoadResult("parts", (1.0,)),))).holds is None


@pytest.mark.parametrize(
    ("upstream", "ecr", "holds"),
    [
        ({"HEAD": 200}, {"DescribeImages": 2}, (True, True)),
        ({"HEAD": 201}, {"DescribeImages": 3}, (False, False)),
        ({"HEAD": 200, "GET": 1}, {"DescribeImages": 2, "ListImages": 1}, (False, False)),
    ],
)
def test_check_in_ecr_asks_no_more_than_it_must(
    upstream: dict[str, int], ecr: dict[str, int], holds: tuple[bool, bool]
) -> None:
    measured = results(ecr_check=CallsResult(200, upstream, ecr))
    found = [verdict.holds for verdict in judge(measured) if verdict.goal.startswith("in ECR")]

    assert tuple(found) == holds


@pytest.mark.parametrize(("seconds", "holds"), [(2.0, True), (2.1, False)])
def test_the_size_that_the_template_gives_is_judged_by_its_rate(seconds: float, holds: bool) -> None:
    sizes = (
        SizeResult(512, 0.29, "streamed", (Sent(99.0, 1.0, 60.0),)),
        SizeResult(1024, 0.58, "streamed", (Sent(seconds, 1.0, 60.0),)),
        SizeResult(1024, 0.58, "parts", (Sent(99.0, 1.0, 60.0),)),
    )
    measured = results(lambda_sizes=LambdaResult(300_000_000, "a control group", sizes))

    assert verdict_of("Lambda, 1024 MB", measured).holds is holds


def test_a_start_is_judged_in_proportion_to_the_least_that_it_can_be() -> None:
    starts = (StartResult("pullahead", (210.0,)), StartResult("a Python that imports requests alone", (120.0,)))

    verdict = verdict_of("startup", results(starts=starts))

    assert verdict.holds is False
    assert verdict.measured == "210.0 ms, a Python that imports requests alone 120.0 ms"
    slower = (StartResult("pullahead", (299.0,)), StartResult("a Python that imports requests alone", (180.0,)))
    assert verdict_of("startup", results(starts=slower)).holds is True


def test_imports_are_judged_by_the_worst_handler() -> None:
    imports = (ImportResult("a", (250.0, 260.0, 900.0)), ImportResult("b", (310.0,)), ImportResult("c", problem="no"))

    verdict = verdict_of("imports", results(imports=imports))

    assert (verdict.holds, verdict.measured) == (False, "310 ms (b)")


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    assert {(verdict.holds, verdict.factor) for verdict in judge(results())} == {(None, None)}


def test_a_peer_alone_proves_nothing() -> None:
    assert verdict_of("layer: wall ≤ 0.80", results(case("layer", tool("skopeo", 10.0)))).holds is None


def test_a_copy_of_ours_that_failed_misses_its_goals() -> None:
    measured = results(case("layer", ToolResult("pullahead", problem="ended with 1"), tool("skopeo", 10.0)))

    assert verdict_of("layer: wall ≤ 0.80", measured).holds is False
    assert verdict_of("layer: RSS", measured).holds is False
