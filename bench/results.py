"""What a bench run leaves behind, as it is written to `latest.json`. Decides medians; knows no goal and no layout."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

OURS = "pullahead"


class Run(msgspec.Struct, frozen=True):
    """One copy by one tool. `engine_seconds` is what a tool says of itself: without its interpreter's start."""

    wall_seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    engine_seconds: float | None = None


class Requests(msgspec.Struct, frozen=True):
    """Requests of one copy, counted by the registries."""

    upstream: int
    target: int

    @property
    def total(self) -> int:
        """Both sides together."""
        return self.upstream + self.target


class ToolResult(msgspec.Struct, frozen=True):
    """What one tool did in one case. With a `problem` it did not do it at all, and `runs` does not count."""

    tool: str
    runs: tuple[Run, ...] = ()
    requests: Requests | None = None
    problem: str | None = None

    @property
    def measured(self) -> bool:
        """Whether there is anything to compare."""
        return self.problem is None and bool(self.runs)


class CaseResult(msgspec.Struct, frozen=True):
    """All tools in one case."""

    case: str
    title: str
    size_bytes: int
    tools: tuple[ToolResult, ...]
    floor_seconds: tuple[float, ...] = ()  # what the target alone takes for the large blobs, in each round

    @property
    def measured(self) -> bool:
        """Whether any tool did it."""
        return any(result.measured for result in self.tools)

    def find(self, tool: str) -> ToolResult | None:
        """Find a tool that did the case."""
        return next((result for result in self.tools if result.tool == tool and result.measured), None)

    def peers(self) -> tuple[ToolResult, ...]:
        """All other tools that did the case."""
        return tuple(result for result in self.tools if result.tool != OURS and result.measured)


class RoadResult(msgspec.Struct, frozen=True):
    """CPU of the client for 10 MiB into the local ECR by one road."""

    road: str
    cpu_ms: tuple[float, ...] = ()
    problem: str | None = None


class Machine(msgspec.Struct, frozen=True):
    """Where and with what it was measured."""

    date: str
    cpus: str
    kernel: str
    memory_gib: int
    storage: str
    load_before: float
    versions: dict[str, str]


class Results(msgspec.Struct, frozen=True):
    """One run of the bench."""

    machine: Machine
    size_mib: int
    rounds: int
    cases: tuple[CaseResult, ...]
    roads: tuple[RoadResult, ...] = ()


class Figures(NamedTuple):
    """Medians of one tool in one case."""

    wall_seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    engine_seconds: float | None

    def rate(self, size_bytes: int) -> float:
        """Megabytes a second."""
        return size_bytes / 1e6 / self.wall_seconds


def medians(runs: Sequence[Run]) -> Figures:
    """Take each figure's own median. The engine's is known only if every run said it."""

    def median(figure: Callable[[Run], float]) -> float:
        return statistics.median(map(figure, runs))

    engine = [run.engine_seconds for run in runs if run.engine_seconds is not None]
    return Figures(
        median(lambda run: run.wall_seconds),
        median(lambda run: run.cpu_seconds),
        median(lambda run: run.peak_rss_mib),
        statistics.median(engine) if len(engine) == len(runs) else None,
    )


def spread(runs: Sequence[Run]) -> float:
    """Say how far apart the fastest and the slowest wall are, as a share of the median."""
    walls = [run.wall_seconds for run in runs]
    return (max(walls) - min(walls)) / statistics.median(walls)
