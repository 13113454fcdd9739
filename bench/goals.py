"""What a run of the bench is held against, and whether it holds. Says nothing about why."""

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from bench.results import (
    BARE_LOOP,
    OURS,
    REQUESTS_ALONE,
    CaseResult,
    Figures,
    Machine,
    Results,
    Run,
    SizeResult,
    ToolResult,
    medians,
    paired,
)


class Peer(NamedTuple):
    """Whom we are held against: a tool of a version, with a registry of a version, where the goal names one."""

    tool: str
    version: str = ""
    registry: str = ""

    @property
    def name(self) -> str:
        """How a goal calls it."""
        return " ".join(filter(None, (self.tool, self.version, self.registry and f"with distribution {self.registry}")))

    def is_at_hand(self, machine: Machine) -> bool:
        """Tell whether the run was made with these."""
        registry = machine.versions.get("docker-registry", "")
        return machine.versions.get(self.tool, "").startswith(self.version) and registry.startswith(self.registry)


DEBIAN_SKOPEO = Peer("skopeo", "1.9.3")
CRANE = Peer("crane")
CRANE_WITH_V3 = Peer("crane", registry="3")


class Ratio(NamedTuple):
    """Our figure over the same of a peer, or our engine's seconds over a peer's wall."""

    case: str
    figure: str
    at_most: float
    peer: Peer


class Ceiling(NamedTuple):
    """Our figure by itself."""

    case: str
    figure: str
    at_most: float
    unit: str = ""


class Verdict(NamedTuple):
    """One goal beside what was measured; `holds` is None where something was not measured.

    `factor` is the figure as a share of what the goal allows: up to 1 it is reached. `bare_loop` is the same of a bare
    loop, where the goal is one of wall or CPU and a bare loop was measured: above 1, even that misses the goal.
    """

    goal: str
    measured: str
    holds: bool | None
    factor: float | None = None
    bare_loop: float | None = None


RATIOS = (
    *(
        Ratio(case, figure, bound, peer)
        for case in ("layer", "large")
        for figure, bound, peer in (
            ("wall", 0.80, DEBIAN_SKOPEO),
            ("CPU", 0.60, DEBIAN_SKOPEO),
            ("wall", 0.75, CRANE_WITH_V3),
            ("CPU", 0.95, CRANE_WITH_V3),
        )
    ),
    Ratio("three", "wall", 0.88, DEBIAN_SKOPEO),
    Ratio("three", "CPU", 0.66, DEBIAN_SKOPEO),
    Ratio("three", "wall", 0.75, CRANE_WITH_V3),
    Ratio("three", "CPU", 0.95, CRANE_WITH_V3),
    Ratio("plain", "wall", 0.93, DEBIAN_SKOPEO),  # what it was when all of the bench was plain HTTP: not slower
    Ratio("plain", "wall", 1.00, CRANE),
    Ratio("small", "engine", 0.70, DEBIAN_SKOPEO),
    Ratio("index", "engine", 0.70, DEBIAN_SKOPEO),
    Ratio("slow", "wall", 1 / 3, DEBIAN_SKOPEO),
    Ratio("slow", "wall", 1 / 3, CRANE),
)
CEILINGS = (
    *(Ceiling(case, "RSS", 64, "MiB") for case in ("layer", "three", "large", "huge")),
    Ceiling("small", "requests", 130),
    Ceiling("unchanged", "wall", 0.45, "s"),
    Ceiling("unchanged", "requests for a tag", 2),
)
ROADS = {"streamed": 5.5, "parts": 20.0}
"""CPU milliseconds for 10 MiB into ECR, on a machine where http.client alone takes BARE_CPU_MS."""
BARE, BARE_CPU_MS = "bare", 5.3
START_CPU_MS = 200.0
"""On a machine where a Python that imports requests alone takes REQUESTS_CPU_MS."""
REQUESTS_CPU_MS = 120.0
IMPORT_CPU_MS = 300.0
STREAMED_MB_PER_SECOND = 150.0
STREAMED_IN_MB = 1024


