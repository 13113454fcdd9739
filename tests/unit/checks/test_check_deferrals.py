"""Checks where upstream's limit leaves no room: nothing flaps, the oldest go first, and the rest comes later."""

import threading

import pytest

from local.images import make_index
from pullahead.checks.check import CheckMirrors, CheckResult
from pullahead.errors import AccessDeniedError, DeferredError, RateLimitedError, Side
from pullahead.messages import CheckRequest
from pullahead.mirrors.rate_limit_budget import RemainingQuota
from pullahead.mirrors.record import State
from pullahead.oci import Descriptor, Reference
from pullahead.refresh.ports import StartResult
from tests.fakes.checks import FIRST, SECOND, CheckingService
from tests.fakes.samples import KEY, REPOSITORY, failed, mirror
from tests.fakes.upstream import FakeUpstream

TAGS = ("1.0", "2.0", "3.0")
NOT_SENT = failed(DeferredError, "deferred, not sent; retry in 600 s")


def served(*tags: str) -> CheckingService:
    """Make a service whose tags are fresh."""
    service = CheckingService([mirror(tag) for tag in tags])
    for tag in tags:
        service.publish(tag=tag)
    service.check(*tags)
    return service


def move(service: CheckingService, *tags: str) -> None:
    for tag in tags:
        service.upstream.serve(SECOND, f"ghcr.io/team/app:{tag}")


def leave(service: CheckingService, usable: int | None) -> None:
    """Let upstream say how much of its limit may be used."""
    service.upstream.quotas.clear()
    if usable is not None:
        service.upstream.quotas["ghcr.io"] = RemainingQuota(10 + usable, 100, usable)


def started(service: CheckingService) -> list[str]:
    return [request.tag for request in service.refreshes.requests.values()]


def deferred(results: list[CheckResult]) -> set[str]:
    return {result.mirror.tag for result in results if result.deferred}


class TestUpstreamNotAsked:
    @pytest.mark.parametrize("error", [NOT_SENT, failed(RateLimitedError, "deferred, not sent")])
    def test_deferred_check_keeps_the_state(self, error: RateLimitedError) -> None:
        service = served("1.0")
        before = service.record()
        service.script.fail("head_manifest", error, times=3)
        for _ in range(3):
            result = service.check_one()
            assert (result.state, result.deferred, result.changed) == (State.FRESH, True, False)
            assert result.reason.startswith("deferred: ")
        assert (service.record(), service.records.writes, service.alerts) == (before, 1, [])
        assert service.check_one().deferred is False

    def test_deferred_check_of_a_new_tag_writes_no_state(self) -> None:
        service = CheckingService()
        service.script.fail("head_manifest", NOT_SENT)
        assert (service.check_one().state, service.records.writes) == (None, 0)
        assert service.check_one().state is State.MISSING

    def test_status_429_makes_the_tag_unknown(self) -> None:
        service = served("1.0")
        service.script.fail("head_manifest", failed(RateLimitedError, status=429))
        result = service.check_one()
        assert (result.state, result.deferred) == (State.UNKNOWN, False)

    def test_deferred_check_asks_ecr_nothing(self) -> None:
        """It is repeated; a refusal by ECR is found by the check that asks upstream."""
        service = served("1.0")
        service.script.resume()
        service.script.fail("head_manifest", NOT_SENT)
        service.script.fail("published_digests", failed(AccessDeniedError, side=Side.TARGET))
        assert (service.check_one().deferred, service.script.count("published_digests")) == (True, 0)
        assert (service.check_one().state, service.script.count("published_digests")) == (State.BLOCKED, 1)

    def test_stale_tag_is_alerted_in_time(self) -> None:
        service = served("1.0")
        move(service, "1.0")
        leave(service, 0)
        service.check()
        service.script.fail("head_manifest", NOT_SENT, times=3)
        for minutes, alerts in ((59, []), (1, ["STALE"]), (15, ["STALE"])):
            service.clock.advance(minutes=minutes)
            assert service.check_one().deferred
            assert service.alerts == alerts

    def test_deferred_checks_reach_every_tag(self) -> None:
        service = CheckingService([mirror(f"{number}.0") for number in range(20)])
        sparing = Sparing(service.upstream, bears=10)
        check = CheckMirrors(lambda: service.rules, service.ports._replace(upstream=sparing))
        tags = tuple(each.tag for each in service.rules.mirrors)
        for _ in range(20):
            service.clock.advance(minutes=5)
            request = CheckRequest(reason="schedule", repository=REPOSITORY, tags=tags, asked_at=service.clock())
            check(request, service.pool())
            for tag in sparing.answered:
                service.publish(tag=tag)
            sparing.left = 10
        assert sparing.answered == set(tags)


