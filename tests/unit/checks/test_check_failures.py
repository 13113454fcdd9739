"""Checks when upstream, ECR, our own storage or another check gets in the way."""

from datetime import timedelta

import pytest

from pullahead.errors import (
    AccessDeniedError,
    ConflictError,
    PullaheadError,
    RateLimitedError,
    RegistryUnavailableError,
    Side,
    StorageError,
)
from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from tests.fakes.checks import FIRST, CheckingService
from tests.fakes.samples import KEY, UPSTREAM, failed, mirror
from tests.fakes.script import Killed


def test_upstream_that_is_down_is_unknown_told_after_its_time_and_taken_back() -> None:
    service = CheckingService()
    service.publish()
    service.check()
    service.script.fail("head_manifest", failed(RegistryUnavailableError), times=3)
    for minutes, told in ((15, 0), (59, 0), (1, 1)):
        service.clock.advance(minutes=minutes)
        assert service.check_one().state is State.UNKNOWN
        assert len(service.alerts) == told
    assert service.check_one().state is State.FRESH
    assert service.alerts == ["UPSTREAM_UNREACHABLE", "RECOVERED"]
    assert service.refreshes.requests == {}
    assert service.record().pending == tuple(service.records.decided)  # for the review to tell


def test_upstream_that_stays_down_is_written_down_once() -> None:
    service = CheckingService()
    for number in range(5):
        service.script.fail("head_manifest", failed(RateLimitedError, f"wait {number} s", status=429))
        service.check()
    assert service.records.writes == 1


def test_tag_that_is_gone_upstream_is_told_once_and_kept() -> None:
    service = CheckingService()
    service.publish()
    service.check()
    service.upstream.remove(UPSTREAM)
    for _ in range(3):
        assert service.check_one().state is State.GONE
    assert service.alerts == ["GONE"]
    assert service.target.published_digests("mirror/app", ["1.0"]) == {"1.0": FIRST.digest}


def test_access_denied_at_ecr_blocks_each_mirror_once_and_brings_no_message_back() -> None:
    service = CheckingService([mirror("1.0"), mirror("2.0")])
    service.script.fail("published_digests", failed(AccessDeniedError, side=Side.TARGET), times=2)
    for _ in range(2):
        results = service.check("1.0", "2.0")
        assert [result.state for result in results] == [State.BLOCKED] * 2
        assert [result.error for result in results] == [None] * 2
    assert service.alerts == ["BLOCKED", "BLOCKED"]
    assert service.refreshes.requests == {}
    service.publish()
    service.publish(tag="2.0")
    service.check("1.0", "2.0")
    assert service.alerts[2:] == ["RECOVERED", "RECOVERED"]


@pytest.mark.parametrize("operation", ["load", "published_digests"])
def test_batch_that_cannot_be_asked_about_comes_back_and_nothing_is_done(operation: str) -> None:
    service = CheckingService()
    service.script.fail(operation, failed(RateLimitedError, side=Side.TARGET))
    with pytest.raises(RateLimitedError):
        service.check()
    assert (service.records.writes, service.refreshes.requests) == (0, {})


def test_failure_of_one_mirror_does_not_stop_the_others() -> None:
    service = CheckingService([mirror("1.0"), mirror("2.0"), mirror("3.0")])
    service.script.fail("save", StorageError("no"), passing=1)
    results = service.check("1.0", "2.0", "3.0")
    assert [type(result.error) for result in results] == [type(None), StorageError, type(None)]
    assert [result.state for result in results] == [State.MISSING, None, State.MISSING]
    assert sorted(request.tag for request in service.refreshes.requests.values()) == ["1.0", "3.0"]


