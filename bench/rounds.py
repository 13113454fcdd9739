"""Copies one case by every tool, in turn, round after round. Decides the order and proves that a copy is one."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from bench.cases import SLOW_BYTES_PER_SECOND, SLOW_DELAY_SECONDS, Case, image_bytes
from bench.floor import BlobFiles, blob_files, push_alone
from bench.homes import fresh_home
from bench.measure import CommandFailedError, run_measured
from bench.results import CaseResult, Requests, Run, ToolResult
from bench.servers import Registry, bench_server, docker_registry
from bench.tools import Copy, Tool
from local.images import LocalImage, push_image
from pullahead.oci import RawManifest

Say = Callable[[str], None]
TAG = "1"
_LOG_SETTLES_SECONDS = 0.2


class Stage(NamedTuple):
    """Where copies come from. The counting source has the same content and an access log, and is not timed."""

    folder: Path
    source: Registry
    counting_source: Registry


class Attempt(NamedTuple):
    """One copy that was made, and how often it asked its target, where that was counted."""

    run: Run
    target_requests: int


def measure_case(case: Case, size_mib: int, tools: Sequence[Tool], rounds: int, stage: Stage, say: Say) -> CaseResult:
    """Measure every tool `rounds` times, after a warm-up."""
    image = case.make(size_mib)
    stage.source.empty()
    push_image(image, stage.source.url, case.name, TAG)
    size = image_bytes(image)
    say(f"{case.name}: {case.title}, {size / 1e6:,.0f} MB")
    attempts = _Attempts(case, image, stage, say)
    with _far(case, stage.source, stage.folder) as source, blob_files(image, stage.folder) as files:
        runs, problems, floor = _rounds(attempts, source, tools, rounds, () if case.slow else files)
    able = [tool for tool in tools if tool.name not in problems]
    with _far(case, stage.counting_source, stage.folder) as source:
        requests_of = {tool.name: attempts.count(tool, source) for tool in able}
    stage.source.empty()
    measured = [
        ToolResult(tool.name, tuple(runs[tool.name]), requests_of.get(tool.name), problems.get(tool.name))
        for tool in tools
    ]
    return CaseResult(case.name, case.title, size, tuple(measured), floor)


def turns(tools: Sequence[Tool], number: int) -> tuple[Tool, ...]:
    """Let every round begin with another tool, so that none always comes after the same one."""
    first = number % len(tools)
    return (*tools[first:], *tools[:first])


def _rounds(
    attempts: "_Attempts", source: str, tools: Sequence[Tool], rounds: int, files: BlobFiles
) -> tuple[dict[str, list[Run]], dict[str, str], tuple[float, ...]]:
    runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    problems: dict[str, str] = {}
    floor: list[float] = []
    for number in range(rounds + 1):
        for tool in turns(tools, number):
            if tool.name in problems:
                continue
            try:
                run = attempts.copy(tool, source).run
            except CommandFailedError as error:
                problems[tool.name] = str(error)
                attempts.say(f"  {tool.name}: {error}")
                continue
            if number > 0:  # the first round only warms up
                runs[tool.name].append(run)
        if files and number > 0:
            floor.append(attempts.push_alone(files))
    return runs, problems, tuple(floor)


class _Attempts:
    """Makes copies of one image, each by a tool that remembers nothing into a target that was never used."""

    def __init__(self, case: Case, image: LocalImage, stage: Stage, say: Say) -> None:
        self._case, self._image = case, image
        self.stage, self.say = stage, say
        self._numbers = itertools.count(1)

    def copy(self, tool: Tool, source: str, *, count: bool = False) -> Attempt:
        """Make one copy, and look whether it is there."""
        repository = f"{self._case.name}-{next(self._numbers)}"
        folder = self.stage.folder / repository
        with (
            fresh_home(self.stage.folder) as environment,
            docker_registry(folder, folder / "content", count=count) as target,
        ):
            names = f"{source}/{self._case.name}:{TAG}", f"{target.host}/{repository}:{TAG}"
            before = _requests_seen(target) if count else 0
            command = tool.copy(Copy(*names, self._case.all_platforms))
            try:
                run = run_measured(command, self.stage.folder / "cost.txt", environment).run
                asked = _requests_seen(target) - before if count else 0
                prove_published(target.url, repository, self._image.root)
            finally:
                target.empty()
        engine = "" if run.engine_seconds is None else f" (engine {run.engine_seconds:.2f} s)"
        self.say(f"  {tool.name}: {run.wall_seconds:.2f} s{engine}, CPU {run.cpu_seconds:.2f} s")
        return Attempt(run, asked)

    def push_alone(self, files: BlobFiles) -> float:
        """Let the target alone show what it takes."""
        folder = self.stage.folder / f"floor-{next(self._numbers)}"
        with docker_registry(folder, folder / "content") as target:
            seconds = push_alone(files, target)
            target.empty()
        self.say(f"  the target alone: {seconds:.2f} s")
        return seconds

    def count(self, tool: Tool, source: str) -> Requests:
        """Make one copy more, and count what it asked of each side."""
        before = self.stage.counting_source.requests_seen()
        target = self.copy(tool, source, count=True).target_requests
        return Requests(self.stage.counting_source.requests_seen() - before, target)


def _requests_seen(registry: Registry) -> int:
    time.sleep(_LOG_SETTLES_SECONDS)  # an answer comes before its line in the log
    return registry.requests_seen()


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
