"""Paused rules are left alone by everything that checks, cost one question a minute, and go on afterwards."""

import pytest

from pullahead.errors import StorageError
from pullahead.messages import CheckRequest, ListRequest
from pullahead.rules.active import CachedPauses, RulesWithPauses
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.application import InMemoryService
from tests.fakes.memory import FakeClock, FakePauseStore
from tests.fakes.samples import REPOSITORY, mirror, rule, rules
from tests.fakes.script import Script

CHOOSING = rule(tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),)))


@pytest.fixture
def service() -> InMemoryService:
    made = InMemoryService(rules(None, "rules-1", CHOOSING))
    made.pauses.pause("app")
    return made


def check_request(service: InMemoryService, **more: object) -> CheckRequest:
    event = {"reason": "schedule", "repository": REPOSITORY, "tags": ["1.0"], "asked_at": service.clock().isoformat()}
    return CheckRequest.from_event(event | more)


def test_schedule_sends_nothing_of_a_paused_rule_and_all_of_it_when_it_is_resumed(service: InMemoryService) -> None:
    service.app.schedule_checks()
    assert (service.queue.sent, service.queue.listings) == ([], [])
    service.pauses.resume("app")
    service.clock.advance(minutes=15)
    service.app.schedule_checks()
    assert [request.tags for request in service.queue.sent] == [("1.0",)]
    assert len(service.queue.listings) == 1


@pytest.mark.parametrize("reason", ["schedule", "push", "manual"])
def test_queued_check_of_a_paused_rule_sends_no_request(service: InMemoryService, reason: str) -> None:
    assert service.handle(check_request(service, reason=reason)) == []
    assert service.script.count("head_manifest", "published_digests", "save", "start") == 0


def test_queued_listing_of_a_paused_rule_sends_no_request(service: InMemoryService) -> None:
    assert service.handle(ListRequest(rule="app", asked_at=service.clock())) == []
    assert service.script.count("list_tags", "send", "save") == 0


def test_running_refresh_of_a_paused_rule_is_recorded(service: InMemoryService) -> None:
    """What is begun ends well: the outcome's rules know no pauses."""
    assert service.app._rules.paused == frozenset()


def test_resumed_rule_is_checked_within_a_minute(service: InMemoryService) -> None:
    assert service.handle(check_request(service)) == []
    service.pauses.resume("app")
    service.clock.advance(minutes=1)
    assert [result.mirror for result in service.handle(check_request(service))] == [mirror().key]  # type: ignore[union-attr]


def test_pauses_are_read_once_a_minute_and_rules_keep_their_index() -> None:
    pauses, clock, known = FakePauseStore(Script()), FakeClock(), rules()
    in_force = RulesWithPauses(lambda: known, CachedPauses(pauses, clock).paused_rules)
    first = in_force()
    for _ in range(5):
        clock.advance(seconds=11)
        assert in_force() is first
    assert pauses.script.count("paused_rules") == 1
    clock.advance(seconds=10)
    assert in_force() is first
    assert pauses.script.count("paused_rules") == 2
    pauses.pause("app")
    clock.advance(minutes=1)
    assert in_force().paused == {"app"}


def test_unreadable_pauses_retry_the_check(service: InMemoryService) -> None:
    service.script.fail("paused_rules", StorageError("no"))
    with pytest.raises(StorageError):
        service.handle(check_request(service))
    assert service.handle(check_request(service)) == []


def test_schedule_and_checks_of_one_process_read_pauses_once(service: InMemoryService) -> None:
    service.app.schedule_checks()
    service.handle(check_request(service))
    assert service.script.count("paused_rules") == 1
