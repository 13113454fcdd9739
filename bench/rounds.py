"""Copies one case by every tool, in turn, round after round. Decides the order and proves that a copy is one."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from bench.cases import SLOW_BYTES_PER_SECOND, SLOW_DELAY_SECONDS, Case, image_bytes
from bench.measure import CommandFailedError, run_measured
from bench.results import CaseResult, Requests, Run, ToolResult
from bench.servers import Registry, bench_server
from bench.tools import Copy, Tool
from local.images import LocalImage, push_image
from pullahead.oci import RawManifest

Say = Callable[[str], None]
TAG = "1"
_LOG_SETTLES_SECONDS = 0.2


class Stage(NamedTuple):
    """The registries. The counting pair works on the same content, with access logs, and is not timed."""

    folder: Path
    source: Registry
    target: Registry
    counting_source: Registry
    counting_target: Registry


def measure_case(case: Case, size_mib: int, tools: Sequence[Tool], rounds: int, stage: Stage, say: Say) -> CaseResult:
    """Measure every tool `rounds` times, after a warm-up."""
    image = case.make(size_mib)
    stage.source.empty()
    push_image(image, stage.source.url, case.name, TAG)
    size = image_bytes(image)
    say(f"{case.name}: {case.title}, {size / 1e6:,.0f} MB")
    attempts = _Attempts(case, image, stage, say)
    with _far(case, stage.source, stage.folder) as source:
        runs, problems = _rounds(attempts, source, tools, rounds)
    able = [tool for tool in tools if tool.name not in problems]
    with _far(case, stage.counting_source, stage.folder) as source:
        requests_of = {tool.name: attempts.count(tool, source) for tool in able}
    stage.source.empty()
    measured = [
        ToolResult(tool.name, tuple(runs[tool.name]), requests_of.get(tool.name), problems.get(tool.name))
        for tool in tools
    ]
    return CaseResult(case.name, case.title, size, tuple(measured))


def turns(tools: Sequence[Tool], number: int) -> tuple[Tool, ...]:
    """Let every round begin with another tool, so that none always comes after the same one."""
    first = number % len(tools)
    return (*tools[first:], *tools[:first])


def _rounds(
    attempts: "_Attempts", source: str, tools: Sequence[Tool], rounds: int
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    problems: dict[str, str] = {}
    for number in range(rounds + 1):
        for tool in turns(tools, number):
            if tool.name in problems:
                continue
            try:
                run = attempts.copy(tool, source, attempts.stage.target)
            except CommandFailedError as error:
                problems[tool.name] = str(error)
                attempts.say(f"  {tool.name}: {error}")
                continue
            if number > 0:  # the first round only warms up
                runs[tool.name].append(run)
    return runs, problems


class _Attempts:
    """Makes copies of one image, each into a repository of its own, and forgets them afterwards."""

    def __init__(self, case: Case, image: LocalImage, stage: Stage, say: Say) -> None:
        self._case, self._image = case, image
        self.stage, self.say = stage, say
        self._numbers = itertools.count(1)

    def copy(self, tool: Tool, source: str, target: Registry) -> Run:
        """Make one copy, look whether it is there, and empty the target."""
        repository = f"{self._case.name}-{next(self._numbers)}"
        copy = Copy(f"{source}/{self._case.name}:{TAG}", f"{target.host}/{repository}:{TAG}", self._case.all_platforms)
        try:
            run = run_measured(tool.copy(copy), self.stage.folder / "cost.txt").run
            prove_published(target.url, repository, self._image.root)
        finally:
            target.empty()
        engine = "" if run.engine_seconds is None else f" (engine {run.engine_seconds:.2f} s)"
        self.say(f"  {tool.name}: {run.wall_seconds:.2f} s{engine}, CPU {run.cpu_seconds:.2f} s")
        return run

    def count(self, tool: Tool, source: str) -> Requests:
        """Make one copy more, and count what it asked of each side."""
        registries = (self.stage.counting_source, self.stage.counting_target)
        before = [registry.requests_seen() for registry in registries]
        self.copy(tool, source, self.stage.counting_target)
        time.sleep(_LOG_SETTLES_SECONDS)  # an answer comes before its line in the log
        upstream, target = (registry.requests_seen() - seen for registry, seen in zip(registries, before, strict=True))
        return Requests(upstream, target - 1)  # less the bench's own look


def prove_published(url: str, repository: str, root: RawManifest) -> None:
    """Look whether the tag is there with the exact bytes. Raises CommandFailedError."""
    headers = {"Accept": root.descriptor.media_type}
    answer = requests.get(f"{url}/v2/{repository}/manifests/{TAG}", headers=headers, timeout=30)
    if answer.status_code != 200 or answer.content != root.content:
        raise CommandFailedError("the tag that it should have published is missing or another")


@contextlib.contextmanager
def _far(case: Case, registry: Registry, folder: Path) -> Iterator[str]:
    if not case.slow:
        yield registry.host
        return
    limits = [str(SLOW_BYTES_PER_SECOND), str(SLOW_DELAY_SECONDS)]
    with bench_server("bench.slow_proxy", [registry.host, *limits], folder / "slow_proxy.log") as host:
        yield host