def judge(results: Results) -> tuple[Verdict, ...]:
    """Hold every goal against the results."""
    cases = {case.case: case for case in results.cases}
    return (
        *(_judge_ratio(ratio, cases.get(ratio.case), results.machine) for ratio in RATIOS),
        *(_judge_ceiling(ceiling, cases.get(ceiling.case)) for ceiling in CEILINGS),
        *_judge_ecr_check(results),
        *_judge_roads(results),
        _judge_lambda_size(results),
        _judge_start(results),
        _judge_imports(results),
    )


def best_peer(case: CaseResult, figure: str) -> ToolResult | None:
    """Find the peer with the least of a figure."""
    return min(case.peers(), key=lambda peer: _value(peer, figure), default=None)


def paired_ratio(ours: ToolResult, peer: ToolResult, figure: str) -> float:
    """Take the median of what we took in each round over what a peer took in the same."""
    of_peer = "wall" if figure == "engine" else figure
    return paired([_of_run(run, figure) for run in ours.runs], [_of_run(run, of_peer) for run in peer.runs])


def _judge_ratio(ratio: Ratio, case: CaseResult | None, machine: Machine) -> Verdict:
    what = "engine over wall" if ratio.figure == "engine" else ratio.figure
    goal = f"{ratio.case}: {what} ≤ {ratio.at_most:.2f} x {ratio.peer.name}"
    ours = case.find(OURS) if case is not None else None
    peer = case.find(ratio.peer.tool) if case is not None and ratio.peer.is_at_hand(machine) else None
    if case is None or ours is None or peer is None:
        return _without_figures(goal, case)
    value = paired_ratio(ours, peer, ratio.figure)
    of_peer = _value(peer, "wall" if ratio.figure == "engine" else ratio.figure)
    bare = _bare_loop(case, ratio.figure)
    beside = f"{peer.tool} {of_peer:.2f} s{_said(bare, ratio.figure)}"
    measured = f"{value:.2f} ({_value(ours, ratio.figure):.2f} s, {beside})"
    of_bare = None if bare is None else paired_ratio(bare, peer, ratio.figure)
    return _verdict(goal, measured, value, ratio.at_most, of_bare)


def _judge_ceiling(ceiling: Ceiling, case: CaseResult | None) -> Verdict:
    goal = f"{ceiling.case}: {ceiling.figure} ≤ {ceiling.at_most:g} {ceiling.unit}".rstrip()
    ours = case.find(OURS) if case is not None else None
    if case is None or ours is None or (ceiling.figure.startswith("requests") and ours.requests is None):
        return _without_figures(goal, case)
    value = _value(ours, ceiling.figure) / (case.tags if "for a tag" in ceiling.figure else 1)
    shown = f"{value:.2f}" if ceiling.unit == "s" or "for a tag" in ceiling.figure else f"{value:.0f}"
    bare = _bare_loop(case, ceiling.figure)
    of_bare = None if bare is None else _value(bare, ceiling.figure)
    measured = f"{shown} {ceiling.unit}".rstrip() + _said(bare, ceiling.figure)
    return _verdict(goal, measured, value, ceiling.at_most, of_bare)


def _bare_loop(case: CaseResult, figure: str) -> ToolResult | None:
    """Find the bare loop of a case, for the figures that it is a measure of."""
    bare = case.bare_loop
    return bare if bare is not None and bare.measured and figure in ("wall", "CPU") else None


def _said(bare: ToolResult | None, figure: str) -> str:
    return "" if bare is None else f"; {BARE_LOOP} {_value(bare, figure):.2f} s"


def _judge_ecr_check(results: Results) -> Iterator[Verdict]:
    check = results.ecr_check
    goals = {
        "in ECR, unchanged: 1 HEAD upstream for a tag": ("upstream", "HEAD", 1.0),
        "in ECR, unchanged: 0.01 DescribeImages for a tag": ("ecr", "DescribeImages", 0.01),
    }
    for goal, (side, allowed, at_most) in goals.items():
        if check is None:
            yield Verdict(goal, "not measured", None)
            continue
        calls = check.upstream if side == "upstream" else check.ecr
        measured = ", ".join(f"{name} {count}" for name, count in sorted(calls.items())) or "nothing"
        others = sum(count for name, count in calls.items() if name != allowed)
        share = calls.get(allowed, 0) / check.tags
        holds = check.problem is None and others == 0 and share <= at_most
        yield Verdict(goal, check.problem or f"{measured} for {check.tags} tags", holds, share / at_most)


