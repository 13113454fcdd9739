"""What checks and ends of refreshes say to other programs, counted call by call."""

import pytest

from pullahead.errors import StorageError
from pullahead.messages import Failure, OutcomeRequest, OutcomeResult, PublishResult
from pullahead.mirrors.record import State
from pullahead.refresh.record_outcome import record_outcome
from pullahead.refresh.request import refresh_request
from tests.fakes.checks import FIRST, SECOND, CheckingService
from tests.fakes.samples import REPOSITORY, mirror
from tests.fakes.script import Killed

EXECUTIONS = "arn:aws:states:eu-west-1:123456789012:execution:refresh"


class Refreshing(CheckingService):
    """A service whose refreshes are played: what was published, and then how the refresh ended."""

    def finish(self, *, error: Failure | None = None) -> OutcomeResult:
        """Record the end of the refresh that the record wants now."""
        (root,) = {self.upstream.head_manifest(mirror().upstream)}
        request = refresh_request(mirror(), root, self.record())
        published = None if error else PublishResult(root.digest)
        ended = OutcomeRequest(request, f"{EXECUTIONS}:{request.name}", self.clock(), published, error=error)
        return record_outcome(ended, self.rules, self.records, self.announcer, self.clock)

    def become_fresh(self) -> None:
        self.check()
        self.publish()
        self.finish()
        self.outcomes.published.clear()
        self.script.resume()

    def move(self) -> None:
        self.upstream.serve(SECOND, "ghcr.io/team/app:1.0")


@pytest.fixture
def service() -> Refreshing:
    return Refreshing()


def test_fresh_tag_sends_and_writes_nothing(service: Refreshing) -> None:
    service.become_fresh()
    for _ in range(3):
        service.check()
    assert (service.outcomes.kinds, service.script.count("save", "publish_events")) == ([], 0)


def test_moved_tag_is_reported_stale_and_refreshed(service: Refreshing) -> None:
    service.become_fresh()
    service.move()
    service.check()
    assert service.outcomes.kinds == ["Stale"]
    service.check()
    service.check()
    assert service.script.count("save", "publish_events") == 3  # the state, the event, and that it was sent
    service.publish(SECOND)
    service.finish()
    service.check()
    assert service.outcomes.kinds == ["Stale", "Refreshed"]
    assert service.script.count("save", "publish_events") == 6
    stale, moved = (event.detail for event in service.outcomes.published)
    assert (stale.digest, stale.upstream_digest) == (FIRST.digest, SECOND.digest)
    assert (moved.digest, moved.previous_digest) == (SECOND.digest, FIRST.digest)
    assert moved.execution == f"{EXECUTIONS}:{[*service.refreshes.requests][-1]}"


def test_hundred_moved_tags_take_ten_calls_to_the_bus() -> None:
    service = Refreshing([mirror(f"{number}.0") for number in range(100)])
    tags = tuple(each.tag for each in service.rules.mirrors)
    for tag in tags:
        service.publish(tag=tag)
    service.check(*tags)
    for tag in tags:
        service.upstream.serve(SECOND, f"ghcr.io/team/app:{tag}")
    service.script.resume()
    service.check(*tags)
    assert service.outcomes.kinds == ["Stale"] * 100
    assert (service.script.count("publish_events"), service.script.count("save")) == (10, 200)


def test_check_between_publishing_and_recording_sends_nothing(service: Refreshing) -> None:
    service.become_fresh()
    service.move()
    service.check()
    service.publish(SECOND)
    service.check()
    assert (service.record().state, service.outcomes.kinds) == (State.FRESH, ["Stale"])
    service.finish()
    assert service.outcomes.kinds == ["Stale", "Refreshed"]
    last = service.outcomes.published[-1].detail
    assert (last.previous_digest, last.reason) == (FIRST.digest, "upstream-moved")
    service.clock.advance(minutes=10)
    service.check()
    assert (service.outcomes.kinds, service.record().outbox) == (["Stale", "Refreshed"], ())


def test_unrecorded_outcome_is_reported_by_a_later_check(service: Refreshing) -> None:
    service.become_fresh()
    service.move()
    service.check()
    service.publish(SECOND)
    service.check()
    service.clock.advance(minutes=5)
    service.check()
    assert service.outcomes.kinds == ["Stale", "Refreshed"]
    assert service.outcomes.published[-1].detail.digest == SECOND.digest


def test_outcome_recorded_twice_is_reported_once(service: Refreshing) -> None:
    service.check()
    service.publish()
    service.finish()
    service.finish()
    assert service.outcomes.kinds == ["Refreshed"]


@pytest.mark.parametrize("kind", ["StorageError", "TagImmutableError"])
def test_failed_refresh_sends_nothing(service: Refreshing, kind: str) -> None:
    service.check()
    service.finish(error=Failure(kind, "no"))
    assert service.outcomes.kinds == []


def test_immutable_tag_is_checked_until_its_event_is_sent() -> None:
    service = Refreshing([mirror(immutable=True)])
    service.check()
    service.publish()
    service.script.fail("publish_events", StorageError("no"))
    service.finish()
    service.clock.advance(minutes=5)
    service.check()
    assert service.outcomes.kinds == ["Refreshed"]
    service.script.resume()
    service.check()
    assert service.script.count("head_manifest", "publish_events") == 0


class TestBusIsAway:
    def test_failing_bus_fails_neither_check_nor_refresh(self, service: Refreshing) -> None:
        service.become_fresh()
        service.move()
        service.script.fail("publish_events", StorageError("no"), times=9)
        result = service.check_one()
        assert (result.error, result.started) == (None, "STARTED")
        service.publish(SECOND)
        assert service.finish().state == "FRESH"
        assert [str(error) for error in service.announcer.take_failures()] == ["no"]  # and then a minute's quiet
        assert len(service.record().outbox) == 2

    def test_later_check_sends_all_unsent_events_in_order(self, service: Refreshing) -> None:
        service.become_fresh()
        service.move()
        service.script.fail("publish_events", StorageError("no"))
        service.check()
        service.publish(SECOND)
        service.clock.advance(seconds=10)
        service.finish()
        service.clock.advance(minutes=5)
        service.check()
        assert service.outcomes.kinds == ["Stale", "Refreshed"]
        assert service.record().outbox == ()


def test_kill_at_any_call_never_loses_an_event() -> None:
    def whole_life(service: Refreshing) -> None:
        service.check()
        service.publish(SECOND)
        service.finish()

    undisturbed = moved()
    whole_life(undisturbed)
    for call in range(len(undisturbed.script.calls)):
        service = moved()
        service.script.kill_at = call
        with pytest.raises(Killed):
            whole_life(service)
        service.script.resume()
        service.clock.advance(minutes=5)
        service.check()
        service.publish(SECOND)
        if service.record().state is not State.FRESH:
            service.finish()
        service.clock.advance(minutes=5)
        service.check()
        said = [(event.kind.name, event.detail.digest) for event in service.outcomes.published]
        assert ("REFRESHED", SECOND.digest) in said, call
        assert len(said) <= len({event.detail.id for event in service.outcomes.published}) + 1  # one repeat, by its id
        assert service.record().outbox == ()


def moved() -> Refreshing:
    service = Refreshing()
    service.become_fresh()
    service.move()
    return service


def test_event_names_repository_and_tag(service: Refreshing) -> None:
    service.check()
    service.publish()
    service.finish()
    detail = service.outcomes.published[0].detail
    assert (detail.repository, detail.tag, detail.rule) == (REPOSITORY, "1.0", "app")
