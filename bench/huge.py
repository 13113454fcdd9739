"""One layer too large for the machine, by our tool alone: what counts is the memory, which must stay flat."""

from pathlib import Path

import requests

from bench.copies import TAG, Stage
from bench.homes import fresh_home
from bench.measure import CommandFailedError, run_measured
from bench.results import CaseResult, ToolResult
from bench.servers import bench_server
from bench.tools import Copy, Tool

_REPOSITORY = "huge"
_HASHED_MIB_PER_SECOND = 250  # on a slow machine


def measure_huge(size_gib: float, tool: Tool, stage: Stage) -> CaseResult:
    """Copy a made-up layer of so many GiB once, from a registry that makes it into one that throws it away."""
    size_mib = round(size_gib * 1024)
    stage.say(f"huge: a layer of {size_gib:g} GiB (hashed first)")
    arguments = [_REPOSITORY, str(size_mib), str(stage.seed), *stage.authority.shown]
    patience = 30 + size_mib // _HASHED_MIB_PER_SECOND
    with (
        bench_server("bench.sparse_registry", arguments, stage.folder / "sparse.log", patience) as source,
        bench_server("bench.discarding_registry", stage.authority.shown, stage.folder / "discarding.log") as target,
    ):
        result = _copy(tool, source, target, stage.folder)
    stage.say(f"  {tool.name}: {result.problem or f'{result.runs[0].peak_rss_mib:.0f} MiB'}")
    title = f"a layer of {size_gib:g} GiB that is made up as it is read, into a target that discards it; once"
    return CaseResult("huge", title, size_mib * 1024 * 1024, (result,))


def _copy(tool: Tool, source: str, target: str, folder: Path) -> ToolResult:
    copy = Copy(f"{source}/{_REPOSITORY}:{TAG}", f"{target}/{_REPOSITORY}:{TAG}")
    try:
        with fresh_home(folder) as environment:
            run = run_measured(tool.copy(copy), folder / "cost.txt", environment).run
    except CommandFailedError as error:
        return ToolResult(tool.name, problem=str(error))
    if _manifest(target) != _manifest(source):
        return ToolResult(tool.name, problem="the tag that it should have published is missing or another")
    return ToolResult(tool.name, (run,))


def _manifest(host: str) -> bytes:
    answer = requests.get(f"https://{host}/v2/{_REPOSITORY}/manifests/{TAG}", timeout=30)
    return answer.content if answer.status_code == 200 else b""
