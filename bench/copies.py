"""Copies one image by every tool in turn, and proves that a copy is one. The order is decided in rounds."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from bench.authority import Authority
from bench.cases import SLOW_BYTES_PER_SECOND, SLOW_DELAY_SECONDS, Case, image_bytes
from bench.homes import fresh_home
from bench.measure import CommandFailedError, run_measured
from bench.results import CaseResult, Requests, Run
from bench.rounds import Say, run_rounds, with_requests, without_bare_loop
from bench.servers import Registries, Registry, bench_server
from bench.tools import Copy, Tool, bare_loop
from local.images import LocalImage, push_image

TAG = "1"


class Stage(NamedTuple):
    """Where a run of the bench takes place, and what it makes content from."""

    folder: Path
    registries: Registries
    seed: int
    say: Say

    @property
    def authority(self) -> Authority:
        """Whom everybody trusts."""
        return self.registries.authority


def measure_case(case: Case, size_mib: int, tools: Sequence[Tool], rounds: int, stage: Stage) -> CaseResult:
    """Measure every tool that copies `rounds` times, after a warm-up, and a bare loop beside them.

    Not of a slow upstream: there several connections are quicker, and the bare loop has one.
    """
    tools = [tool for tool in tools if tool.commands.copy is not None] + ([] if case.slow else [bare_loop()])
    image = case.make(size_mib, stage.seed)
    size = image_bytes(image)
    stage.say(f"{case.name}: {case.title}, {size / 1e6:,.0f} MB")
    attempts = _Attempts(case, image, stage)
    with _source(case, image, stage, count=False) as source:
        results = run_rounds(tools, rounds, lambda tool: attempts.copy(tool, source.host), stage.say)
    able = {result.tool for result in results if result.problem is None}
    with _source(case, image, stage, count=True) as source:
        requests_of = {tool.name: attempts.count(tool, source) for tool in tools if tool.name in able}
    copied, bare = without_bare_loop(with_requests(results, requests_of))
    return CaseResult(case.name, case.title, size, copied, bare_loop=bare)


class Source(NamedTuple):
    """Where tools copy from, and the registry behind it."""

    host: str
    registry: Registry


@contextlib.contextmanager
def _source(case: Case, image: LocalImage, stage: Stage, *, count: bool) -> Iterator[Source]:
    """Run a registry that has the image, far away if the case says so."""
    folder = stage.folder / f"source-{'counting' if count else 'timed'}"
    with stage.registries.run(folder, folder / "content", count=count, plain_http=case.plain_http) as registry:
        push_image(image, registry.url, case.name, TAG)
        try:
            with _far(case, registry.host, stage.folder) as host:
                yield Source(host, registry)
        finally:
            registry.empty()


@contextlib.contextmanager
def _far(case: Case, host: str, folder: Path) -> Iterator[str]:
    if not case.slow:
        yield host
        return
    limits = [str(SLOW_BYTES_PER_SECOND), str(SLOW_DELAY_SECONDS)]
    with bench_server("bench.slow_proxy", [host, *limits], folder / "slow_proxy.log") as far:
        yield far


class _Attempts:
    """Makes copies of one image, each by a tool that remembers nothing into a target that was never used."""

    def __init__(self, case: Case, image: LocalImage, stage: Stage) -> None:
        self._case, self._image, self._stage = case, image, stage
        self._numbers = itertools.count(1)

    def copy(self, tool: Tool, source: str) -> Run:
        """Make one copy, and look whether it is there."""
        with self._target() as target:
            return self._copy(tool, source, target)

    def count(self, tool: Tool, source: Source) -> Requests:
        """Make one copy more, and count what it asked of each side."""
        with self._target(count=True) as target:
            before = source.registry.requests_seen().total(), target.requests_seen().total()
            self._copy(tool, source.host, target, prove=False)
            return Requests(
                source.registry.requests_seen().total() - before[0], target.requests_seen().total() - before[1]
            )

    def _copy(self, tool: Tool, source: str, target: Registry, *, prove: bool = True) -> Run:
        repository = target.content.parent.name
        names = f"{source}/{self._case.name}:{TAG}", f"{target.host}/{repository}:{TAG}"
        command = tool.copy(Copy(*names, self._case.all_platforms, self._case.plain_http))
        with fresh_home(self._stage.folder) as environment:
            run = run_measured(command, self._stage.folder / "cost.txt", environment).run
        if prove:
            prove_published(target.url, repository, TAG, self._image)
        return run

    @contextlib.contextmanager
    def _target(self, *, count: bool = False) -> Iterator[Registry]:
        folder = self._stage.folder / f"{self._case.name}-{next(self._numbers)}"
        plain = self._case.plain_http
        with self._stage.registries.run(folder, folder / "content", count=count, plain_http=plain) as target:
            try:
                yield target
            finally:
                target.empty()


def prove_published(url: str, repository: str, tag: str, image: LocalImage) -> None:
    """Look whether the tag is there with the exact bytes. Raises CommandFailedError."""
    headers = {"Accept": image.root.descriptor.media_type}
    answer = requests.get(f"{url}/v2/{repository}/manifests/{tag}", headers=headers, timeout=30)
    if answer.status_code != 200 or answer.content != image.root.content:
        raise CommandFailedError(f"the tag {tag} that it should have published is missing or another")
