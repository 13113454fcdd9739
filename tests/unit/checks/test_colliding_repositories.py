"""Repositories of a namespace that have one name in ECR: the first owner keeps it, and people are told once."""

from typing import Literal

import pytest

from local.images import make_image
from pullahead.dashboard.explain import ListedRule, explain_listing
from pullahead.messages import CheckRequest, ListRequest
from pullahead.mirrors.record import RuleRecord, State
from pullahead.mirrors.rule_record import rule_key
from pullahead.rules.tag_patterns import TagSelection
from tests.fakes.samples import rule
from tests.unit.checks.test_rotating_tags import Service

IMAGE = make_image(seed=3)
NAMESPACE = rule(tags=TagSelection(names=("1.0",)), upstream="quay.io/ns/*", repository="mirror/{name}", name="ns")
FIRST, ATTACKER = "quay.io/ns/app", "quay.io/ns/attacker/app"


@pytest.fixture
def service() -> Service:
    made = Service(NAMESPACE)
    made.serve(f"{FIRST}:1.0")
    made.round("ns")
    made.serve(f"{FIRST}:1.0", f"{ATTACKER}:1.0", f"{ATTACKER}:2.0", "quay.io/ns/other:1.0")
    return made


def owners(service: Service) -> dict[str, str]:
    return {str(key): record.upstream for key, record in service.records.stored.items()}


def test_repository_of_the_same_name_does_not_take_over_the_first_owners(service: Service) -> None:
    for _ in range(3):
        service.round("ns")
    assert owners(service) == {"mirror/app:1.0": f"{FIRST}:1.0", "mirror/other:1.0": "quay.io/ns/other:1.0"}
    assert service.alerts.count("UNLISTED") == 1


def test_why_names_the_repository_that_is_left_out_and_the_owner(service: Service) -> None:
    service.round("ns")
    record = service.records.of_rules[rule_key(NAMESPACE)]
    assert isinstance(record, RuleRecord)
    assert (record.state, record.followed) == (State.BLOCKED, ("ns/app", "ns/other"))
    steps = explain_listing(ListedRule(NAMESPACE, record), service.clock(), is_paused=False)
    (verdict,) = (step.text for step in steps if step.about == "verdict")
    assert "ns/attacker/app (mirror/app belongs to quay.io/ns/app)" in verdict


def test_first_owner_stays_though_another_one_comes_nearer() -> None:
    service = Service(NAMESPACE)
    service.serve("quay.io/ns/deep/app:1.0")
    service.round("ns")
    service.serve("quay.io/ns/deep/app:1.0", "quay.io/ns/app:1.0")
    for _ in range(2):
        service.round("ns")
    assert owners(service) == {"mirror/app:1.0": "quay.io/ns/deep/app:1.0"}
    check = CheckRequest(reason="delete", repository="mirror/app", tags=("1.0",), asked_at=service.clock())
    service.check(check)
    assert owners(service) == {"mirror/app:1.0": "quay.io/ns/deep/app:1.0"}


@pytest.mark.parametrize("reason", ["webhook", "manual"])
@pytest.mark.parametrize("tag", ["1.0", "2.0"])
def test_event_of_another_repository_does_not_take_over(
    service: Service, reason: Literal["webhook", "manual"], tag: str
) -> None:
    service.round("ns")
    before = owners(service)
    service.check(
        CheckRequest(
            reason=reason,
            repository="mirror/app",
            tags=(tag,),
            asked_at=service.clock(),
            rule="ns",
            upstream=ATTACKER,
            settled=True,
        )
    )
    assert owners(service) == before


def test_listing_of_another_repository_that_an_event_asks_for_is_ignored(service: Service) -> None:
    service.round("ns")
    assert service.list_tags(ListRequest(rule="ns", asked_at=service.clock(), upstream=ATTACKER)) is None
    assert service.queue.sent == []


def test_repository_that_a_rule_names_is_kept_from_the_namespace() -> None:
    service = Service(rule("9.9", upstream="quay.io/ns/real/app", repository="mirror/app"), NAMESPACE)
    service.serve(f"{ATTACKER}:1.0", "quay.io/ns/other:1.0")
    service.round("ns")
    assert list(owners(service)) == ["mirror/other:1.0"]


def test_name_is_free_when_its_owner_is_gone(service: Service) -> None:
    service.round("ns")
    service.serve(f"{ATTACKER}:1.0")
    service.round("ns")
    assert owners(service)["mirror/app:1.0"] == f"{ATTACKER}:1.0"
    assert "RECOVERED" in service.alerts