class TestTwoAtOnce:
    def test_both_ask_for_the_same_refresh(self) -> None:
        service = CheckingService()
        service.script.before("save", service.check)
        result = service.check_one()
        assert (result.state, result.error) == (State.MISSING, None)
        assert len(service.refreshes.requests) == 1
        assert (service.record().version, service.records.writes) == (1, 2)

    @pytest.mark.parametrize("operation", ["load", "head_manifest", "save", "publish"])
    def test_alert_is_told_once_wherever_they_meet(self, operation: str) -> None:
        service = CheckingService()
        service.publish()
        service.check()
        service.upstream.remove(UPSTREAM)
        service.script.before(operation, service.check)
        service.check()
        service.check()
        assert service.alerts == ["GONE"]

    def test_older_look_does_not_undo_what_a_refresh_has_recorded(self) -> None:
        """The check looked before the tag was published and writes after that was recorded: it looks again."""
        service = CheckingService()
        service.check()

        def refresh_ends() -> None:
            service.publish()
            service.check()

        service.clock.advance(hours=2)
        service.script.before("save", refresh_ends)
        assert service.check_one().state is State.FRESH
        assert service.record().state is State.FRESH

    def test_record_that_changes_without_end_is_an_error_that_brings_the_message_back(self) -> None:
        service = CheckingService()
        service.script.fail("save", ConflictError("no"), times=99)
        result = service.check_one()
        assert isinstance(result.error, ConflictError)
        assert service.records.writes == 5
        assert service.refreshes.requests == {}


class TestRefreshThatIsThereAlready:
    def test_running_is_left_to_run(self) -> None:
        service = CheckingService()
        name = next(iter(_started(service)))
        service.refreshes.statuses[name] = StartResult.RUNNING
        service.refreshes.requests.clear()
        assert service.check_one().started is StartResult.RUNNING
        assert service.records.writes == 1

    def test_upstream_that_is_away_for_a_while_does_not_start_it_a_second_time(self) -> None:
        service = CheckingService()
        name = next(iter(_started(service)))
        service.refreshes.statuses[name] = StartResult.RUNNING
        service.script.fail("head_manifest", failed(RegistryUnavailableError))
        assert service.check_one().state is State.UNKNOWN
        assert service.check_one().state is State.MISSING
        assert list(service.refreshes.requests) == [name]

    @pytest.mark.parametrize("ended", [StartResult.ENDED, StartResult.SUCCEEDED])
    def test_one_that_ended_without_a_lasting_outcome_is_remembered_and_another_started_later(
        self, ended: StartResult
    ) -> None:
        service = CheckingService()
        name = next(iter(_started(service)))
        service.refreshes.statuses[name] = ended
        assert service.check_one().started is ended
        failure = service.record().failure
        assert failure is not None
        assert (failure.kind, failure.blocking, failure.retry_at - service.clock()) == (
            "RefreshAborted",
            False,
            timedelta(minutes=5),
        )
        assert service.check_one().started is None
        service.clock.advance(minutes=5)
        assert service.check_one().started is StartResult.STARTED
        assert len(service.refreshes.requests) == 2

    def test_one_that_ends_again_and_again_is_told_in_the_end_with_its_cause(self) -> None:
        service = CheckingService()
        for _ in range(20):
            service.check()
            service.refreshes.statuses = dict.fromkeys(service.refreshes.statuses, StartResult.ENDED)
            service.clock.advance(minutes=5)
        assert service.alerts == ["STALE"]
        assert "without a lasting outcome" in service.records.decided[0].detail
        assert service.record().failure is not None

    def test_alert_that_is_told_does_not_start_the_refresh_a_second_time(self) -> None:
        service = CheckingService()
        service.script.fail("start", StorageError("no"))
        service.check()
        service.clock.advance(hours=2)
        service.check()
        assert service.alerts == ["STALE"]
        service.clock.advance(minutes=15)
        service.check()
        assert len(service.refreshes.requests) == 1


class TestBrokenAround:
    def test_state_machine_does_not_stop_an_alert(self) -> None:
        service = CheckingService()
        service.script.fail("start", StorageError("no state machine"), times=99)
        service.check()
        service.clock.advance(hours=2)
        assert isinstance(service.check_one().error, PullaheadError)
        assert service.alerts == ["STALE"]


@pytest.mark.parametrize("call", range(5))
def test_check_that_is_killed_anywhere_is_made_good_by_its_message(call: int) -> None:
    """SQS brings the message back; what was done is not done twice."""
    service = CheckingService()
    service.script.fail("start", StorageError("no"))
    service.check()
    service.clock.advance(hours=2)
    service.script.resume()
    service.script.kill_at = call
    with pytest.raises(Killed):
        service.check()
    service.script.resume()
    service.clock.advance(minutes=5)
    service.check()
    assert service.alerts == ["STALE"]
    assert service.record().pending == tuple(service.records.decided)
    assert {request.root.digest for request in service.refreshes.requests.values()} == {FIRST.digest}
    assert service.records.stored.keys() == {KEY}


def _started(service: CheckingService) -> dict[str, StartResult]:
    service.check()
    return service.refreshes.statuses
