"""What a bench run leaves behind, as it is written to `latest.json`. Decides medians; knows no goal and no layout."""

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

OURS = "pullahead"
BARE_LOOP = "a bare loop"
REQUESTS_ALONE = "a Python that imports requests alone"


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
    """All tools in one case. `bare_loop`: a Python process that does only what every tool must, as their measure."""

    case: str
    title: str
    size_bytes: int
    tools: tuple[ToolResult, ...]
    tags: int = 1
    bare_loop: ToolResult | None = None

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
    """CPU of the client for 10 MiB into ECR by one road."""

    road: str
    cpu_ms: tuple[float, ...] = ()
    problem: str | None = None


class Sent(msgspec.Struct, frozen=True):
    """One copy by `copy_blobs` within a share of a CPU, from its call to its answer."""

    seconds: float
    cpu_seconds: float
    peak_rss_mib: float


class SizeResult(msgspec.Struct, frozen=True):
    """What `copy_blobs` does in one size of Lambda, by one road."""

    memory_mb: int
    share: float
    road: str
    sent: tuple[Sent, ...] = ()
    problem: str | None = None


class LambdaResult(msgspec.Struct, frozen=True):
    """One layer into ECR in Lambda's sizes. `limited_by`: what held the function to its share of a CPU."""

    size_bytes: int
    limited_by: str
    sizes: tuple[SizeResult, ...]


class StartResult(msgspec.Struct, frozen=True):
    """What a command takes until its first request is there."""

    name: str
    cpu_ms: tuple[float, ...] = ()
    wall_ms: tuple[float, ...] = ()
    problem: str | None = None


class ImportResult(msgspec.Struct, frozen=True):
    """What importing a handler takes: with the layer as it is built, and without the layer's bytecode.

    `largest`: the five packages of which the imports take longest by themselves, with milliseconds of wall.
    """

    function: str
    cpu_ms: tuple[float, ...] = ()
    uncompiled_cpu_ms: tuple[float, ...] = ()
    largest: tuple[tuple[str, int], ...] = ()
    problem: str | None = None


class CallsResult(msgspec.Struct, frozen=True):
    """What one `pullahead check` of unchanged tags asks of upstream, by method, and of ECR, by operation."""

    tags: int
    upstream: dict[str, int] = {}
    ecr: dict[str, int] = {}
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
    absent: tuple[str, ...] = ()


class Results(msgspec.Struct, frozen=True):
    """One run of the bench."""

    machine: Machine
    size_mib: int
    rounds: int
    cases: tuple[CaseResult, ...]
    roads: tuple[RoadResult, ...] = ()
    lambda_sizes: LambdaResult | None = None
    starts: tuple[StartResult, ...] = ()
    imports: tuple[ImportResult, ...] = ()
    ecr_check: CallsResult | None = None


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


def paired(ours: Sequence[float], others: Sequence[float]) -> float:
    """Take the median of the ratios of rounds: what slows a round down slows both."""
    return statistics.median(one / other for one, other in zip(ours, others, strict=True))


def spread(runs: Sequence[Run]) -> float:
    """Say how far apart the fastest and the slowest wall are, as a share of the median."""
    walls = [run.wall_seconds for run in runs]
    return (max(walls) - min(walls)) / statistics.median(walls)