class TestRefreshes:
    def test_longest_stale_mirrors_are_refreshed_first(self) -> None:
        service = served(*TAGS)
        leave(service, 0)
        for tag in ("2.0", "3.0", "1.0"):
            move(service, tag)
            service.clock.advance(minutes=5)
            results = service.check(*TAGS)
            assert tag in deferred(results)
        assert started(service) == []
        leave(service, 2)
        results = service.check(*TAGS)
        assert started(service) == ["2.0", "3.0"]
        (late,) = [result for result in results if result.deferred]
        assert (late.mirror, late.state, late.started) == (KEY, State.STALE, None)
        assert "ghcr.io leaves 12 of its limit of 100 requests, 0 above the reserve" in late.reason

    def test_deferral_is_not_written_and_begins_no_episode(self) -> None:
        service = served(*TAGS)
        move(service, "1.0")
        leave(service, 0)
        service.check(*TAGS)
        before, writes = service.record(), service.records.writes
        assert before.state is State.STALE
        for _ in range(3):
            service.clock.advance(minutes=5)
            (result,) = [result for result in service.check(*TAGS) if result.deferred]
            assert result.changed is False
        assert (service.record(), service.records.writes) == (before, writes)

    def test_deferred_refreshes_start_later(self) -> None:
        service = served(*TAGS)
        move(service, *TAGS)
        leave(service, 1)
        assert deferred(service.check(*TAGS)) == {"2.0", "3.0"}
        leave(service, None)
        assert deferred(service.check(*TAGS)) == set()
        assert sorted(started(service)) == list(TAGS)

    def test_index_needs_more_of_the_limit_than_a_manifest(self) -> None:
        service = served(*TAGS)
        for tag in TAGS:
            service.upstream.serve(make_index([FIRST, SECOND]), f"ghcr.io/team/app:{tag}")
        leave(service, 8)
        assert deferred(service.check(*TAGS)) == set(TAGS)
        leave(service, 20)
        assert deferred(service.check(*TAGS)) == {"3.0"}

    def test_running_refresh_takes_nothing_of_the_limit(self) -> None:
        service = served(*TAGS)
        move(service, "1.0")
        service.check(*TAGS)
        service.refreshes.statuses = dict.fromkeys(service.refreshes.statuses, StartResult.RUNNING)
        service.refreshes.requests.clear()  # what runs has another input: it is only described
        move(service, "2.0")
        leave(service, 1)
        assert deferred(service.check(*TAGS)) == set()
        assert started(service) == ["2.0"]

    def test_alert_does_not_wait_for_a_deferred_refresh(self) -> None:
        service = served("1.0")
        move(service, "1.0")
        leave(service, 0)
        service.check()
        service.clock.advance(hours=1)
        assert service.check_one().deferred
        assert service.alerts == ["STALE"]

    def test_conflict_does_not_start_a_deferred_refresh(self) -> None:
        service = served("1.0")
        move(service, "1.0")
        leave(service, 0)
        service.script.before("save", service.check)
        assert service.check_one().deferred
        assert started(service) == []


class Sparing(FakeUpstream):
    """An upstream of which only so many questions are asked at each check."""

    def __init__(self, upstream: FakeUpstream, bears: int) -> None:
        super().__init__()
        self._upstream, self.left = upstream, bears
        self.answered: set[str] = set()
        self._lock = threading.Lock()

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:
        with self._lock:
            if self.left == 0:
                raise NOT_SENT
            self.left -= 1
            self.answered.add(reference.locator)
        return self._upstream.head_manifest(reference, by_event=by_event)
