"""The world of a simulation: time, upstream registries with their latency, limits and faults, and what tags serve."""

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Final, NamedTuple

from pullahead.errors import NotFoundError, RateLimitedError, RegistryTimeoutError, Side
from pullahead.mirrors.rate_limit_budget import RemainingQuota
from pullahead.oci import Descriptor, Digest, Reference, digest_of, media_types
from pullahead.registry.rate_limits import Limits
from pullahead.registry.request import Inquiry, Request
from pullahead.registry.shared_rates import Window
from pullahead.rules.model import RateLimit, UpstreamSettings

START: Final = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
_DEAD_SECONDS, _TRICKLING_SECONDS, _REFUSED_SECONDS = 15.0, 30.0, 0.05  # until an error; tries included
_RETRY_AFTER_SECONDS = 60.0
_NO_RATE = RateLimit()


class SimulatedClock:
    """Implements `pullahead.clock.Clock`. Each invocation has its own time, which is set when it begins."""

    def __init__(self) -> None:
        self.seconds = START

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds


class Fault(NamedTuple):
    """What is wrong with a host, from when to when: `dead`, `trickles` or `refuses`, or a move of `moves` tags."""

    kind: str
    begins: float  # seconds after the start
    ends: float


@dataclass
class Host:
    """An upstream registry, and what of all tags is there."""

    name: str
    share: float
    latency: float  # seconds, of a HEAD
    faults: tuple[Fault, ...] = ()

    def fault(self, seconds: float) -> str:
        """Name the fault at a moment."""
        now = seconds - START
        return next((fault.kind for fault in self.faults if fault.begins <= now < fault.ends), "")


@dataclass
class Tag:
    """An upstream tag: when it moved, when it was last asked for, and how often."""

    host: Host
    version: int = 0
    moved_at: float | None = None  # and nobody has seen it yet
    moved_by_event: bool = False
    asked_at: float | None = None
    checks: int = 0


@dataclass
class HostMeasurements:
    """What is measured of one host."""

    heads: int = 0
    refused: int = 0
    ages: list[float] = field(default_factory=list)  # between checks of one tag
    lags: list[float] = field(default_factory=list)  # from a move until it is seen, by polling
    event_lags: list[float] = field(default_factory=list)
    refresh_lags: list[float] = field(default_factory=list)  # from a move that was seen until ECR serves it


class SimulatedWorld:
    """All tags and what was seen of them. What came before `measured_from` is not measured."""

    def __init__(self, hosts: Iterable[Host], seed: int = 1) -> None:
        self.hosts = {host.name: host for host in hosts}
        self.tags: dict[str, Tag] = {}
        self.seen = defaultdict[str, HostMeasurements](HostMeasurements)
        self.measured_from = START
        self.random = Random(seed)  # noqa: S311 - it is to be the same in every run
        self.rate_counts = defaultdict[tuple[str, Window], int](int)
        self.writes = 0

    def digest(self, reference: str, version: int) -> Digest:
        """Return what a version of a tag is."""
        return digest_of(f"{reference} {version}".encode())

    def take(self, host: str, window: Window) -> int:
        """Take a part of a host's rate, as DynamoDB counts it."""
        self.writes += 1
        before = self.rate_counts[host, window]
        self.rate_counts[host, window] += window.part
        return max(0, min(window.part, window.requests - before))

    def head(self, reference: str, seconds: float) -> int:
        """Answer a HEAD with the tag's version, and note that it was asked for."""
        tag = self.tags[reference]
        seen, is_measured = self.seen[tag.host.name], seconds >= self.measured_from
        tag.checks += 1
        if is_measured:
            seen.heads += 1
            if tag.asked_at is not None:
                seen.ages.append(seconds - tag.asked_at)
        tag.asked_at = seconds
        if tag.moved_at is not None and seconds >= tag.moved_at:
            if is_measured:
                (seen.event_lags if tag.moved_by_event else seen.lags).append(seconds - tag.moved_at)
            tag.moved_at = None
        return tag.version

    def move(self, reference: str, seconds: float, *, by_event: bool) -> None:
        """Let a tag move."""
        tag = self.tags[reference]
        tag.version += 1
        if tag.moved_at is None:
            tag.moved_at, tag.moved_by_event = seconds, by_event


