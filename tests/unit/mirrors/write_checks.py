"""Invariants of every write to a record, and of the events and alerts sent, for any interleaving of the actors."""

from collections.abc import Sequence

from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import MirrorRecord, State
from tests.fakes.concurrent_actors import ConcurrentActors, LoggedWrite


def check_write_log(written: Sequence[LoggedWrite]) -> None:
    last: MirrorRecord | None = None
    by: list[str] = []
    for write in written:
        assert write.before == last, "a write was lost"
        assert write.expected_version == (last.version if last is not None else 0), (
            f"{write.actor} replaced an unread version"
        )
        assert write.after.version == write.expected_version + 1
        _check_alerts(write)
        _check_outbox_growth(write)
        if _changes_observed_state(write):
            _check_read_order(write, by)
        by.append(write.actor)
        last = write.after


def _check_alerts(write: LoggedWrite) -> None:
    """Each alert is opened once, closed once, and no pending alert is lost."""
    before, after = write.before, write.after
    pending: tuple[Alert, ...] = before.pending if before is not None else ()
    still_open = set(before.alerted) if before is not None else set[AlertKind]()
    if write.actor.startswith("review"):
        assert set(after.pending) <= set(pending)  # removed: sent, or dropped
        assert set(after.alerted) == still_open
        return
    assert after.pending[: len(pending)] == pending
    for alert in after.pending[len(pending) :]:
        if alert.kind is AlertKind.RECOVERED:
            assert alert.of is not None
            still_open.remove(alert.of)
        else:
            assert alert.kind not in still_open
            still_open.add(alert.kind)
    assert sorted(still_open) == sorted(after.alerted)
    assert after.state is not State.FRESH or not still_open


def _check_outbox_growth(write: LoggedWrite) -> None:
    ids = [event.detail.id for event in write.after.outbox]
    assert len(set(ids)) == len(ids)


def _changes_observed_state(write: LoggedWrite) -> bool:
    before, after = write.before, write.after
    return before is None or (before.state, before.upstream_digest) != (after.state, after.upstream_digest)


def _check_read_order(write: LoggedWrite, by: Sequence[str]) -> None:
    """A write records what its writer read, and read no earlier than the write that it replaces."""
    if write.after.state is State.FRESH:
        assert write.after.upstream_digest == write.after.published_digest == write.published_read
    if not write.actor.startswith("check"):
        assert write.actor not in by, "the end of a refresh was recorded twice"
        return
    assert write.read_at is not None
    over = write.expected_version - 1  # the number of the write that is replaced
    assert over < write.read_at or by[over] == write.actor, f"{write.actor} replaced a newer observation"


def check_events(actors: ConcurrentActors) -> None:
    """Every event that became due was sent at least once, unless a better one replaced it."""
    sent = {event.detail.id for event in actors.outcomes.published}
    kept = [event for write in actors.write_log.written for event in write.after.outbox]
    assert {event.detail.id for event in kept if not event.held} <= sent


def check_alerts_sent(actors: ConcurrentActors, record: MirrorRecord, *, once: bool) -> None:
    """Every open alert was sent. If no review was killed, every recovery was sent too, and each message once.

    A review that is killed between sending a message and saving that, for an alert that closes before the next review,
    leaves the recovery unsent: the record then says that nothing was sent.
    """
    assert record.pending == ()
    for kind in set(AlertKind) - {AlertKind.DRIFT}:  # which may be sent when it is over already, in the same message
        said = [notice.is_over for notice in actors.alerts.published if notice.about is kind]
        assert kind not in record.alerted or said[-1:] == [False]
        if once:
            assert kind in record.alerted or said[-1:] in ([], [True])
            assert said == [bool(number % 2) for number in range(len(said))]
