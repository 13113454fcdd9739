"""One chaos run: rounds of trouble, then peace, then what must have been held."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from pullahead.alerts.incidents import MORE_INTERVAL
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import State
from tests.chaos.troubles import Troubles, kept_since
from tests.chaos.world import ALERT_AFTER, HONEST, INTERVAL, SCHEDULE, ChaosMirror, World, chaos_world
from tests.polling import until

MOST_LAG: Final = 2 * INTERVAL
"""A move right after a check is found by the next one; a check or a refresh that fails is made again after half of an
interval."""

_KILL_PAUSE_SECONDS: Final = 0.4
_TICKS: Final = int(INTERVAL / SCHEDULE)
_HONEST_IN_THE_END: Final = (*HONEST, "flapping", "dripping")


class Size(NamedTuple):
    """How large a run is: mirrors, rounds of trouble, kills in each, how many mirrors move and are poisoned, and rounds
    of peace, until everything that is due was told."""

    mirrors: int
    rounds: int
    kills: int
    moves: int
    poisoned: int
    peace: int


_ALERTED: Final = int(ALERT_AFTER / INTERVAL) + 1
_ALL_TOLD: Final = int(MORE_INTERVAL / INTERVAL) + 1
"""An incident's further mirrors are told together, an hour after it was. Of one record that is poisoned there are none.
"""
SHORT: Final = Size(7, 1, 2, 2, 1, _ALERTED)
LONG: Final = Size(50, 8, 6, 10, 2, _ALL_TOLD)


class Expectation(NamedTuple):
    """One thing that must hold: in words, and where it did not."""

    what: str
    findings: tuple[str, ...]


class Report(NamedTuple):
    """What a run did, and what was held."""

    seed: int
    seconds: float
    done: Counter[str]
    held: tuple[Expectation, ...]
    longest_lag: timedelta

    @property
    def is_good(self) -> bool:
        """Whether everything was held."""
        return not any(each.findings for each in self.held)


def run_chaos(folder: Path, size: Size, seed: int) -> Report:
    """Run it. What goes wrong is the seed's choice; when exactly functions are killed is not."""
    began, chance = time.monotonic(), random.Random(seed)  # noqa: S311
    with chaos_world(folder, size.mirrors, chance) as world:
        troubles, lags = Troubles(world, chance), Lags(world)
        world.tick()
        world.settle()
        lags.measure()
        for number in range(size.rounds):
            _trouble(world, troubles, size, number, chance)
            lags.measure()
            world.hear()
        _peace(world, troubles, size.peace)
        lags.measure()
        held = tuple(_held(world, troubles, lags))
        troubles.done["refreshes"] = len(world.deployment.runs("RecordOutcome"))
        troubles.done["invocations"] = len(world.aws.invocations)
        return Report(seed, time.monotonic() - began, troubles.done, held, lags.longest)


