"""The history in a record: every state once, in order, within the requested period."""

from datetime import UTC, datetime, timedelta

from pullahead.mirrors.record import MirrorRecord, State, Trigger, transitions_of
from pullahead.rules.mirror_key import MirrorKey

BEGUN = datetime(2026, 11, 1, tzinfo=UTC)
STATES = (State.MISSING, State.FRESH, State.STALE, State.FRESH, State.GONE)


def record_through(*states: State) -> MirrorRecord:
    """Let a mirror go through states, one a day."""
    first, *others = states
    record = MirrorRecord(MirrorKey("mirror/app", "1.0"), "ghcr.io/team/app:1.0", first, BEGUN)
    for day, state in enumerate(others, 1):
        record = record.with_changes(state=state, since=BEGUN + timedelta(days=day))
    return record


def test_every_state_is_listed_once_and_in_order() -> None:
    assert [transition.state for transition in transitions_of(record_through(*STATES), BEGUN)] == list(STATES)


def test_last_state_before_the_period_is_listed_and_none_earlier() -> None:
    transitions = transitions_of(record_through(*STATES), BEGUN + timedelta(days=2, hours=1))
    assert [(each.at.day, each.state) for each in transitions] == [(3, State.STALE), (4, State.FRESH), (5, State.GONE)]


def test_change_without_a_change_of_state_is_no_transition() -> None:
    record = record_through(State.FRESH).with_changes(state=State.FRESH, episode=7)
    assert record.past == ()


def test_transition_has_its_trigger_and_its_last_cause() -> None:
    fresh = record_through(State.FRESH)
    down = fresh.with_changes(
        state=State.UNKNOWN, since=BEGUN + timedelta(days=1), trigger=Trigger.WEBHOOK, sender="quay", error="refused"
    )
    down = down.with_changes(error="reset\nby peer")
    back = down.with_changes(
        state=State.FRESH, since=BEGUN + timedelta(days=2), trigger=Trigger.MANUAL, reason="it is", error=None
    )
    assert [(each.trigger, each.sender, each.cause) for each in transitions_of(back, BEGUN)] == [
        (Trigger.UNKNOWN, "", ""),
        (Trigger.WEBHOOK, "quay", "reset by peer"),
        (Trigger.MANUAL, "", "it is"),
    ]
    assert (back.with_changes(state=State.GONE).trigger, back.with_changes(state=State.GONE).reason) == ("", "")


def test_causes_of_the_past_are_bounded() -> None:
    record = record_through(State.FRESH)
    for day in range(1, 31):
        record = record.with_changes(
            state=State.STALE if day % 2 else State.FRESH, since=BEGUN + timedelta(days=day), reason="x" * 5000
        )
    causes = [len(each.cause) for each in record.past]
    assert causes == [0] * 20 + [120] * 10


def test_past_is_bounded() -> None:
    record = record_through(*[State.FRESH, State.STALE] * 100)
    assert len(record.past) == 60
    assert record.past[-1].since == BEGUN + timedelta(days=198)
