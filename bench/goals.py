"""What a run of the bench is held against, and whether it holds. Says nothing about why."""

import statistics
from typing import NamedTuple

from bench.results import OURS, CaseResult, Figures, Results, ToolResult, medians

_FASTEST_PEER = "crane"
"""Where it is at hand the best peer is the measure; else Debian's skopeo, with bounds that mean the same."""


class Ratio(NamedTuple):
    """Our figure over a peer's: at most `of_best` with crane among the peers, at most `of_skopeo` without."""

    case: str
    figure: str
    of_best: float
    of_skopeo: float


class Ceiling(NamedTuple):
    """Our figure by itself."""

    case: str
    figure: str
    at_most: float
    unit: str


class Verdict(NamedTuple):
    """One goal beside what was measured; `holds` is None where something was not measured.

    `factor` is the figure as a share of what the goal allows: up to 1 it is reached.
    """

    goal: str
    measured: str
    holds: bool | None
    factor: float | None = None


RATIOS = (
    Ratio("large", "wall", 0.95, 0.70),
    Ratio("large", "CPU", 0.80, 0.28),
    Ratio("three", "wall", 0.95, 0.71),
    Ratio("index", "wall", 0.95, 0.60),
    Ratio("small", "wall", 0.80, 0.54),
    Ratio("slow", "wall", 1 / 3, 1 / 3),
)
CEILINGS = (
    Ceiling("large", "RSS", 96, "MiB"),
    Ceiling("huge", "RSS", 96, "MiB"),
    Ceiling("small", "requests", 130, ""),
)
ROADS = {"streamed": 4.0, "parts": 22.0}
"""CPU milliseconds for 10 MiB into ECR."""


def judge(results: Results) -> tuple[Verdict, ...]:
    """Hold every goal against the results. The wall is judged twice: as a process, and without its start."""
    cases = {case.case: case for case in results.cases}
    verdicts = [verdict for ratio in RATIOS for verdict in _judge_ratio(ratio, cases.get(ratio.case))]
    verdicts += [_judge_ceiling(ceiling, cases.get(ceiling.case)) for ceiling in CEILINGS]
    medians_of = {road.road: statistics.median(road.cpu_ms) for road in results.roads if road.cpu_ms}
    return (*verdicts, *(_judge_road(road, bound, medians_of.get(road)) for road, bound in ROADS.items()))


def best_peer(case: CaseResult, figure: str) -> tuple[str, float] | None:
    """Find the peer with the least of a figure."""
    return min(((peer.tool, _value(peer, figure)) for peer in case.peers()), key=lambda one: one[1], default=None)


def _judge_ratio(ratio: Ratio, case: CaseResult | None) -> list[Verdict]:
    peers = {peer.tool for peer in case.peers()} if case is not None else set()
    bound = ratio.of_best if _FASTEST_PEER in peers else ratio.of_skopeo
    measure = "the best peer" if _FASTEST_PEER in peers else "the best peer at hand"
    goal = f"{ratio.case}: {ratio.figure} ≤ {bound:.2f} x {measure}"
    best = best_peer(case, ratio.figure) if case is not None else None
    ours = case.find(OURS) if case is not None else None
    if ours is None or best is None:
        return [_without_figures(goal, case)]
    name, least = best
    figures = {"": _value(ours, ratio.figure)}
    engine = medians(ours.runs).engine_seconds
    if ratio.figure == "wall" and engine is not None:
        figures[", engine alone"] = engine
    floor = f"; the target alone {statistics.median(case.floor_seconds):.2f} s" if case and case.floor_seconds else ""
    return [
        _verdict(
            f"{goal}{what}", f"{value / least:.2f} ({value:.2f} s, {name} {least:.2f} s{floor})", value, bound * least
        )
        for what, value in figures.items()
    ]


def _verdict(goal: str, measured: str, value: float, at_most: float) -> Verdict:
    return Verdict(goal, measured, value <= at_most, value / at_most)


def _judge_ceiling(ceiling: Ceiling, case: CaseResult | None) -> Verdict:
    goal = f"{ceiling.case}: {ceiling.figure} ≤ {ceiling.at_most:g} {ceiling.unit}".rstrip()
    ours = case.find(OURS) if case is not None else None
    if ours is None or (ceiling.figure == "requests" and ours.requests is None):
        return _without_figures(goal, case)
    value = _value(ours, ceiling.figure)
    return _verdict(goal, f"{value:.0f} {ceiling.unit}".rstrip(), value, ceiling.at_most)


def _without_figures(goal: str, case: CaseResult | None) -> Verdict:
    failed = case is not None and any(tool.tool == OURS and tool.problem is not None for tool in case.tools)
    return Verdict(goal, "we did not do it", False) if failed else Verdict(goal, "not measured", None)


def _judge_road(road: str, bound: float, cpu_ms: float | None) -> Verdict:
    goal = f"ECR, {road}: CPU ≤ {bound:g} ms for 10 MiB"
    if cpu_ms is None:
        return Verdict(goal, "not measured", None)
    return _verdict(goal, f"{cpu_ms:.1f} ms", cpu_ms, bound)


def _value(result: ToolResult, figure: str) -> float:
    if figure == "requests":
        return float(result.requests.total) if result.requests is not None else float("inf")
    figures: Figures = medians(result.runs)
    return {"wall": figures.wall_seconds, "CPU": figures.cpu_seconds, "RSS": figures.peak_rss_mib}[figure]