def _trouble(world: World, troubles: Troubles, size: Size, number: int, chance: random.Random) -> None:
    troubles.sick_upstreams(number, size.rounds)
    for mirror in chance.sample(world.of(*HONEST), min(size.moves, len(world.of(*HONEST)))):
        world.move(mirror)
        troubles.done["tags moved"] += 1
    for mirror in world.of("lying"):
        world.move(mirror)
        troubles.lie(mirror)
    for mirror in chance.sample(world.of("flapping", "dripping"), min(2, len(world.of("flapping", "dripping")))):
        world.move(mirror)
        troubles.done["tags moved"] += 1
    for mirror in chance.sample(world.of(*HONEST), size.poisoned):
        troubles.poison(mirror)
    troubles.services(on=True)
    troubles.ecr()
    for tick in range(_TICKS):
        troubles.next_schedule()
        world.tick()
        if tick == 0:
            troubles.messages()
        for _ in range(size.kills // _TICKS):
            moment = time.monotonic() + chance.uniform(0.1, _KILL_PAUSE_SECONDS)
            until(lambda moment=moment: time.monotonic() >= moment, "the moment comes")  # type: ignore[misc]
            troubles.kill()
        world.settle()
    troubles.services(on=False)


def _peace(world: World, troubles: Troubles, rounds: int) -> None:
    """Let everything but the lying and the vanished upstream be well, until every alert that is due was sent."""
    world.aws.ecr.faults.clear()
    world.upstreams["flapping"].down = False
    world.upstreams["dripping"].limit_bytes_per_second = None
    for _ in range(rounds):
        world.tick(INTERVAL)
        world.settle()
    world.hear()
    troubles.done["rounds of peace"] = rounds


class Lags:
    """How long honest mirrors took from a move to its publication, by the clock of the local AWS."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[ChaosMirror, str] = {}
        self.findings: list[str] = []
        self.longest = timedelta()

    def measure(self) -> None:
        """Look at every honest mirror that has moved."""
        for mirror in self._world.of(*HONEST):
            moved_at, record = self._world.moved_at[mirror.key], self._world.record(mirror)
            wanted = self._world.served[mirror.key][-1].digest
            if self._world.published(mirror) != wanted:
                lag = self._world.aws.clock.now() - moved_at
            else:
                refresh = record.last_refresh if record is not None else None
                if refresh is None or refresh.ended_at < moved_at:
                    continue  # it did not move, or its record was damaged since
                lag = refresh.ended_at - moved_at
            self.longest = max(self.longest, lag)
            if lag >= MOST_LAG:
                why = (record.cause or record.reason) if record is not None else "no record"
                self.findings.append(f"{mirror.key} was {lag} behind ({why})")


def _held(world: World, troubles: Troubles, lags: Lags) -> Iterator[Expectation]:
    mirrors = world.mirrors
    yield Expectation("every honest mirror is FRESH", tuple(_not_fresh(world)))
    yield Expectation("every honest mirror serves the right bytes", tuple(_wrong_bytes(world)))
    yield Expectation("nothing is published half, or was never served", tuple(_half(world, mirrors)))
    yield Expectation(f"honest mirrors lagged less than {MOST_LAG}", tuple(lags.findings))
    yield Expectation("every trouble was told once", tuple(_told_wrongly(world, troubles)))
    yield Expectation("only what means nothing is in the dead-letter queue", tuple(_dead_letters(world)))
    yield Expectation("every damaged record was written anew", tuple(_unread(world)))


def _not_fresh(world: World) -> Iterator[str]:
    for mirror in world.of(*_HONEST_IN_THE_END):
        record = world.record(mirror)
        if record is None or record.state is not State.FRESH:
            yield f"{mirror.key}: {record.state if record else 'no record'} {record.cause if record else ''}"


def _wrong_bytes(world: World) -> Iterator[str]:
    for mirror in world.of(*_HONEST_IN_THE_END):
        wanted = world.served[mirror.key][-1].digest
        if (served := world.published(mirror)) != wanted:
            yield f"{mirror.key}: ECR serves {served}, upstream {wanted}"


def _half(world: World, mirrors: list[ChaosMirror]) -> Iterator[str]:
    for mirror in mirrors:
        try:
            pulled = world.pull(mirror)
        except Exception as error:  # noqa: BLE001 - whatever a pull meets, it is a finding
            yield f"{mirror.key}: {type(error).__name__}: {error}"
            continue
        if pulled is not None and pulled.digest not in {image.digest for image in world.served[mirror.key]}:
            yield f"{mirror.key}: {pulled.digest} was never served upstream"


def _told_wrongly(world: World, troubles: Troubles) -> Iterator[str]:
    """Compare what was told with what happened: once for each record that was begun anew since it was poisoned (a check
    that had read it before may have written it whole) and each mirror that upstream lied about; once for the upstream
    that has vanished, whichever of its mirrors that message names; of honest mirrors nothing else."""
    for mirror in world.mirrors:
        about = Counter(told.about for told in world.told if _names(told.text, mirror) and told.kind != "RECOVERED")
        record, kept = world.record(mirror), troubles.poisoned.get(mirror)
        is_lost = kept is not None and (record is None or kept_since(record) > kept)
        expected = Counter({AlertKind.RECORD_DAMAGED.value: int(is_lost)})
        if mirror.manner == "lying":
            expected[AlertKind.BLOCKED.value] = 1
        if mirror.manner == "vanishing":  # one that is found out after the message is no news: it is the same outage
            expected[AlertKind.UPSTREAM_UNREACHABLE.value] = min(1, about[AlertKind.UPSTREAM_UNREACHABLE.value])
        if mirror.manner in ("flapping", "dripping"):
            continue  # how long they are late is by chance
        if +expected != +about:
            yield f"{mirror.key}: told {dict(about)}, not {dict(+expected)}"
    vanished = world.upstreams["vanishing"].host
    messages = [told.kind for told in world.told if told.upstream == vanished and told.kind == told.about]
    if world.of("vanishing") and messages != [AlertKind.UPSTREAM_UNREACHABLE.value]:
        yield f"{vanished}, which has vanished: told {messages}, not once"


def _names(text: str, mirror: ChaosMirror) -> bool:
    return f"{mirror.key}" in text.replace("\n", " ").split(" ")


def _dead_letters(world: World) -> Iterator[str]:
    yield from (body for body in world.dead_letters() if body != "{")


def _unread(world: World) -> Iterator[str]:
    yield from (f"{type(each).__name__} {each.key}" for each in world.records.scan() if not hasattr(each, "state"))
