"""Tags selected by a pattern are checked where they are followed, and ignored elsewhere."""

import pytest

from pullahead.checks.check import CheckResult
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rule
from pullahead.rules.named_mirrors import NamedMirrors
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.checks import FIRST, SECOND, CheckingService
from tests.fakes.samples import rule, rules

ANY = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),))


class Choosing(CheckingService):
    """A service with one rule with patterns, and the tags that a listing selected."""

    def __init__(self, declared: Rule) -> None:
        super().__init__([])
        self.rules = rules(NamedMirrors((declared,)), "r", declared)

    def ask(self, repository: str, upstream: str | None = None, rule: str | None = None) -> list[CheckResult]:
        """Check `1.0` of a repository as it was found."""
        return self.use_case(CheckRequest("schedule", repository, ("1.0",), self.clock(), rule=rule, upstream=upstream))


@pytest.fixture
def service() -> Choosing:
    made = Choosing(rule(tags=ANY))
    made.upstream.serve(FIRST, "ghcr.io/team/app:1.0")
    return made


def test_selected_tag_is_mirrored(service: Choosing) -> None:
    (result,) = service.ask("mirror/app")
    assert (result.mirror, result.state, result.started) == (
        MirrorKey("mirror/app", "1.0"),
        State.MISSING,
        StartResult.STARTED,
    )
    (request,) = service.refreshes.requests.values()
    assert request.upstream == "ghcr.io/team/app:1.0"


class TestPush:
    def test_push_of_an_unselected_tag_is_ignored(self, service: Choosing) -> None:
        service.publish(SECOND)
        assert service.check(pushed=SECOND.digest) == []
        assert service.script.calls == ["load"]

    def test_overwritten_selected_tag_is_refreshed(self, service: Choosing) -> None:
        service.publish()
        service.ask("mirror/app")
        service.publish(SECOND)
        assert service.check_one(pushed=SECOND.digest).started is StartResult.STARTED

    def test_push_of_a_named_tag_is_checked(self) -> None:
        service = Choosing(rule(tags=ANY._replace(names=("1.0",))))
        service.upstream.serve(FIRST, "ghcr.io/team/app:1.0")
        service.publish(SECOND)
        assert service.check_one(pushed=SECOND.digest).started is StartResult.STARTED

    def test_push_of_a_named_tag_in_a_namespace_is_ignored_until_it_is_followed(self) -> None:
        """Any repository could lie there."""
        service = Choosing(rule("1.0", upstream="quay.io/prom/*", repository="quay/{name}"))
        service.target.move_tag("quay/own", "1.0", SECOND.digest)
        assert service.check(repository="quay/own", pushed=SECOND.digest) == []


class TestNamespace:
    RULE = rule("1.0", upstream="quay.io/prom/*", repository="quay/{name}", name="prom")

    def test_upstream_is_the_repository_that_the_listing_found(self) -> None:
        """By the name of the target alone it would be quay.io/prom/alert."""
        service = Choosing(self.RULE)
        service.upstream.serve(FIRST, "quay.io/prom/deep/alert:1.0")
        service.ask("quay/alert", "quay.io/prom/deep/alert", "prom")
        (request,) = service.refreshes.requests.values()
        assert (request.repository, request.upstream) == ("quay/alert", "quay.io/prom/deep/alert:1.0")

    def test_upstream_of_a_message_is_ignored_where_the_rules_changed(self, service: Choosing) -> None:
        service.ask("mirror/app", "ghcr.io/else/where", "app")
        (request,) = service.refreshes.requests.values()
        assert request.upstream == "ghcr.io/team/app:1.0"

    def test_message_of_a_removed_rule_is_ignored(self, service: Choosing) -> None:
        assert service.ask("quay/alert", "quay.io/prom/alert", "prom") == []
        assert service.script.calls == []
