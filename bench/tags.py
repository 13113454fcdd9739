"""Mirrors all tags of one repository by every tool in turn, or lets them see that nothing has changed."""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence

import requests

from bench.cases import TagsCase, image_bytes, tagged_images
from bench.copies import Stage, prove_published
from bench.homes import fresh_home
from bench.measure import CommandFailedError, run_measured
from bench.results import CaseResult, Requests, Run
from bench.rounds import run_rounds, with_requests, without_bare_loop
from bench.servers import Registry
from bench.tools import Mirroring, Tool, bare_loop
from local.images import LocalImage, push_image

REPOSITORY = "tags"
_MIRROR = f"mirror/{REPOSITORY}"


def measure_tags(case: TagsCase, tags: int, tools: Sequence[Tool], rounds: int, stage: Stage) -> CaseResult:
    """Measure every tool that mirrors `rounds` times, after a warm-up, and beside them a bare loop that compares."""
    tools = [tool for tool in tools if tool.commands.mirror is not None] + ([bare_loop()] if case.unchanged else [])
    images = tagged_images(tags, stage.seed)
    stage.say(f"{case.name}: {tags} {case.title}")
    with tags_registry(images, stage, "source") as source, _Targets(case, images, stage).open() as targets:
        results = run_rounds(tools, rounds, lambda tool: targets.mirror(tool, source), stage.say)
    able = {result.tool for result in results if result.problem is None}
    with (
        tags_registry(images, stage, "source", count=True) as source,
        _Targets(case, images, stage, count=True).open() as targets,
    ):
        requests_of = {tool.name: targets.count(tool, source) for tool in tools if tool.name in able}
    size = sum(image_bytes(image) for image in images.values())
    mirrored, bare = without_bare_loop(with_requests(results, requests_of))
    return CaseResult(case.name, f"{tags} {case.title}", size, mirrored, tags=tags, bare_loop=bare)


@contextlib.contextmanager
def tags_registry(
    images: Mapping[str, LocalImage], stage: Stage, name: str, repository: str = REPOSITORY, *, count: bool = False
) -> Iterator[Registry]:
    """Run a registry that has the tags."""
    folder = stage.folder / f"tags-{name}"
    with stage.registries.run(folder, folder / "content", count=count) as registry:
        for tag, image in images.items():
            push_image(image, registry.url, repository, tag)
        try:
            yield registry
        finally:
            registry.empty()


class _Targets:
    """The registries that are mirrored into: one that has everything, for all tools; or a new one for each run."""

    def __init__(self, case: TagsCase, images: Mapping[str, LocalImage], stage: Stage, *, count: bool = False) -> None:
        self._case, self._images, self._stage, self._count = case, images, stage, count
        self._numbers = itertools.count(1)
        self._full: Registry | None = None

    @contextlib.contextmanager
    def open(self) -> Iterator["_Targets"]:
        """Keep the registry that has everything, where the case wants one."""
        if not self._case.unchanged:
            yield self
            return
        with tags_registry(self._images, self._stage, "target", _MIRROR, count=self._count) as self._full:
            yield self

    def mirror(self, tool: Tool, source: Registry) -> Run:
        """Let a tool mirror or compare, and look whether all tags are there."""
        with self._target() as target:
            run = self._run(tool, source, target)
            self._prove(target)
        return run

    def count(self, tool: Tool, source: Registry) -> Requests:
        """Let it do that once more, and count what it asked of each side."""
        with self._target() as target:
            before = source.requests_seen().total(), target.requests_seen().total()
            self._run(tool, source, target)
            return Requests(source.requests_seen().total() - before[0], target.requests_seen().total() - before[1])

    def _run(self, tool: Tool, source: Registry, target: Registry) -> Run:
        names = f"{source.host}/{REPOSITORY}", f"{target.host}/{_MIRROR}"
        mirroring = Mirroring(*names, tuple(self._images), self._stage.folder, self._case.unchanged)
        with fresh_home(self._stage.folder) as environment:
            return run_measured(tool.mirror(mirroring), self._stage.folder / "cost.txt", environment).run

    @contextlib.contextmanager
    def _target(self) -> Iterator[Registry]:
        if self._full is not None:
            yield self._full
            return
        folder = self._stage.folder / f"tags-{next(self._numbers)}"
        with self._stage.registries.run(folder, folder / "content", count=self._count) as target:
            try:
                yield target
            finally:
                target.empty()

    def _prove(self, target: Registry) -> None:
        listed = requests.get(f"{target.url}/v2/{_MIRROR}/tags/list", timeout=30).json().get("tags") or []
        missing = self._images.keys() - set(listed)
        if missing:
            raise CommandFailedError(f"{len(missing)} tags that it should have published are missing")
        tags = tuple(self._images)
        for tag in (tags[0], tags[-1]):
            prove_published(target.url, _MIRROR, tag, self._images[tag])
