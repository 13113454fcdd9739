"""Tags that an event names and no rule does are mirrored only if upstream has them, since callers may guess tags."""

from typing import Literal

import pytest

from local.images import make_image
from pullahead.checks.check import CheckResult
from pullahead.errors import RegistryUnavailableError
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import State
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.checks import FIRST, CheckingService
from tests.fakes.samples import REPOSITORY, failed, rule, rules

UPSTREAM = "ghcr.io/team/app"
ANY = TagSelection(names=("named",), patterns=(TagPattern(PatternKind.GLOB, "*"),))
Reason = Literal["webhook", "cache", "schedule", "manual"]


@pytest.fixture
def service() -> CheckingService:
    made = CheckingService([])
    declared = rule(tags=ANY)
    made.rules = rules([declared.mirror("named")], "r", declared)
    return made


def ask(service: CheckingService, *tags: str, reason: Reason = "webhook") -> list[CheckResult]:
    request = CheckRequest(reason=reason, repository=REPOSITORY, tags=tags, asked_at=service.clock(), settled=True)
    return service.use_case(request)


def test_hundred_guessed_tags_leave_no_record(service: CheckingService) -> None:
    results = ask(service, *(f"made-up-{number}" for number in range(100)))
    assert {result.state for result in results} == {None}
    assert all("not followed" in result.reason for result in results)
    assert service.script.count("head_manifest") == 100
    assert service.script.count("save") == 0
    assert (service.records.stored, service.alerts) == ({}, [])


def test_guessed_tag_of_an_unreachable_upstream_leaves_no_record(service: CheckingService) -> None:
    service.script.fail("head_manifest", failed(RegistryUnavailableError))
    ask(service, "made-up")
    assert service.records.stored == {}


@pytest.mark.parametrize("reason", ["webhook", "cache"])
def test_guessed_tag_that_upstream_has_is_mirrored(service: CheckingService, reason: Reason) -> None:
    service.upstream.serve(make_image(seed=5), f"{UPSTREAM}:new")
    (result,) = ask(service, "new", reason=reason)
    assert result.state is State.MISSING
    assert len(service.refreshes.requests) == 1


def test_known_tag_that_is_gone_is_alerted(service: CheckingService) -> None:
    service.upstream.serve(FIRST, f"{UPSTREAM}:1.0")
    service.publish()
    ask(service, "1.0", reason="schedule")
    service.upstream.remove(f"{UPSTREAM}:1.0")
    (result,) = ask(service, "1.0")
    assert (result.state, service.alerts) == (State.GONE, ["GONE"])


def test_named_tag_that_never_existed_is_alerted(service: CheckingService) -> None:
    (result,) = ask(service, "named")
    assert (result.state, service.alerts) == (State.GONE, ["NOT_FOUND"])
    assert result.reason == "upstream has no tag `named`; check its spelling"


def test_tag_that_a_person_asks_for_and_upstream_never_had_is_neither_lost_nor_alerted(
    service: CheckingService,
) -> None:
    for _ in range(2):
        (result,) = ask(service, "99", reason="manual")
        assert (result.state, result.reason) == (State.GONE, "upstream has no tag `99`")
    assert (service.alerts, service.outcomes.kinds) == ([], [])
    service.upstream.serve(FIRST, f"{UPSTREAM}:99")
    assert ask(service, "99", reason="manual")[0].state is State.MISSING
    service.upstream.remove(f"{UPSTREAM}:99")
    assert ask(service, "99", reason="manual")[0].reason == "upstream no longer has the tag"
    assert service.alerts == ["GONE"]


def test_selected_tag_that_is_gone_is_alerted(service: CheckingService) -> None:
    service.upstream.serve(FIRST, f"{UPSTREAM}:listed")
    ask(service, "listed", reason="schedule")
    service.upstream.remove(f"{UPSTREAM}:listed")
    (result,) = ask(service, "listed", reason="schedule")
    assert (result.state, service.alerts) == (State.GONE, ["GONE"]), "upstream has listed it, so it is spelled well"
    assert result.reason == "upstream no longer has the tag"


def test_listed_tag_that_upstream_does_not_have_leaves_no_record(service: CheckingService) -> None:
    (result,) = ask(service, "listed", reason="schedule")
    assert (result.state, result.started, service.alerts, service.records.stored) == (None, None, [], {})
    assert result.reason.startswith("not followed: ")


def test_listed_tag_of_an_upstream_that_does_not_answer_is_recorded(service: CheckingService) -> None:
    service.upstream.script.fail("head_manifest", failed(RegistryUnavailableError))
    (result,) = ask(service, "listed", reason="schedule")
    assert result.state is State.UNKNOWN
