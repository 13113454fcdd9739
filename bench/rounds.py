"""Lets tools take turns, round after round. Decides the order, what counts, and who is left out; knows no copy."""

from collections.abc import Callable, Mapping, Sequence

from bench.measure import CommandFailedError
from bench.results import BARE_LOOP, Requests, Run, ToolResult
from bench.tools import NOT_ON_PATH, Tool

Say = Callable[[str], None]


def turns(tools: Sequence[Tool], number: int) -> tuple[Tool, ...]:
    """Let every round begin with another tool, so that none always comes after the same one."""
    first = number % len(tools)
    return (*tools[first:], *tools[:first])


def run_rounds(
    tools: Sequence[Tool],
    rounds: int,
    attempt: Callable[[Tool], Run],
    say: Say,
) -> tuple[ToolResult, ...]:
    """Let every tool do the same `rounds` times, after a warm-up. A tool that fails once is out, with its reason."""
    runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    problems = {tool.name: NOT_ON_PATH for tool in tools if tool.program is None}
    for number in range(rounds + 1):
        for tool in turns(tools, number):
            if tool.name in problems:
                continue
            try:
                run = attempt(tool)
            except CommandFailedError as error:
                problems[tool.name] = str(error)
                say(f"  {tool.name}: {error}")
                continue
            engine = "" if run.engine_seconds is None else f" (engine {run.engine_seconds:.2f} s)"
            say(f"  {tool.name}: {run.wall_seconds:.2f} s{engine}, CPU {run.cpu_seconds:.2f} s")
            if number > 0:  # the first round only warms up
                runs[tool.name].append(run)
    return tuple(
        ToolResult(tool.name, () if tool.name in problems else tuple(runs[tool.name]), None, problems.get(tool.name))
        for tool in tools
    )


def without_bare_loop(results: Sequence[ToolResult]) -> tuple[tuple[ToolResult, ...], ToolResult | None]:
    """Take the bare loop, which is no tool, out of the results; None where it had no turns."""
    bare = next((result for result in results if result.tool == BARE_LOOP), None)
    return tuple(result for result in results if result.tool != BARE_LOOP), bare


def with_requests(results: Sequence[ToolResult], requests: Mapping[str, Requests]) -> tuple[ToolResult, ...]:
    """Add the requests that were counted."""
    return tuple(ToolResult(result.tool, result.runs, requests.get(result.tool), result.problem) for result in results)
