"""For any interleaving of checks, refreshes and changes at upstream and ECR, the record ends the same, nothing is lost.

At each call of a port Hypothesis chooses which actor continues, which is killed, and which message is delivered twice.
The invariants of writes are checked on the log of writes; the final state is checked after all changes have stopped.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pullahead.errors import NotFoundError, PullaheadError, RegistryUnavailableError
from pullahead.messages import OutcomeRequest, PublishResult
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import MirrorRecord, Record, State, Trigger
from pullahead.oci import Digest
from pullahead.refresh.record_outcome import record_outcome
from tests.fakes.concurrent_actors import (
    FOREIGN,
    A,
    ActorPorts,
    B,
    ConcurrentActors,
    Environment,
    RefreshFaults,
    WriteLog,
)
from tests.fakes.outcomes import announcer
from tests.fakes.samples import failed
from tests.unit.mirrors.write_checks import check_alerts_sent, check_events, check_write_log

_HOURS = timedelta(hours=7)  # longer than a blocked mirror waits
_DAYS = timedelta(days=2)  # longer than anything that was sent waits to be sent again
_LAST_REVIEWS = 3
_REVIEWS = 3  # of each who reviews
_LAST_CHECKS = 3  # one finds what is left over, and starts a refresh; one finds its end; one finds nothing to do

Move = Callable[[Environment], object]
MOVES: Mapping[str, Move] = {
    "upstream serves A": lambda environment: setattr(environment, "upstream", A),
    "upstream serves B": lambda environment: setattr(environment, "upstream", B),
    "upstream lost the tag": lambda environment: setattr(environment, "upstream", failed(NotFoundError)),
    "upstream is down": lambda environment: setattr(environment, "upstream", failed(RegistryUnavailableError)),
    "somebody overwrites": lambda environment: setattr(environment, "published", FOREIGN.digest),
    "somebody deletes": lambda environment: setattr(environment, "published", None),
    "an hour goes by": lambda environment: environment.let_pass(hours=1),
    "a day goes by": lambda environment: environment.let_pass(days=1),
    "the rule is paused": lambda environment: setattr(environment, "paused", True),
    "the rule goes on": lambda environment: setattr(environment, "paused", False),
}

choices = st.lists(st.integers(0, 11), min_size=40, max_size=80)
checks = st.lists(st.sampled_from(["schedule", "schedule", "push", "manual"]), min_size=2, max_size=5)
steps = st.lists(st.sampled_from(sorted(MOVES)), min_size=1, max_size=6)
deliveries = st.lists(st.integers(1, 2), max_size=4)
failures = st.lists(st.sampled_from(["", "", "RegistryTimeoutError", "DigestMismatchError"]), max_size=3)
stops = st.lists(st.none() | st.integers(0, 9), max_size=4)
environments: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    upstream=st.sampled_from(["upstream serves A"] * 3 + ["upstream lost the tag", "upstream is down"]),
    published=st.sampled_from([None, A.digest, B.digest, FOREIGN.digest]),
    immutable=st.booleans(),
)


def environment_of(upstream: str, published: Digest | None, *, immutable: bool) -> Environment:
    made = Environment(published=published, immutable=immutable)
    MOVES[upstream](made)
    return made


def in_turn(_count: int) -> int:
    """Run the actors one after the other."""
    return 0


def chooser(order: Sequence[int]) -> Callable[[int], int]:
    """Choose as the example says; after its end, run the actors one after the other."""
    left: Iterator[int] = iter(order)
    return lambda count: next(left, 0) % count


# --- what holds in the end ------------------------------------------------------------------------------------------


def settle(actors: ConcurrentActors) -> MirrorRecord:
    """Stop all changes and faults, and run a few more checks and reviews."""
    actors.environment.paused, actors.faults = False, RefreshFaults()
    actors.scheduler.choose = in_turn
    for _ in range(_LAST_CHECKS):
        actors.environment.clock.now += _HOURS
        actors.check()
        actors.scheduler.run()
    for _ in range(_LAST_REVIEWS):
        actors.environment.clock.now += _DAYS
        actors.review()
        actors.scheduler.run()
    assert actors.record is not None
    return actors.record


def check_end(record: MirrorRecord, environment: Environment) -> None:
    assert record.published_digest == environment.published
    if isinstance(environment.upstream, PullaheadError):
        is_gone = isinstance(environment.upstream, NotFoundError)
        assert record.state is (State.GONE if is_gone else State.UNKNOWN)
        assert record.error_kind == type(environment.upstream).__name__
        absent = AlertKind.NOT_FOUND if record.was_never_found else AlertKind.GONE
        assert (absent if is_gone else AlertKind.UPSTREAM_UNREACHABLE) in record.alerted
        return
    assert (record.upstream_digest, record.error_kind) == (environment.upstream.digest, None)
    if environment.published == environment.upstream.digest:
        assert (record.state, record.failure, record.alerted, record.unfresh_since) == (State.FRESH, None, (), None)
        return
    assert environment.immutable
    assert record.state is State.BLOCKED
    assert record.failure is not None
    assert (record.failure.kind, record.failure.digest) == ("TagImmutableError", environment.upstream.digest)
    assert AlertKind.BLOCKED in record.alerted


def run_actors(
    actors: ConcurrentActors,
    reasons: Sequence[str],
    moves: Sequence[str],
    deaths: Sequence[int | None] = (),
    reviews: Sequence[int | None] = (),
) -> None:
    for dies_at in reviews:
        actors.review(dies_at, _REVIEWS)
    for number, reason in enumerate(reasons):
        pushed = B.digest if reason == "push" else None
        actors.check(reason, pushed, deaths[number] if number < len(deaths) else None)
    actors.move(*(MOVES[name] for name in moves))
    actors.scheduler.run()


@settings(max_examples=70)
@given(
    order=choices,
    reasons=checks,
    moves=steps,
    deaths=stops,
    reviews=st.lists(st.none() | st.integers(0, 9), max_size=3),
    faults=st.builds(RefreshFaults, deliveries=deliveries, failing=failures, stopped_at=stops),
    environment=environments,
)
def test_any_interleaving_loses_no_write_and_ends_in_the_true_state(
    order: list[int],
    reasons: list[str],
    moves: list[str],
    deaths: list[int | None],
    reviews: list[int | None],
    faults: RefreshFaults,
    environment: dict[str, Any],
) -> None:
    actors = ConcurrentActors(chooser(order), environment_of(**environment), faults)
    run_actors(actors, reasons, moves, deaths, reviews)
    record = settle(actors)
    check_alerts_sent(actors, record, once=all(dies_at is None for dies_at in reviews))
    check_write_log(actors.write_log.written)
    check_events(actors)
    check_end(record, actors.environment)


TROUBLE = ["upstream lost the tag", "upstream serves B", "a day goes by"]


@settings(max_examples=70)
@given(
    order=choices,
    checks_made=st.integers(3, 5),
    moves=st.lists(st.sampled_from(TROUBLE), min_size=3, max_size=6),
    reviews=st.lists(st.none() | st.integers(2, 12), min_size=2, max_size=3),
)
# Two alerts of one kind at one moment, of which the second was taken for the first.
@example(
    order=[
        *(0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 4, 6, 11, 11, 11, 6, 11, 11),
        *(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 5, 5, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1),
    ],
    checks_made=4,
    moves=["upstream serves B", *["upstream lost the tag"] * 3],
    reviews=[None, None],
)
# Two changes at one moment, whose events had the same id.
@example(
    order=[*[0] * 6, *[1] * 4, *[2] * 5, 3, 4, *[6] * 6, *[7] * 2, *[0] * 9, *[2] * 5, 6],
    checks_made=5,
    moves=["upstream serves B", "upstream lost the tag", "upstream lost the tag"],
    reviews=[None, None],
)
# A pair of alerts that one review took for over before it was sent, while another one was sending the first of them.
@example(
    order=[
        *(4, 6, 11, 9, 10, 6, 1, 4, 4, 4, 0, 5, 1, 10, 7, 11, 2, 0, 8, 2, 11, 2, 8, 9, 8, 2, 6, 3, 7, 6, 3, 5),
        *(10, 11, 3, 6, 9, 6, 8, 5, 6, 4, 4, 5, 5, 4, 1, 7, 5, 6, 1, 1, 7, 8, 8, 4, 8, 9, 1, 9, 3, 1, 3),
    ],
    checks_made=3,
    moves=["a day goes by", *["upstream lost the tag", "upstream serves B"] * 2],
    reviews=[None, None],
)
def test_each_alert_is_sent_once_however_many_reviews_run_at_once(
    order: list[int], checks_made: int, moves: list[str], reviews: list[int | None]
) -> None:
    actors = ConcurrentActors(chooser(order), environment_of("upstream lost the tag", None, immutable=False))
    run_actors(actors, ["schedule"] * checks_made, moves, (), reviews)
    record = settle(actors)
    check_write_log(actors.write_log.written)
    check_alerts_sent(actors, record, once=all(dies_at is None for dies_at in reviews))


@settings(max_examples=50)
@given(
    order=choices,
    reasons=st.lists(st.sampled_from(["schedule", "push"]), min_size=1, max_size=4),
    faults=st.builds(RefreshFaults, deliveries=deliveries, failing=failures, stopped_at=st.just(())),
    environment=environments,
)
def test_duplicate_messages_end_in_the_same_record(
    order: list[int], reasons: list[str], faults: RefreshFaults, environment: dict[str, Any]
) -> None:
    once = ConcurrentActors(in_turn, environment_of(**environment), faults._replace(deliveries=()))
    run_actors(once, ["schedule"], [])
    actors = ConcurrentActors(chooser(order), environment_of(**environment), faults)
    run_actors(actors, ["schedule", *reasons], [])
    assert without_history(actors.record) == without_history(once.record)
    assert actors.environment.published == once.environment.published
    assert len(actors.requests) == len(once.requests)


def without_history(record: MirrorRecord | None) -> MirrorRecord | None:
    """Return a record without its version, history and outbox, and what led to its state."""
    return record and record.with_changes(version=0, past=(), outbox=(), trigger=Trigger.UNKNOWN, reason="")


def test_repeated_outcome_after_an_overwritten_tag_changes_nothing() -> None:
    actors = ConcurrentActors(in_turn, faults=RefreshFaults(failing=["", "RegistryTimeoutError"]))
    actors.check()
    actors.scheduler.run()
    actors.environment.published = FOREIGN.digest
    actors.check()
    actors.scheduler.run()
    first, before = next(iter(actors.requests.values())), actors.record
    assert before is not None
    assert (before.state, before.published_digest) == (State.STALE, FOREIGN.digest)
    again = OutcomeRequest(first, f"arn:{first.name}", actors.environment.clock(), PublishResult(A.digest))
    outbox_sender = announcer(actors.write_log, actors.environment.clock)
    record_outcome(again, actors.rules(), actors.write_log, outbox_sender, actors.environment.clock)
    assert actors.record == before


# --- the invariants find broken implementations --------------------------------------------------------------


_R = TypeVar("_R", bound=Record)


class Unversioned(WriteLog):
    """Saves without comparing versions."""

    def save(self, record: _R, expected_version: int) -> _R:
        saved = record.with_changes(version=expected_version + 1)
        self.put(saved)
        return saved


class ReadsOnce(ActorPorts):
    """Returns its first observation again after a conflict."""

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        if self.read_at is None:
            self._first = super().published_digests(repository, tags)
        return self._first


def findings(ports_type: type[ActorPorts] = ActorPorts, write_log: type[WriteLog] = WriteLog) -> set[str]:
    """Run fifty seeded interleavings, and collect the violated invariants."""
    found = set()
    for seed in range(50):
        actors = ConcurrentActors(Random(seed).randrange, write_log=write_log(), ports_type=ports_type)  # noqa: S311
        run_actors(actors, ["schedule"] * 3, ["upstream serves B", "somebody overwrites"])
        try:
            check_write_log(actors.write_log.written)
        except AssertionError as error:
            found.add(str(error).partition("\n")[0].partition(" ")[2])
    return found


def test_correct_implementation_violates_no_invariant() -> None:
    assert findings() == set()


@pytest.mark.parametrize(
    ("mutant", "found"),
    [
        ({"write_log": Unversioned}, "replaced an unread version"),
        ({"ports_type": ReadsOnce}, "replaced a newer observation"),
    ],
)
def test_broken_implementation_violates_an_invariant(mutant: dict[str, Any], found: str) -> None:
    assert any(found in finding for finding in findings(**mutant))
