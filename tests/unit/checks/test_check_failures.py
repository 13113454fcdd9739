"""Checks when upstream, ECR, our own storage or another check gets in the way."""

from datetime import timedelta

import pytest
from msgspec import structs

from pullahead.checks.timetable import next_check
from pullahead.checks.upstream_pool import UpstreamPool
from pullahead.errors import (
    AccessDeniedError,
    ConflictError,
    PullaheadError,
    RateLimitedError,
    RegistryUnavailableError,
    Side,
    StorageError,
)
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from tests.fakes.checks import FIRST, CheckingService
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, failed, mirror
from tests.fakes.script import Killed


def test_unreachable_upstream_is_unknown_alerted_and_recovered() -> None:
    service = CheckingService()
    service.publish()
    service.check()
    service.script.fail("head_manifest", failed(RegistryUnavailableError), times=3)
    for minutes, alerts in ((15, 0), (59, 0), (1, 1)):
        service.clock.advance(minutes=minutes)
        assert service.check_one().state is State.UNKNOWN
        assert len(service.alerts) == alerts
    assert service.check_one().state is State.FRESH
    assert service.alerts == ["UPSTREAM_UNREACHABLE", "RECOVERED"]
    assert service.refreshes.requests == {}
    assert service.record().pending == tuple(service.records.decided)  # for the review to tell


def test_unreachable_upstream_is_written_once() -> None:
    service = CheckingService()
    for number in range(5):
        service.script.fail("head_manifest", failed(RateLimitedError, f"wait {number} s", status=429))
        service.check()
    assert service.records.writes == 1


def test_tag_gone_upstream_is_alerted_once_and_kept() -> None:
    service = CheckingService()
    service.publish()
    service.check()
    service.upstream.remove(UPSTREAM)
    for _ in range(3):
        assert service.check_one().state is State.GONE
    assert service.alerts == ["GONE"]
    assert service.target.published_digests("mirror/app", ["1.0"]) == {"1.0": FIRST.digest}


def test_access_denied_by_ecr_blocks_each_mirror_and_retries_no_message() -> None:
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
def test_batch_is_retried_where_ecr_fails(operation: str) -> None:
    service = CheckingService()
    service.script.fail(operation, failed(RateLimitedError, side=Side.TARGET))
    with pytest.raises(RateLimitedError):
        service.check()
    assert (service.records.writes, service.refreshes.requests) == (0, {})


def test_failure_of_one_mirror_does_not_stop_the_others() -> None:
    service = CheckingService([mirror("1.0"), mirror("2.0"), mirror("3.0")])
    service.script.fail("save", StorageError("no"), passing=1)
    results = service.check("1.0", "2.0", "3.0")  # recorded in the order of upstream's answers
    (failing,) = [result for result in results if result.error is not None]
    assert (type(failing.error), failing.state) == (StorageError, None)
    others = [result for result in results if result is not failing]
    assert [result.state for result in others] == [State.MISSING] * 2
    assert sorted(request.tag for request in service.refreshes.requests.values()) == [
        each.mirror.tag for each in others
    ]


class TestTwoAtOnce:
    def test_concurrent_checks_request_the_same_refresh(self) -> None:
        service = CheckingService()
        service.script.before("save", service.check)
        result = service.check_one()
        assert (result.state, result.error) == (State.MISSING, None)
        assert len(service.refreshes.requests) == 1
        assert (service.record().version, service.records.writes) == (1, 2)

    @pytest.mark.parametrize("operation", ["load", "head_manifest", "save", "publish"])
    def test_concurrent_checks_raise_one_alert(self, operation: str) -> None:
        service = CheckingService()
        service.publish()
        service.check()
        service.upstream.remove(UPSTREAM)
        service.script.before(operation, service.check)
        service.check()
        service.check()
        assert service.alerts == ["GONE"]

    def test_older_observation_does_not_undo_a_recorded_refresh(self) -> None:
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

    def test_endless_conflict_retries_the_message(self) -> None:
        service = CheckingService()
        service.script.fail("save", ConflictError("no"), times=99)
        result = service.check_one()
        assert isinstance(result.error, ConflictError)
        assert service.records.writes == 5
        assert service.refreshes.requests == {}


