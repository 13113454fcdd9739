"""Writes results as Markdown: what was measured, where, and how near the goals are. Claims nothing else."""

import statistics
from collections.abc import Iterator, Sequence

from bench.goals import Verdict, best_peer, judge, paired_ratio
from bench.lambda_table import lambda_table
from bench.results import BARE_LOOP, CaseResult, Results, ToolResult, medians, spread
from bench.tools import NOT_ON_PATH

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
        f"Both registries are docker-registry on 127.0.0.1 with their storage on {machine.storage}, over TLS with "
        f"certificates of the bench's own unless said. Medians of {_rounds(results)} rounds after a warm-up, the tools "
        "in turn, ratios round by round; each copy goes into a registry that was never used, by a tool that remembers "
        "nothing."
    )
    absent = f" Not on PATH: {', '.join(machine.absent)}." if machine.absent else ""
    yield f"Versions: {', '.join(f'{name} {version}' for name, version in machine.versions.items())}.{absent}"
    yield ""
    yield from _verdicts(judge(results))
    if picture is not None:
        yield f"![Wall, CPU and memory of each tool in each case]({picture})"
        yield ""
    for case in results.cases:
        yield from _case(case)
    yield from _ecr_check(results)
    yield from _roads(results)
    yield from _lambda_sizes(results)
    yield from _starts(results)
    yield from _imports(results)


def _rounds(results: Results) -> str:
    """Say how many rounds there were; of cases that had fewer, which."""
    counts = {case.case: max((len(tool.runs) for tool in case.tools), default=0) for case in results.cases}
    fewer = {case: count for case, count in counts.items() if 1 < count < results.rounds}
    named = ", ".join(f"{case} {count}" for case, count in fewer.items())
    return f"{results.rounds} ({named})" if named else str(results.rounds)


def _verdicts(verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    yield "## Goals"
    yield ""
    if any(verdict.bare_loop is not None for verdict in verdicts):
        yield (
            f"{BARE_LOOP.capitalize()}: a Python process, measured as the tools are, that does only what every tool "
            "must (`bench/bare_copy.py`, `bench/bare_check.py`)."
        )
        yield ""
    yield "| goal | measured | | x what it allows |"
    yield "|---|---|---|---|"
    for verdict in verdicts:
        factor = "-" if verdict.factor is None else f"{verdict.factor:.2f}"
        yield f"| {verdict.goal} | {verdict.measured} | {_mark(verdict)} | {factor} |"
    yield ""


def _mark(verdict: Verdict) -> str:
    """Write the verdict; of a goal that is missed, whether a bare loop misses it too, by the figure as it is shown."""
    mark, bare = _MARKS[verdict.holds], verdict.bare_loop
    beyond = verdict.holds is False and bare is not None and round(bare, 2) > 1
    return f"{mark}; {BARE_LOOP} takes {bare:.2f} x what it allows" if beyond else mark


def _case(case: CaseResult) -> Iterator[str]:
    yield f"## {case.case}: {case.title} ({case.size_bytes / 1e6:,.0f} MB)"
    yield ""
    yield (
        "| tool | wall s | spread | x best peer | CPU s | x best peer | peak RSS MiB | MB/s | engine s "
        "| requests upstream | target |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    for tool in (*case.tools, *filter(None, [case.bare_loop])):
        yield _row(case, tool)
    yield ""


def _row(case: CaseResult, tool: ToolResult) -> str:
    if not tool.measured:
        reason = (tool.problem or "not measured").replace("|", "\\|")
        told = reason if reason == NOT_ON_PATH else f"did not do it: {reason}"
        return f"| {tool.tool} | {told} |{' |' * 9}"
    figures = medians(tool.runs)
    cells = [
        tool.tool,
        f"{figures.wall_seconds:.2f}",
        f"{spread(tool.runs):.0%}",
        _ratio(case, tool, "wall"),
        f"{figures.cpu_seconds:.2f}",
        _ratio(case, tool, "CPU"),
        f"{figures.peak_rss_mib:.0f}",
        f"{figures.rate(case.size_bytes):,.0f}",
        "-" if figures.engine_seconds is None else f"{figures.engine_seconds:.2f}",
        *(("-", "-") if tool.requests is None else (str(tool.requests.upstream), str(tool.requests.target))),
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(case: CaseResult, tool: ToolResult, figure: str) -> str:
    best = best_peer(case, figure)
    return "-" if best is None else f"{paired_ratio(tool, best, figure):.2f}"


def _ecr_check(results: Results) -> Iterator[str]:
    check = results.ecr_check
    if check is None:
        return
    yield f"## Unchanged tags in ECR: what `pullahead check` of {check.tags} asks"
    yield ""
    yield "| side | calls |"
    yield "|---|---|"
    for side, calls in (("upstream", check.upstream), ("ECR", check.ecr)):
        said = ", ".join(f"{name} {count}" for name, count in sorted(calls.items())) or "none"
        yield f"| {side} | {check.problem or said} |"
    yield ""


def _roads(results: Results) -> Iterator[str]:
    if not results.roads:
        return
    yield "## Into ECR: CPU of the client for 10 MiB"
    yield ""
    yield "| road | ms, least | median | most |"
    yield "|---|---|---|---|"
    for road in results.roads:
        yield f"| {road.road} | {_three(road.cpu_ms, road.problem, '.1f')} |"
    yield ""


def _lambda_sizes(results: Results) -> Iterator[str]:
    if results.lambda_sizes is None:
        return
    size = results.lambda_sizes.size_bytes / 1e6
    yield f"## In Lambda's sizes: one layer into ECR by copy_blobs ({size:,.0f} MB)"
    yield ""
    yield lambda_table(results.lambda_sizes)
    yield ""
    yield f"Held to its share of a CPU by {results.lambda_sizes.limited_by}; USD at arm64's list price."
    yield ""


def _starts(results: Results) -> Iterator[str]:
    if not results.starts:
        return
    yield "## Starting up: until the first request"
    yield ""
    yield "| command | CPU ms, least | median | most | wall ms |"
    yield "|---|---|---|---|---|"
    for start in results.starts:
        wall = f"{statistics.median(start.wall_ms):.0f}" if start.wall_ms else ""
        yield f"| {start.name} | {_three(start.cpu_ms, start.problem, '.0f')} | {wall} |"
    yield ""


def _imports(results: Results) -> Iterator[str]:
    if not results.imports:
        return
    yield "## Cold start: importing each handler with the built layer"
    yield ""
    yield "| function | CPU ms, least | median | most | without bytecode in the layer | the five largest, ms |"
    yield "|---|---|---|---|---|---|"
    for one in results.imports:
        uncompiled = f"{statistics.median(one.uncompiled_cpu_ms):.0f}" if one.uncompiled_cpu_ms else ""
        largest = ", ".join(f"{name} {ms}" for name, ms in one.largest)
        yield f"| {one.function} | {_three(one.cpu_ms, one.problem, '.0f')} | {uncompiled} | {largest} |"
    yield ""


def _three(figures: Sequence[float], problem: str | None, form: str) -> str:
    """Write three cells: the least, the median and the most."""
    if problem is not None or not figures:
        told = (problem or "not measured").replace("|", "\\|")
        return f"{told if told == NOT_ON_PATH else f'not measured: {told}'} | |"
    return " | ".join(f"{value:{form}}" for value in (min(figures), statistics.median(figures), max(figures)))
