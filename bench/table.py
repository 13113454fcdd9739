"""Writes results as Markdown: what was measured, where, and how near the goals are. Claims nothing else."""

import statistics
from collections.abc import Iterator

from bench.goals import Verdict, best_peer, judge
from bench.results import CaseResult, Results, ToolResult, medians, spread

_MARKS = {True: "reached", False: "**missed**", None: "-"}


def markdown(results: Results, picture: str | None = None) -> str:
    """Write the whole page, with a plot where there is one."""
    return "\n".join(_page(results, picture)).rstrip() + "\n"


def _page(results: Results, picture: str | None) -> Iterator[str]:
    machine = results.machine
    yield "# Bench"
    yield ""
    yield (
        f"Measured on {machine.date}: {machine.cpus}, {machine.memory_gib} GiB, Linux {machine.kernel}, "
        f"load before {machine.load_before:.2f}."
    )
    yield (
        f"Both registries are docker-registry on 127.0.0.1 with their storage on {machine.storage}. "
        f"Medians of {results.rounds} rounds after a warm-up, the tools in turn; each copy goes into a registry that "
        "was never used, by a tool that remembers nothing."
    )
    yield f"Versions: {', '.join(f'{name} {version}' for name, version in machine.versions.items())}."
    yield ""
    yield from _verdicts(judge(results))
    if picture is not None:
        yield f"![Wall, CPU and memory of each tool in each case]({picture})"
        yield ""
    for case in results.cases:
        yield from _case(case)
    yield from _roads(results)


def _verdicts(verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    yield "## Goals"
    yield ""
    yield "| goal | measured | | x what it allows |"
    yield "|---|---|---|---|"
    for verdict in verdicts:
        factor = "-" if verdict.factor is None else f"{verdict.factor:.2f}"
        yield f"| {verdict.goal} | {verdict.measured} | {_MARKS[verdict.holds]} | {factor} |"
    yield ""


def _case(case: CaseResult) -> Iterator[str]:
    yield f"## {case.case}: {case.title} ({case.size_bytes / 1e6:,.0f} MB)"
    yield ""
    yield (
        "| tool | wall s | spread | x best peer | CPU s | x best peer | peak RSS MiB | MB/s | engine s "
        "| requests upstream | target |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for tool in case.tools:
        yield _row(case, tool)
    yield ""
    if case.floor_seconds:
        seconds = statistics.median(case.floor_seconds)
        yield (
            f"The target alone takes {seconds:.2f} s for these bytes: pushed by curl from the RAM disk, four at once, "
            "with nothing read from upstream and nothing hashed."
        )
        yield ""


def _row(case: CaseResult, tool: ToolResult) -> str:
    if not tool.measured:
        reason = (tool.problem or "not measured").replace("|", "\\|")
        return f"| {tool.tool} | did not do it: {reason} |{' |' * 9}"
    figures = medians(tool.runs)
    cells = [
        tool.tool,
        f"{figures.wall_seconds:.2f}",
        f"{spread(tool.runs):.0%}",
        _ratio(figures.wall_seconds, best_peer(case, "wall")),
        f"{figures.cpu_seconds:.2f}",
        _ratio(figures.cpu_seconds, best_peer(case, "CPU")),
        f"{figures.peak_rss_mib:.0f}",
        f"{figures.rate(case.size_bytes):,.0f}",
        "-" if figures.engine_seconds is None else f"{figures.engine_seconds:.2f}",
        *(("-", "-") if tool.requests is None else (str(tool.requests.upstream), str(tool.requests.target))),
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(value: float, best: tuple[str, float] | None) -> str:
    return "-" if best is None or best[1] == 0 else f"{value / best[1]:.2f}"


def _roads(results: Results) -> Iterator[str]:
    if not results.roads:
        return
    yield "## Into ECR: CPU of the client for 10 MiB"
    yield ""
    yield "| road | ms, least | median | most |"
    yield "|---|---|---|---|"
    for road in results.roads:
        if road.problem is not None:
            yield f"| {road.road} | not measured: {road.problem} | | |"
            continue
        ordered = sorted(road.cpu_ms)
        median = ordered[len(ordered) // 2]
        yield f"| {road.road} | {ordered[0]:.1f} | {median:.1f} | {ordered[-1]:.1f} |"
    yield ""
