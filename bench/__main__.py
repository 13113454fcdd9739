"""`python -m bench`: measure what is at hand and write the table. Decides only what is run and in what order."""

import argparse
import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.cases import CASES, MIB
from bench.huge import measure_huge
from bench.machine import describe_machine, work_folder
from bench.results import OURS, CaseResult, Results, RoadResult
from bench.roads import measure_roads
from bench.rounds import Stage, measure_case
from bench.servers import ServerFailedError, docker_registry
from bench.table import markdown
from bench.tools import Tool, find_tools

_SIZES_MIB = {"small": 256, "full": 2048}
_HUGE_GIB = {"full": 50}
_RESULTS = Path(__file__).parent / "results"
_SPARE_BYTES = 1024 * MIB
_CASES = (*(case.name for case in CASES), "huge", "roads")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 1 if a server of it does not start or there is nothing to measure."""
    options = _parser().parse_args(arguments)
    tools = tuple(tool for tool in find_tools() if not options.tool or tool.name in options.tool)
    if not tools:
        print("bench: none of the tools is on this machine", file=sys.stderr)
        return 1
    try:
        results = _measure(options, tools)
    except ServerFailedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    _write(results, options.results, _name(options), options.plot_with)
    return 0


def _measure(options: argparse.Namespace, tools: Sequence[Tool]) -> Results:
    size_mib = _SIZES_MIB[options.size] if options.size in _SIZES_MIB else int(options.size)
    huge_gib = _HUGE_GIB.get(options.size, 0) if options.huge is None else options.huge
    with work_folder(size_mib * MIB * 7 // 2 + _SPARE_BYTES) as folder:
        machine = describe_machine(tools, folder)
        cases = _measure_cases(options, size_mib, tools, folder)
        ours = next((tool for tool in tools if tool.name == OURS), None)
        if ours is not None and huge_gib and _wanted(options, "huge"):
            cases = (*cases, measure_huge(huge_gib, ours, folder, _say))
        roads: tuple[RoadResult, ...] = ()
        if _wanted(options, "roads"):
            roads = measure_roads(options.rounds, folder, _say)
    return Results(machine, size_mib, options.rounds, cases, roads)


def _measure_cases(
    options: argparse.Namespace, size_mib: int, tools: Sequence[Tool], folder: Path
) -> tuple[CaseResult, ...]:
    with _stage(folder) as stage:
        return tuple(
            measure_case(case, size_mib, tools, options.rounds, stage, _say)
            for case in CASES
            if _wanted(options, case.name)
        )


def _wanted(options: argparse.Namespace, case: str) -> bool:
    return not options.case or case in options.case


@contextlib.contextmanager
def _stage(folder: Path) -> Iterator[Stage]:
    content = folder / "source"
    with (
        docker_registry(folder / "a", content) as source,
        docker_registry(folder / "b", content, count=True) as counting,
    ):
        yield Stage(folder, source, counting)


def _write(results: Results, folder: Path, name: str, plot_with: str | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file, png = folder / f"{name}.json", folder / f"{name}.png"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    drawn = plot_with is not None and any(case.measured for case in results.cases)
    if drawn:
        subprocess.run([str(plot_with), "-m", "bench.plot", str(file), str(png)], check=True)
    page = markdown(results, picture=png.name if drawn else None)
    (folder / f"{name}.md").write_text(page)
    print(page)


def _name(options: argparse.Namespace) -> str:
    """Keep what a whole run found apart from what somebody only wanted to see quickly."""
    return "latest" if options.size == "full" and not options.case and not options.tool else "quick"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure copies, ours beside other tools'.")
    parser.add_argument("--size", default="full", help="MiB of the one large layer, or small (256), or full (2048)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (%(default)s)")
    parser.add_argument("--case", action="append", choices=_CASES, help="only this; may be given again")
    parser.add_argument("--tool", action="append", help="only this tool; may be given again")
    parser.add_argument(
        "--huge", type=int, metavar="GIB", help="size of the made-up layer (50 with --size full, else 0)"
    )
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where to write (%(default)s)")
    parser.add_argument("--plot-with", metavar="PYTHON", help="a Python that has matplotlib, for the plot")
    return parser


if __name__ == "__main__":
    sys.exit(main())
