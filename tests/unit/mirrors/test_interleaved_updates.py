"""In whatever order checks, refreshes and the world go on, step by step, a record ends the same, and loses nothing.

The order is hypothesis's choice at each call of a port; so is who dies at which call, and what comes twice. What holds
of every write is proved on the ledger of writes; what holds in the end, after the world has come to rest.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pullahead.errors import NotFoundError, PullaheadError, RegistryUnavailableError
from pullahead.messages import OutcomeRequest, PublishResult
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import MirrorRecord, Record, State
from pullahead.oci import Digest
from pullahead.refresh.record_outcome import record_outcome
from tests.fakes.crowd import STRANGE, A, B, Crowd, Ledger, Plot, Ports, World
from tests.fakes.outcomes import announcer
from tests.fakes.samples import failed
from tests.unit.mirrors.ledger_claims import check_events, check_ledger, check_told

_HOURS = timedelta(hours=7)  # longer than a blocked mirror waits
_DAYS = timedelta(days=2)  # longer than anything that was told waits to be told again
_LAST_REVIEWS = 3
_REVIEWS = 3  # of each who reviews
_LAST_CHECKS = 3  # one finds what is left over, and starts a refresh; one finds its end; one finds nothing to do

Move = Callable[[World], object]
MOVES: Mapping[str, Move] = {
    "upstream serves A": lambda world: setattr(world, "upstream", A),
    "upstream serves B": lambda world: setattr(world, "upstream", B),
    "upstream lost the tag": lambda world: setattr(world, "upstream", failed(NotFoundError)),
    "upstream is down": lambda world: setattr(world, "upstream", failed(RegistryUnavailableError)),
    "somebody overwrites": lambda world: setattr(world, "published", STRANGE.digest),
    "somebody deletes": lambda world: setattr(world, "published", None),
    "an hour goes by": lambda world: world.let_pass(hours=1),
    "a day goes by": lambda world: world.let_pass(days=1),
    "the rule is paused": lambda world: setattr(world, "paused", True),
    "the rule goes on": lambda world: setattr(world, "paused", False),
}

choices = st.lists(st.integers(0, 11), min_size=40, max_size=80)
checks = st.lists(st.sampled_from(["schedule", "schedule", "push", "manual"]), min_size=2, max_size=5)
steps = st.lists(st.sampled_from(sorted(MOVES)), min_size=1, max_size=6)
deliveries = st.lists(st.integers(1, 2), max_size=4)
failures = st.lists(st.sampled_from(["", "", "RegistryTimeoutError", "DigestMismatchError"]), max_size=3)
stops = st.lists(st.none() | st.integers(0, 9), max_size=4)
worlds: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    upstream=st.sampled_from(["upstream serves A"] * 3 + ["upstream lost the tag", "upstream is down"]),
    published=st.sampled_from([None, A.digest, B.digest, STRANGE.digest]),
    immutable=st.booleans(),
)


def world_of(upstream: str, published: Digest | None, *, immutable: bool) -> World:
    made = World(published=published, immutable=immutable)
    MOVES[upstream](made)
    return made


def in_turn(_count: int) -> int:
    """Let everybody work to their own end, one after the other."""
    return 0


def chooser(order: Sequence[int]) -> Callable[[int], int]:
    """Choose as the example says; after its end, let everybody work to their own end."""
    left: Iterator[int] = iter(order)
    return lambda count: next(left, 0) % count


# --- what holds in the end ------------------------------------------------------------------------------------------


def come_to_rest(crowd: Crowd) -> MirrorRecord:
    """Let the world stand still, refreshes go as the target lets them, and check a few times more."""
    crowd.world.paused, crowd.plot = False, Plot()
    crowd.stage.choose = in_turn
    for _ in range(_LAST_CHECKS):
        crowd.world.clock.now += _HOURS
        crowd.check()
        crowd.stage.run()
    for _ in range(_LAST_REVIEWS):
        crowd.world.clock.now += _DAYS
        crowd.tell()
        crowd.stage.run()
    assert crowd.record is not None
    return crowd.record


def check_end(record: MirrorRecord, world: World) -> None:
    assert record.published_digest == world.published
    if isinstance(world.upstream, PullaheadError):
        is_gone = isinstance(world.upstream, NotFoundError)
        assert record.state is (State.GONE if is_gone else State.UNKNOWN)
        assert record.error_kind == type(world.upstream).__name__
        assert (AlertKind.GONE if is_gone else AlertKind.UPSTREAM_UNREACHABLE) in record.alerted
        return
    assert (record.upstream_digest, record.error_kind) == (world.upstream.digest, None)
    if world.published == world.upstream.digest:
        assert (record.state, record.failure, record.alerted, record.unfresh_since) == (State.FRESH, None, (), None)
        return
    assert world.immutable
    assert record.state is State.BLOCKED
    assert record.failure is not None
    assert (record.failure.kind, record.failure.digest) == ("TagImmutableError", world.upstream.digest)
    assert AlertKind.BLOCKED in record.alerted


def play(
    crowd: Crowd,
    reasons: Sequence[str],
    moves: Sequence[str],
    deaths: Sequence[int | None] = (),
    reviews: Sequence[int | None] = (),
) -> None:
    for dies_at in reviews:
        crowd.tell(dies_at, _REVIEWS)
    for number, reason in enumerate(reasons):
        pushed = B.digest if reason == "push" else None
        crowd.check(reason, pushed, deaths[number] if number < len(deaths) else None)
    crowd.move(*(MOVES[name] for name in moves))
    crowd.stage.run()


@settings(max_examples=100)
@given(
    order=choices,
    reasons=checks,
    moves=steps,
    deaths=stops,
    reviews=st.lists(st.none() | st.integers(0, 9), max_size=3),
    plot=st.builds(Plot, deliveries=deliveries, failing=failures, stopped_at=stops),
    world=worlds,
)
def test_any_interleaving_loses_nothing_and_ends_as_the_world_is(
    order: list[int],
    reasons: list[str],
    moves: list[str],
    deaths: list[int | None],
    reviews: list[int | None],
    plot: Plot,
    world: dict[str, Any],
) -> None:
    crowd = Crowd(chooser(order), world_of(**world), plot)
    play(crowd, reasons, moves, deaths, reviews)
    record = come_to_rest(crowd)
    check_told(crowd, record, once=all(dies_at is None for dies_at in reviews))
    check_ledger(crowd.ledger.written)
    check_events(crowd)
    check_end(record, crowd.world)


TROUBLE = ["upstream lost the tag", "upstream serves B", "a day goes by"]


@settings(max_examples=100)
@given(
    order=choices,
    checks_made=st.integers(3, 5),
    moves=st.lists(st.sampled_from(TROUBLE), min_size=3, max_size=6),
    reviews=st.lists(st.none() | st.integers(2, 12), min_size=2, max_size=3),
)
def test_each_alert_is_sent_once_however_many_reviews_run_at_once(
    order: list[int], checks_made: int, moves: list[str], reviews: list[int | None]
) -> None:
    crowd = Crowd(chooser(order), world_of("upstream lost the tag", None, immutable=False))
    play(crowd, ["schedule"] * checks_made, moves, (), reviews)
    record = come_to_rest(crowd)
    check_ledger(crowd.ledger.written)
    check_told(crowd, record, once=all(dies_at is None for dies_at in reviews))


@settings(max_examples=80)
@given(
    order=choices,
    reasons=st.lists(st.sampled_from(["schedule", "push"]), min_size=1, max_size=4),
    plot=st.builds(Plot, deliveries=deliveries, failing=failures, stopped_at=st.just(())),
    world=worlds,
)
def test_duplicates_in_any_order_leave_what_one_of_each_leaves(
    order: list[int], reasons: list[str], plot: Plot, world: dict[str, Any]
) -> None:
    once = Crowd(in_turn, world_of(**world), plot._replace(deliveries=()))
    play(once, ["schedule"], [])
    crowd = Crowd(chooser(order), world_of(**world), plot)
    play(crowd, ["schedule", *reasons], [])
    assert essence(crowd.record) == essence(once.record)
    assert crowd.world.published == once.world.published
    assert len(crowd.requests) == len(once.requests)


def essence(record: MirrorRecord | None) -> MirrorRecord | None:
    """A record without how often and on what way it came to be what it is."""
    return record and record.with_changes(version=0, past=(), outbox=())


def test_repeated_outcome_after_an_overwritten_tag_changes_nothing() -> None:
    crowd = Crowd(in_turn, plot=Plot(failing=["", "RegistryTimeoutError"]))
    crowd.check()
    crowd.stage.run()
    crowd.world.published = STRANGE.digest
    crowd.check()
    crowd.stage.run()
    first, before = next(iter(crowd.requests.values())), crowd.record
    assert before is not None
    assert (before.state, before.published_digest) == (State.STALE, STRANGE.digest)
    again = OutcomeRequest(first, f"arn:{first.name}", crowd.world.clock(), PublishResult(A.digest))
    told_by = announcer(crowd.ledger, crowd.world.clock)
    record_outcome(again, crowd.rules(), crowd.ledger, told_by, crowd.world.clock)
    assert crowd.record == before


# --- whether all this could fail ------------------------------------------------------------------------------------


_R = TypeVar("_R", bound=Record)


class Careless(Ledger):
    """Writes whatever stands there."""

    def save(self, record: _R, expected_version: int) -> _R:
        saved = record.with_changes(version=expected_version + 1)
        self.put(saved)
        return saved


class LooksOnce(Ports):
    """Answers with what was seen first, as if nobody looked again after a conflict."""

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        if self.looked_at is None:
            self._first = super().published_digests(repository, tags)
        return self._first


def findings(ports_of: type[Ports] = Ports, ledger: type[Ledger] = Ledger) -> set[str]:
    """Play fifty times by chance that is always the same, and collect what is found."""
    found = set()
    for seed in range(50):
        crowd = Crowd(Random(seed).randrange, ledger=ledger(), ports_of=ports_of)  # noqa: S311 - a die
        play(crowd, ["schedule"] * 3, ["upstream serves B", "somebody overwrites"])
        try:
            check_ledger(crowd.ledger.written)
        except AssertionError as error:
            found.add(str(error).partition("\n")[0].partition(" ")[2])
    return found


def test_claims_find_nothing_in_a_correct_run() -> None:
    assert findings() == set()


@pytest.mark.parametrize(
    ("mutant", "found"),
    [({"ledger": Careless}, "wrote over news"), ({"ports_of": LooksOnce}, "wrote an older look over news")],
)
def test_claims_find_broken_implementations(mutant: dict[str, Any], found: str) -> None:
    assert any(found in finding for finding in findings(**mutant))