def _judge_roads(results: Results) -> Iterator[Verdict]:
    medians_of = {road.road: statistics.median(road.cpu_ms) for road in results.roads if road.cpu_ms}
    for road, bound in ROADS.items():
        goal = f"ECR, {road}: CPU ≤ {bound:g} ms for 10 MiB"
        yield _judge_beside(goal, medians_of.get(road), bound, "http.client alone", medians_of.get(BARE), BARE_CPU_MS)


def _judge_lambda_size(results: Results) -> Verdict:
    goal = f"Lambda, {STREAMED_IN_MB} MB, streamed: ≥ {STREAMED_MB_PER_SECOND:g} MB/s"
    sizes = results.lambda_sizes.sizes if results.lambda_sizes is not None else ()
    size = next((one for one in sizes if one.memory_mb == STREAMED_IN_MB and one.road == "streamed"), None)
    if size is None or results.lambda_sizes is None:
        return Verdict(goal, "not measured", None)
    if not size.sent:
        return Verdict(goal, size.problem or "not measured", False)
    rate = lambda_rate(size, results.lambda_sizes.size_bytes)
    return Verdict(goal, f"{rate:.0f} MB/s", rate >= STREAMED_MB_PER_SECOND, STREAMED_MB_PER_SECOND / rate)


def lambda_rate(size: SizeResult, size_bytes: int) -> float:
    """Compute the megabytes a second of the median copy."""
    return size_bytes / 1e6 / statistics.median(sent.seconds for sent in size.sent)


def _judge_start(results: Results) -> Verdict:
    goal = f"startup: CPU until the first request ≤ {START_CPU_MS:g} ms"
    found = {start.name: statistics.median(start.cpu_ms) for start in results.starts if start.cpu_ms}
    return _judge_beside(
        goal, found.get(OURS), START_CPU_MS, REQUESTS_ALONE, found.get(REQUESTS_ALONE), REQUESTS_CPU_MS
    )


def _judge_imports(results: Results) -> Verdict:
    goal = f"imports: CPU of any handler ≤ {IMPORT_CPU_MS:g} ms"
    found = {one.function: statistics.median(one.cpu_ms) for one in results.imports if one.cpu_ms}
    if not found:
        return Verdict(goal, "not measured", None)
    worst = max(found, key=lambda function: found[function])
    return _verdict(goal, f"{found[worst]:.0f} ms ({worst})", found[worst], IMPORT_CPU_MS)


def _judge_beside(
    goal: str, value: float | None, at_most: float, floor: str, measured_floor: float | None, usual_floor: float
) -> Verdict:
    """Judge CPU milliseconds in proportion to what a floor takes on this machine and took where the goal was set."""
    goal = f"{goal} where {floor} takes {usual_floor:g}"
    if value is None or measured_floor is None:
        return Verdict(goal, "not measured", None)
    return _verdict(
        goal, f"{value:.1f} ms, {floor} {measured_floor:.1f} ms", value, at_most * measured_floor / usual_floor
    )


def _verdict(goal: str, measured: str, value: float, at_most: float, of_bare: float | None = None) -> Verdict:
    bare_factor = None if of_bare is None else of_bare / at_most
    return Verdict(goal, measured, value <= at_most, value / at_most, bare_factor)


def _without_figures(goal: str, case: CaseResult | None) -> Verdict:
    failed = case is not None and any(tool.tool == OURS and tool.problem is not None for tool in case.tools)
    return Verdict(goal, "we did not do it", False) if failed else Verdict(goal, "not measured", None)


def _of_run(run: Run, figure: str) -> float:
    if figure == "engine":
        return float("inf") if run.engine_seconds is None else run.engine_seconds
    return {"wall": run.wall_seconds, "CPU": run.cpu_seconds, "RSS": run.peak_rss_mib}[figure]


def _value(result: ToolResult, figure: str) -> float:
    if figure.startswith("requests"):
        return float("inf") if result.requests is None else float(result.requests.total)
    figures: Figures = medians(result.runs)
    engine = float("inf") if figures.engine_seconds is None else figures.engine_seconds
    return {
        "wall": figures.wall_seconds,
        "CPU": figures.cpu_seconds,
        "RSS": figures.peak_rss_mib,
        "engine": engine,
    }[figure]
