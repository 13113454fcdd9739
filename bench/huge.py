"""One layer too large for the machine, by our tool alone: what counts is the memory, which must stay flat."""

from collections.abc import Callable
from pathlib import Path

import requests

from bench.homes import fresh_home
from bench.measure import CommandFailedError, run_measured
from bench.results import CaseResult, ToolResult
from bench.rounds import TAG, prove_published
from bench.servers import bench_server
from bench.tools import Copy, Tool
from pullahead.oci import media_types
from pullahead.oci.manifest import RawManifest, describe

_REPOSITORY = "huge"
_HASHED_MIB_PER_SECOND = 250  # on a slow machine


def measure_huge(size_gib: int, tool: Tool, folder: Path, say: Callable[[str], None]) -> CaseResult:
    """Copy a made-up layer of so many GiB once, from a registry that makes it into one that throws it away."""
    size_mib = size_gib * 1024
    say(f"huge: a layer of {size_gib} GiB (hashed first)")
    arguments = [_REPOSITORY, TAG, str(size_mib)]
    patience = 30 + size_mib // _HASHED_MIB_PER_SECOND
    with (
        bench_server("bench.sparse_registry", arguments, folder / "sparse.log", patience) as source,
        bench_server("bench.discarding_registry", [], folder / "discarding.log") as target,
    ):
        result = _copy(tool, source, target, folder)
    say(f"  {tool.name}: {result.problem or f'{result.runs[0].peak_rss_mib:.0f} MiB'}")
    title = f"a layer of {size_gib} GiB that is made up as it is read, into a target that discards it; once"
    return CaseResult("huge", title, size_mib * 1024 * 1024, (result,))


def _copy(tool: Tool, source: str, target: str, folder: Path) -> ToolResult:
    copy = Copy(f"{source}/{_REPOSITORY}:{TAG}", f"{target}/{_REPOSITORY}:{TAG}", all_platforms=False)
    try:
        with fresh_home(folder) as environment:
            run = run_measured(tool.copy(copy), folder / "cost.txt", environment).run
        prove_published(f"http://{target}", _REPOSITORY, _root(source))
    except CommandFailedError as error:
        return ToolResult(tool.name, problem=str(error))
    return ToolResult(tool.name, (run,))


def _root(source: str) -> RawManifest:
    headers = {"Accept": media_types.OCI_MANIFEST}
    answer = requests.get(f"http://{source}/v2/{_REPOSITORY}/manifests/{TAG}", headers=headers, timeout=30)
    return RawManifest(describe(answer.content, media_types.OCI_MANIFEST), answer.content)
