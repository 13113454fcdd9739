"""`python -m bench`: measure what is at hand and write the table. Decides only what is run and in what order."""

import argparse
import secrets
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from bench import lambda_table
from bench.authority import make_authority, trusted
from bench.cases import CASES, LARGE, MIB, TAGS_CASES
from bench.cold_start import measure_imports
from bench.copies import Stage, measure_case
from bench.ecr_check import count_calls
from bench.huge import measure_huge
from bench.lambda_sizes import measure_lambda_sizes
from bench.machine import describe_machine, work_folder
from bench.results import OURS, CaseResult, Results
from bench.roads import measure_roads
from bench.servers import Distribution, Registries, ServerFailedError, find_distribution
from bench.startup import measure_starts
from bench.table import markdown
from bench.tags import measure_tags
from bench.tools import Tool, find_tools

_SIZES_MIB = {"small": 64, "full": 512}
_HUGE_GIB = {"full": 50}
_TAGS = {"small": 40}
_FEW_ROUNDS = 2
_ALL_TAGS = 200
_RESULTS = Path(__file__).parent / "results"
_SPARE_BYTES = 1024 * MIB
_COPIES_HELD = 2  # of the largest layer: in the source and in the target
_CASES = (
    *(case.name for case in CASES),
    *(case.name for case in TAGS_CASES),
    *("huge", "ecr-check", "roads", "lambda", "startup", "imports"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; 1 if a server of it does not start or there is nothing to measure."""
    options = _parser().parse_args(arguments)
    tools = tuple(tool for tool in find_tools() if not options.tool or tool.name in options.tool)
    if not any(tool.program for tool in tools):
        print("bench: none of the tools is on this machine", file=sys.stderr)
        return 1
    try:
        results = _measure(options, tools, find_distribution(options.registry))
    except ServerFailedError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    _write(results, options)
    return 0


def _measure(options: argparse.Namespace, tools: Sequence[Tool], distribution: Distribution) -> Results:
    size_mib, tags = _size_mib(options), _TAGS.get(options.size, _ALL_TAGS)
    with work_folder(size_mib * MIB * LARGE * _COPIES_HELD + _SPARE_BYTES) as folder:
        machine = describe_machine(tools, distribution, folder)
        authority = make_authority(folder / "authority")
        # Content that nobody has seen: what a tool or a registry may remember of an earlier run is of no use.
        stage = Stage(folder, Registries(distribution, authority), secrets.randbelow(2**31), _say)
        ours = next((tool for tool in tools if tool.name == OURS and tool.program is not None), None)

        def wants(case: str, *, of_ours: bool = True) -> bool:
            return (not of_ours or ours is not None) and case in _wanted(options)

        def rounds_of(case: str) -> int:
            return _rounds(options, case)

        with trusted(authority):
            return Results(
                machine,
                size_mib,
                options.rounds,
                _measure_cases(options, size_mib, tags, tools, stage),
                roads=measure_roads(rounds_of("roads"), stage) if wants("roads") else (),
                lambda_sizes=measure_lambda_sizes(size_mib, rounds_of("lambda"), stage) if wants("lambda") else None,
                starts=measure_starts(tools, rounds_of("startup"), stage) if wants("startup", of_ours=False) else (),
                imports=measure_imports(rounds_of("imports"), stage) if wants("imports") else (),
                ecr_check=count_calls(tags, ours, stage) if ours is not None and wants("ecr-check") else None,
            )


def _measure_cases(
    options: argparse.Namespace, size_mib: int, tags: int, tools: Sequence[Tool], stage: Stage
) -> tuple[CaseResult, ...]:
    wanted = _wanted(options)
    cases = [
        measure_case(case, size_mib, tools, _rounds(options, case.name), stage) for case in CASES if case.name in wanted
    ]
    cases += [
        measure_tags(case, tags, tools, _rounds(options, case.name), stage)
        for case in TAGS_CASES
        if case.name in wanted
    ]
    huge_gib = _HUGE_GIB.get(options.size, 0) if options.huge is None else options.huge
    ours = next((tool for tool in tools if tool.name == OURS and tool.program is not None), None)
    if ours is not None and huge_gib and "huge" in wanted:
        cases.append(measure_huge(huge_gib, ours, stage))
    return tuple(cases)


def _wanted(options: argparse.Namespace) -> Collection[str]:
    return [case for case in options.case or _CASES if case not in options.without]


def _rounds(options: argparse.Namespace, case: str) -> int:
    rounds: int = options.rounds
    return min(rounds, _FEW_ROUNDS) if case in options.few else rounds


def _size_mib(options: argparse.Namespace) -> int:
    return _SIZES_MIB[options.size] if options.size in _SIZES_MIB else int(options.size)


def _write(results: Results, options: argparse.Namespace) -> None:
    folder, name = options.results, _name(options)
    folder.mkdir(parents=True, exist_ok=True)
    file, png = folder / f"{name}.json", folder / f"{name}.png"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    drawn = options.plot_with is not None and any(case.measured for case in results.cases)
    if drawn:
        subprocess.run([options.plot_with, "-m", "bench.plot", str(file), str(png)], check=True)
    page = markdown(results, picture=png.name if drawn else None)
    (folder / f"{name}.md").write_text(page)
    print(page)
    if options.write_docs and results.lambda_sizes is not None:
        operating = lambda_table.PAGE
        text = lambda_table.with_table(operating.read_text(encoding="utf-8"), results.lambda_sizes, results.machine)
        operating.write_text(text, encoding="utf-8")


def _name(options: argparse.Namespace) -> str:
    """Keep what a whole run found apart from what somebody only wanted to see quickly."""
    return "latest" if options.size == "full" and not options.case and not options.tool else "quick"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure copies, ours beside other tools'.")
    parser.add_argument("--size", default="full", help="MiB of the one layer, or small (64), or full (512)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (%(default)s)")
    parser.add_argument("--case", action="append", choices=_CASES, help="only this; may be given again")
    few = f"only {_FEW_ROUNDS} rounds of this; may be given again"
    parser.add_argument("--few", action="append", default=[], choices=_CASES, help=few)
    parser.add_argument(
        "--without", action="append", default=[], choices=_CASES, help="all but this; may be given again"
    )
    parser.add_argument("--tool", action="append", help="only this tool; may be given again")
    parser.add_argument("--registry", metavar="PROGRAM", help="CNCF distribution to run (docker-registry)")
    parser.add_argument(
        "--huge", type=int, metavar="GIB", help="size of the made-up layer (50 with --size full, else 0)"
    )
    parser.add_argument("--results", type=Path, default=_RESULTS, help="where to write (%(default)s)")
    parser.add_argument("--plot-with", metavar="PYTHON", help="a Python that has matplotlib, for the plot")
    parser.add_argument("--write-docs", action="store_true", help="write Lambda's sizes into docs/operating.md, too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