class TestRefreshThatIsThereAlready:
    def test_running_refresh_is_not_started_again(self) -> None:
        service = CheckingService()
        name = next(iter(_started(service)))
        service.refreshes.statuses[name] = StartResult.RUNNING
        service.refreshes.requests.clear()
        assert service.check_one().started is StartResult.RUNNING
        assert service.records.writes == 1

    def test_outage_of_upstream_does_not_start_the_refresh_again(self) -> None:
        service = CheckingService()
        name = next(iter(_started(service)))
        service.refreshes.statuses[name] = StartResult.RUNNING
        service.script.fail("head_manifest", failed(RegistryUnavailableError))
        assert service.check_one().state is State.UNKNOWN
        assert service.check_one().state is State.MISSING
        assert list(service.refreshes.requests) == [name]

    @pytest.mark.parametrize("ended", [StartResult.ENDED, StartResult.SUCCEEDED])
    def test_refresh_without_an_outcome_is_recorded_and_started_again_at_once(self, ended: StartResult) -> None:
        service = CheckingService()
        name = next(iter(_started(service)))
        service.refreshes.statuses[name] = ended
        assert service.check_one().started is StartResult.STARTED
        failure = service.record().failure
        assert failure is not None
        assert (failure.kind, failure.blocking, failure.count) == ("RefreshAborted", False, 1)
        assert len(service.refreshes.requests) == 2
        assert service.check_one().started is StartResult.STARTED  # which runs
        assert len(service.refreshes.requests) == 2

    @pytest.mark.parametrize("ended", [StartResult.ENDED, StartResult.SUCCEEDED])
    def test_second_refresh_without_an_outcome_waits_and_a_check_is_queued_for_then(self, ended: StartResult) -> None:
        followed = mirror(check_every=timedelta(hours=6))
        service = CheckingService([followed])
        service.clock.now = next_check(followed, service.clock())
        for _ in range(2):
            _started(service)
            service.refreshes.statuses = dict.fromkeys(service.refreshes.statuses, ended)
        request = CheckRequest(reason="schedule", repository=REPOSITORY, tags=("1.0",), asked_at=service.clock())
        (checked,) = service.use_case.check([request], UpstreamPool(service.clock))
        assert checked.results[0].started is ended
        failure = service.record().failure
        assert failure is not None
        assert (failure.count, failure.retry_at - service.clock()) == (2, timedelta(minutes=5))
        ((again, delay),) = checked.put_back
        assert again == structs.replace(request, postponed=1)
        assert 300 <= delay <= 450
        assert service.check_one().started is None
        service.clock.advance(minutes=5)
        assert service.check_one().started is StartResult.STARTED
        assert len(service.refreshes.requests) == 3

    def test_refreshes_that_never_have_an_outcome_are_started_less_and_less_often(self) -> None:
        service = CheckingService()
        for _ in range(24 * 60):
            service.check()
            service.refreshes.statuses = dict.fromkeys(service.refreshes.statuses, StartResult.ENDED)
            service.clock.advance(minutes=1)
        assert 8 <= len(service.refreshes.requests) <= 12

    def test_refreshes_without_an_outcome_are_alerted_with_their_cause(self) -> None:
        service = CheckingService()
        for _ in range(20):
            service.check()
            service.refreshes.statuses = dict.fromkeys(service.refreshes.statuses, StartResult.ENDED)
            service.clock.advance(minutes=5)
        assert service.alerts == ["STALE"]
        assert "without a lasting outcome" in service.records.decided[0].detail
        assert service.record().failure is not None

    def test_alert_does_not_start_the_refresh_again(self) -> None:
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
    def test_failing_state_machine_does_not_stop_an_alert(self) -> None:
        service = CheckingService()
        service.script.fail("start", StorageError("no state machine"), times=99)
        service.check()
        service.clock.advance(hours=2)
        assert isinstance(service.check_one().error, PullaheadError)
        assert service.alerts == ["STALE"]


@pytest.mark.parametrize("call", range(5))
def test_killed_check_is_completed_by_its_retry(call: int) -> None:
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
