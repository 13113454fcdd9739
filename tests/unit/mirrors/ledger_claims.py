"""What holds of every write to a record, and of what was sent and told, in whatever order a crowd goes on."""

from collections.abc import Sequence

from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import MirrorRecord, State
from tests.fakes.crowd import Crowd, Written


def check_ledger(written: Sequence[Written]) -> None:
    last: MirrorRecord | None = None
    by: list[str] = []
    for write in written:
        assert write.before == last, "a write was lost"
        assert write.expected_version == (last.version if last is not None else 0), f"{write.actor} wrote over news"
        assert write.after.version == write.expected_version + 1
        _check_alerts(write)
        _check_outbox_growth(write)
        if _says_what_was_seen(write):
            _check_look(write, by)
        by.append(write.actor)
        last = write.after


def _check_alerts(write: Written) -> None:
    """Each kind is decided once until it is over, and is over once; none that is to be told yet is lost."""
    before, after = write.before, write.after
    pending: tuple[Alert, ...] = before.pending if before is not None else ()
    standing = set(before.alerted) if before is not None else set[AlertKind]()
    if write.actor.startswith("review"):
        assert set(after.pending) <= set(pending)  # taken out, since it was told or is idle
        assert set(after.alerted) == standing
        return
    assert after.pending[: len(pending)] == pending
    for alert in after.pending[len(pending) :]:
        if alert.kind is AlertKind.RECOVERED:
            assert alert.of is not None
            standing.remove(alert.of)
        else:
            assert alert.kind not in standing
            standing.add(alert.kind)
    assert sorted(standing) == sorted(after.alerted)
    assert after.state is not State.FRESH or not standing


def _check_outbox_growth(write: Written) -> None:
    ids = [event.detail.id for event in write.after.outbox]
    assert len(set(ids)) == len(ids)


def _says_what_was_seen(write: Written) -> bool:
    before, after = write.before, write.after
    return before is None or (before.state, before.upstream_digest) != (after.state, after.upstream_digest)


def _check_look(write: Written, by: Sequence[str]) -> None:
    """What is written was seen, and not before what it is written over."""
    if write.after.state is State.FRESH:
        assert write.after.upstream_digest == write.after.published_digest == write.saw_published
    if not write.actor.startswith("check"):
        assert write.actor not in by, "the end of a refresh was heeded twice"
        return
    assert write.looked_at is not None
    over = write.expected_version - 1  # the number of the write that is written over
    assert over < write.looked_at or by[over] == write.actor, f"{write.actor} wrote an older look over news"


def check_events(crowd: Crowd) -> None:
    """Every event that became due was sent at least once, but for what was said better."""
    sent = {event.detail.id for event in crowd.outcomes.published}
    kept = [event for write in crowd.ledger.written for event in write.after.outbox]
    assert {event.detail.id for event in kept if not event.held} <= sent


def check_told(crowd: Crowd, record: MirrorRecord, *, once: bool) -> None:
    """People know of what stands. Where nobody died who was to tell, they know what is over, too, and each once.

    Who dies between sending a message and remembering it, of trouble that is over before the next review, leaves it
    untold that it is over: that nothing was told is all that is known then.
    """
    assert record.pending == ()
    for kind in set(AlertKind) - {AlertKind.DRIFT}:  # which may be told when it is over already, in the same message
        said = [notice.is_over for notice in crowd.alerts.published if notice.about is kind]
        assert kind not in record.alerted or said[-1:] == [False]
        if once:
            assert kind in record.alerted or said[-1:] in ([], [True])
            assert said == [bool(number % 2) for number in range(len(said))]