class SimulatedUpstream:
    """One process's view of all registries, as far as checks need it: with the real limits, and the world's answers."""

    def __init__(
        self, world: SimulatedWorld, clock: SimulatedClock, settings: Callable[[str], UpstreamSettings | None]
    ):
        def limit_of(host: str) -> RateLimit:
            known = settings(host)
            return known.rate_limit if known is not None else _NO_RATE

        self._world, self._clock = world, clock
        self._limits = Limits(limit_of, clock=lambda: clock.seconds, sleep=clock.sleep, patience=0.5, take=world.take)

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:
        """Ask for a tag: wait for the turn, then for the answer."""
        name = str(reference)
        host = self._world.hosts[reference.repository.registry]
        inquiry = Inquiry("HEAD manifest", name)
        url = f"https://{host.name}/v2/{reference.repository.path}/manifests/{reference.locator}"
        with self._limits.turn(Request("HEAD", url, {}, inquiry, by_event=by_event), 30.0) as answered:
            fault = host.fault(self._clock.seconds)
            if fault == "dead":
                self._clock.sleep(_DEAD_SECONDS)
                raise RegistryTimeoutError("connection timed out", operation="HEAD", side=Side.UPSTREAM, reference=name)
            if fault == "trickles":
                self._clock.sleep(_TRICKLING_SECONDS)
                raise RegistryTimeoutError("no answer", operation="HEAD", side=Side.UPSTREAM, reference=name)
            if fault == "refuses":
                self._clock.sleep(_REFUSED_SECONDS)
                self._world.seen[host.name].refused += 1
                answered(429, {"Retry-After": f"{_RETRY_AFTER_SECONDS:g}"})
                raise RateLimitedError(
                    "too many requests",
                    operation="HEAD",
                    side=Side.UPSTREAM,
                    reference=name,
                    status=429,
                    retry_after_seconds=_RETRY_AFTER_SECONDS,
                )
            self._clock.sleep(host.latency * self._world.random.uniform(0.7, 1.5))
            if name not in self._world.tags:
                raise NotFoundError("not found", operation="HEAD", side=Side.UPSTREAM, reference=name, status=404)
            answered(200, {})
            version = self._world.head(name, self._clock.seconds)
        return Descriptor(media_types.OCI_MANIFEST, self._world.digest(name, version), 500)

    def quota(self, _registry: str) -> RemainingQuota | None:
        """Tell nothing of limits."""
        return None


class AskingInTurn:
    """Implements `pullahead.checks.upstream_pool.Asking` in simulated time: waits overlap, CPU time does not."""

    def __init__(self, clock: SimulatedClock, cpu_seconds: float) -> None:
        self._clock, self._cpu_seconds = clock, cpu_seconds
        self._answers: list[tuple[float, int, Any]] = []

    def ask(self, number: int, ask: Callable[[], Any]) -> None:
        """Find out when a question is answered, and how."""
        begun = self._clock.seconds
        try:
            value = ask()
        except Exception as error:  # noqa: BLE001 - it is an answer
            value = error
        ended, self._clock.seconds = self._clock.seconds, begun
        heapq.heappush(self._answers, (ended, number, value))

    def answer(self, seconds: float) -> tuple[int, Any] | None:
        """Go on to the next answer."""
        until = self._clock.seconds + seconds
        if not self._answers or self._answers[0][0] > until:
            self._clock.seconds = until
            return None
        ended, number, value = heapq.heappop(self._answers)
        self._clock.seconds = max(self._clock.seconds, ended) + self._cpu_seconds
        return number, value

    def close(self) -> None:
        """Leave nothing open."""


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of all is; nan where there is none."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
