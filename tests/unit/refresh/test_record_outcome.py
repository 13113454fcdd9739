"""How the outcome of a refresh is recorded and published."""

from datetime import timedelta

import pytest
from msgspec import UNSET, structs

from pullahead.errors import ConflictError, InvalidEventError, StorageError
from pullahead.messages import (
    Failure,
    OutcomeRequest,
    OutcomeResult,
    PublishResult,
    ReferrersOutcome,
    RefreshRequest,
    Trouble,
    UnitRequest,
)
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.outcome_event import OutcomeEvent
from pullahead.mirrors.record import LastRefresh, MirrorRecord, State
from pullahead.refresh.record_outcome import record_outcome
from pullahead.rules.model import Rules
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.refreshes import BEGAN, outcome, refresh_request
from tests.fakes.samples import KEY, UPSTREAM, digest, root, rules
from tests.fakes.script import Killed, Script

NEW = root("new")
REQUEST = refresh_request(NEW)
IMMUTABLE = Failure("TagImmutableError", '{"errorMessage": "the tag is immutable", "errorType": "TagImmutableError"}')


class Recording:
    """A stale mirror's record, and the outcome that is written into it."""

    def __init__(self, **changes: object) -> None:
        self.script = Script()
        self.records, self.clock = FakeRecords(self.script), FakeClock(BEGAN)
        self.outcomes, self.queue = FakeOutcomes(Script()), FakeCheckQueue(self.script)
        stale = MirrorRecord(
            KEY,
            UPSTREAM,
            State.STALE,
            BEGAN,
            BEGAN,
            upstream_digest=NEW.digest,
            published_digest=digest("old"),
            version=1,
        )
        self.records.stored[KEY] = stale.with_changes(**changes)
        self.clock.advance(minutes=2)

    def run(self, ended: OutcomeRequest, known: Rules | None = None) -> OutcomeResult:
        sender = announcer(self.records, self.clock, self.outcomes)
        return record_outcome(ended, known or rules(), self.records, sender, self.clock, queue_check=self.queue.send)

    @property
    def sent(self) -> list[OutcomeEvent]:
        return self.outcomes.published

    @property
    def record(self) -> MirrorRecord:
        return self.records.stored[KEY]

    @property
    def alerts(self) -> list[str]:
        return [alert.kind.value for alert in self.records.decided]


def test_success_is_recorded_with_its_time_and_bytes() -> None:
    recording = Recording()
    result = recording.run(outcome(REQUEST, bytes_copied=1000))
    assert result == OutcomeResult(str(KEY), "FRESH", 1000, seconds=110.0, lag_seconds=120.0)
    assert (recording.record.state, recording.record.published_digest) == (State.FRESH, NEW.digest)
    assert recording.record.last_refresh == LastRefresh(
        recording.clock(),
        seconds=110.0,
        lag_seconds=120.0,
        bytes_copied=1000,
        execution=outcome(REQUEST).execution,
        digest=NEW.digest,
    )
    assert recording.records.decided == []


def test_success_closes_the_alert() -> None:
    recording = Recording(alerted=("STALE",))
    recording.run(outcome(REQUEST))
    recording.run(outcome(REQUEST))
    assert recording.alerts == ["RECOVERED"]
    assert recording.records.decided[0].since == BEGAN


def test_blocking_failure_opens_one_alert_with_the_error() -> None:
    recording = Recording()
    assert recording.run(outcome(REQUEST, error=IMMUTABLE)).state == "BLOCKED"
    assert recording.run(outcome(REQUEST, error=IMMUTABLE)).state == "BLOCKED"
    assert recording.alerts == ["BLOCKED"]
    assert recording.records.decided[0].detail == "the tag is immutable"
    assert recording.record.pending == tuple(recording.records.decided)


def test_temporary_failure_opens_no_alert_before_alert_after() -> None:
    recording = Recording()
    recording.run(outcome(REQUEST, error=Failure("StorageError", "no")))
    assert recording.records.decided == []
    recording.clock.advance(hours=2)
    recording.run(outcome(REQUEST, error=Failure("StorageError", "no")))
    assert recording.alerts == ["STALE"]
    assert recording.records.decided[0].detail == "no"


@pytest.mark.parametrize("error", [None, IMMUTABLE])
def test_late_outcome_of_an_old_digest_does_not_change_the_state(error: Failure | None) -> None:
    recording = Recording(upstream_digest=digest("newer"))
    recording.run(outcome(REQUEST, error=error))
    assert recording.record.state is State.STALE
    assert recording.records.decided == []


def test_superseded_refresh_writes_nothing() -> None:
    recording = Recording()
    recording.run(outcome(REQUEST, superseded=True))
    assert recording.records.writes == 0


def test_neither_result_nor_error_is_an_invalid_event() -> None:
    ended = outcome(REQUEST)
    with pytest.raises(InvalidEventError):
        Recording().run(OutcomeRequest(ended.request, ended.execution, ended.started_at))


@pytest.mark.parametrize("error", [None, IMMUTABLE])
def test_nothing_is_written_for_a_mirror_without_a_rule(error: Failure | None) -> None:
    recording = Recording()
    recording.run(outcome(REQUEST, error=error), rules([]))
    assert recording.records.writes == 0
    assert recording.records.decided == []


def test_nothing_is_written_for_a_mirror_without_a_record() -> None:
    recording = Recording()
    recording.records.stored.clear()
    assert recording.run(outcome(REQUEST)).state == "UNRECORDED"
    assert recording.records.stored == {}


def test_concurrent_write_of_a_check_is_kept() -> None:
    recording = Recording()

    def somebody_writes() -> None:
        recording.records.stored[KEY] = recording.record.with_changes(alerted=("STALE",), version=2)

    recording.script.before("save", somebody_writes)
    recording.run(outcome(REQUEST))
    assert (recording.record.state, recording.alerts) == (State.FRESH, ["RECOVERED"])


def test_durations_are_never_negative() -> None:
    recording = Recording()
    recording.clock.advance(days=-1)
    recording.run(outcome(REQUEST))
    assert recording.record.last_refresh is not None
    assert (recording.record.last_refresh.seconds, recording.record.last_refresh.lag_seconds) == (0.0, 0.0)


def test_alert_survives_a_kill_between_any_two_calls() -> None:
    recording = Recording()
    recording.run(outcome(REQUEST, error=IMMUTABLE))
    for call in range(len(recording.script.calls)):
        recording = Recording()
        recording.script.kill_at = call
        with pytest.raises(Killed):
            recording.run(outcome(REQUEST, error=IMMUTABLE))
        recording.script.resume()
        recording.clock.advance(minutes=5)
        recording.run(outcome(REQUEST, error=IMMUTABLE))
        assert recording.alerts == ["BLOCKED"]
        assert (recording.record.state, recording.record.pending) == (State.BLOCKED, tuple(recording.records.decided))


@pytest.mark.parametrize("error", [StorageError("no"), ConflictError("no")])
def test_no_event_is_sent_where_the_record_cannot_be_written(error: Exception) -> None:
    recording = Recording()
    recording.script.fail("save", error, times=5)
    with pytest.raises(type(error)):
        recording.run(outcome(REQUEST, error=IMMUTABLE))
    assert recording.records.decided == []


class TestReferrers:
    GOOD = ReferrersOutcome("f1", 2, 500, subjects=(NEW.digest,))
    REFUSED = Trouble("ManifestRefusedError", "ECR refuses it")
    BROKEN = ReferrersOutcome("f1", 1, 300, failed=1, troubles=(REFUSED,))
    LATE = refresh_request(NEW, late="f2-0")

    def ended(self, request: RefreshRequest, referrers: ReferrersOutcome | None) -> OutcomeRequest:
        well = outcome(request)
        return structs.replace(well, published=PublishResult(NEW.digest, referrers=referrers))

    def test_they_are_recorded_with_their_image(self) -> None:
        recording = Recording()
        assert recording.run(self.ended(REQUEST, self.GOOD)).state == "FRESH"
        known = recording.record.referrers
        assert known is not None
        assert (known.digest, known.since, known.outcome) == (NEW.digest, recording.clock(), self.GOOD)

    def test_failure_leaves_the_image_fresh_and_is_alerted_once(self) -> None:
        recording = Recording()
        recording.run(self.ended(REQUEST, self.BROKEN))
        recording.run(self.ended(self.LATE, self.BROKEN))
        assert recording.record.state is State.FRESH
        assert recording.alerts == ["REFERRERS_FAILED"]
        assert recording.record.open_alerts == (AlertKind.REFERRERS_FAILED,)

    def test_late_success_ends_the_alert(self) -> None:
        recording = Recording()
        recording.run(self.ended(REQUEST, self.BROKEN))
        recording.run(self.ended(self.LATE, self.GOOD))
        assert recording.alerts == ["REFERRERS_FAILED", "RECOVERED"]
        assert recording.records.decided[1].of is AlertKind.REFERRERS_FAILED
        assert recording.record.open_alerts == ()

    def test_late_outcome_changes_nothing_else(self) -> None:
        recording = Recording()
        recording.run(self.ended(REQUEST, None))
        before = recording.record
        recording.clock.advance(hours=1)
        result = recording.run(self.ended(self.LATE, self.GOOD))
        assert (result.state, result.seconds) == ("FRESH", None)
        after = recording.record
        assert after.with_changes(referrers=None, version=0, outbox=()) == before.with_changes(version=0, outbox=())

    def test_late_outcome_of_a_digest_that_upstream_has_left_is_dropped(self) -> None:
        recording = Recording(upstream_digest=digest("newer"))
        recording.run(self.ended(self.LATE, self.GOOD))
        assert recording.record.referrers is None

    def test_copy_of_late_ones_that_fails_as_a_whole_is_no_failed_refresh(self) -> None:
        recording = Recording()
        recording.run(self.ended(REQUEST, self.GOOD))
        recording.run(outcome(self.LATE, error=Failure("RegistryUnavailableError", "down")))
        assert (recording.record.state, recording.record.failure) == (State.FRESH, None)
        known = recording.record.referrers
        assert known is not None
        assert (known.outcome.copied, known.outcome.failed, known.tries) == (2, 1, 1)
        assert known.retry_at is not None

    def test_events_count_them(self) -> None:
        recording = Recording()
        recording.run(self.ended(REQUEST, self.BROKEN))
        recording.run(self.ended(self.LATE, self.GOOD))
        sent = [(event.kind.value, event.detail.reason.value) for event in recording.sent]
        assert sent == [("Mirror Refreshed", "upstream-moved"), ("Mirror Referrers Copied", "late-referrers")]
        assert [(event.detail.referrers, event.detail.referrers_failed) for event in recording.sent] == [
            (1, 1),
            (2, UNSET),
        ]

    def test_same_result_sends_no_event_again(self) -> None:
        recording = Recording()
        recording.run(self.ended(REQUEST, self.GOOD))
        recording.run(self.ended(self.LATE, self.GOOD))
        assert [event.kind.value for event in recording.sent] == ["Mirror Refreshed"]

    def test_bytes_of_referrers_are_counted(self) -> None:
        unit = UnitRequest(refresh="r", unit=1, repository="a", upstream=UPSTREAM, bytes_copied=70, done=True)
        ended = structs.replace(self.ended(REQUEST, self.GOOD), referrer_units=(unit,))
        assert Recording().run(ended).bytes_copied == 70

    def test_copy_of_late_ones_that_is_no_longer_wanted_changes_nothing(self) -> None:
        recording = Recording()
        recording.run(self.ended(REQUEST, self.GOOD))
        before = recording.record
        recording.run(outcome(self.LATE, error=Failure("NoLongerWantedError", "no rule names it any more")))
        assert recording.record.with_changes(version=0) == before.with_changes(version=0)


@pytest.mark.parametrize("known", [rules([]), None], ids=["no rule", "another upstream"])
def test_refresh_that_is_no_longer_wanted_is_no_failure(known: Rules | None) -> None:
    recording = Recording()
    before = recording.record
    error = Failure("NoLongerWantedError", '{"errorMessage": "no rule names it any more"}')
    result = recording.run(outcome(REQUEST, error=error), known)
    assert (result.state, recording.alerts) == ("NO_LONGER_WANTED", [])
    assert recording.record.state is before.state
    assert recording.record.failure is None or recording.record.failure.count == 0


TEMPORARY = Failure("RegistryUnavailableError", '{"errorMessage": "it is down"}')


class TestRetries:
    def test_failed_refresh_queues_one_check_for_when_it_may_be_retried(self) -> None:
        recording = Recording()
        recording.run(outcome(REQUEST, error=TEMPORARY))
        (check,), (delay,) = recording.queue.sent, recording.queue.delays
        assert (check.repository, check.tags, check.reason) == (KEY.repository, (KEY.tag,), "schedule")
        failure = recording.record.failure
        assert failure is not None
        assert recording.clock() + timedelta(seconds=delay) == failure.retry_at + timedelta(seconds=1)

    def test_each_retry_waits_twice_as_long_until_the_schedule_does_it(self) -> None:
        recording, delays = Recording(), list[list[int]]()
        for _ in range(4):
            recording.queue.delays.clear()
            recording.run(outcome(structs.replace(REQUEST, episode=recording.record.episode), error=TEMPORARY))
            delays.append(list(recording.queue.delays))
        assert delays == [[301], [601], [], []]

    @pytest.mark.parametrize(
        "error",
        [
            IMMUTABLE,
            Failure("DeferredError", "the limit is reached"),
            Failure("NoLongerWantedError", "no rule names it"),
            None,
        ],
    )
    def test_nothing_else_queues_a_check(self, error: Failure | None) -> None:
        recording = Recording()
        recording.run(outcome(REQUEST, error=error))
        assert recording.queue.sent == []

    def test_late_outcome_of_an_old_digest_queues_no_check(self) -> None:
        recording = Recording(upstream_digest=digest("newer"))
        recording.run(outcome(REQUEST, error=TEMPORARY))
        assert recording.queue.sent == []

    def test_failed_copy_of_late_referrers_queues_no_check(self) -> None:
        recording = Recording()
        recording.run(outcome(structs.replace(REQUEST, late="late"), error=TEMPORARY))
        assert recording.queue.sent == []

    def test_check_that_could_not_be_queued_is_queued_when_the_state_is_retried(self) -> None:
        recording = Recording()
        ended = outcome(structs.replace(REQUEST, episode=recording.record.episode), error=TEMPORARY)
        recording.script.fail("send", StorageError("no"))
        with pytest.raises(StorageError):
            recording.run(ended)
        recording.run(ended)
        assert len(recording.queue.sent) == 1
        failure = recording.record.failure
        assert failure is not None
        assert failure.count == 1
