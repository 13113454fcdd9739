"""The pruning as Lambda calls it: what it counts, logs and answers, and that an error is one of the function's."""

from datetime import timedelta
from typing import Any

import pytest

from functions.prune_tags import app as prune_tags
from pullahead.errors import RegistryUnavailableError, Side
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.record import RuleRecord, State
from pullahead.mirrors.store import Heartbeat
from pullahead.retention.prune import Pruned, PrunedRule
from pullahead.rules.mirror_key import RuleKey
from pullahead.rules.model import Prune
from pullahead.rules.sources.state import RulesState
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.application import InMemoryService
from tests.fakes.lambda_context import lambda_context
from tests.fakes.samples import REPOSITORY, digest, failed, published, rule, rules

TAGS = [f"1.{number}" for number in range(10)]


def run(service: InMemoryService, seconds: float = 900) -> dict[str, Any]:
    return prune_tags.handle(lambda_context(int(seconds * 1000)), service.app)


def metrics() -> dict[str, float]:
    return {name: sum(metric["Value"]) for name, metric in prune_tags.metrics.metric_set.items()}


@pytest.fixture(params=[True])
def service(request: pytest.FixtureRequest) -> InMemoryService:
    """A rule that has published ten tags, of which it has not chosen one for 40 days."""
    selection = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),))
    made = InMemoryService(rules([], "rules-1", rule(tags=selection, prune=Prune(deletes=request.param))))
    now, ago = made.clock(), made.clock() - timedelta(days=40)
    for tag in TAGS:
        missing = Missing(PruneReason.GONE, ago, 39, now - timedelta(days=1)) if tag == "1.0" else None
        made.records.put(published(tag, ago, missing=missing))
        made.tags.served.setdefault(REPOSITORY, {})[tag] = digest(tag)
    made.records.put(RuleRecord(RuleKey(REPOSITORY, "app"), "u", State.FRESH, ago, followed=tuple(TAGS[1:]), version=1))
    made.records.heartbeat = Heartbeat(now, "rules-1")
    made.rules_state.save(RulesState())
    return made


def test_tag_that_is_due_is_removed_counted_and_reported(service: InMemoryService) -> None:
    assert run(service) == {"rules": 1, "removed": 1, "due": 1}
    assert metrics() == {"TagsPruned": 1, "TagsDueForPruning": 1, "TagsHeldFromPruning": 0}
    assert "1.0" not in service.tags.served[REPOSITORY]
    assert service.outcomes.kinds == ["Pruned"]


@pytest.mark.parametrize("service", [False], indirect=True)
def test_report_counts_and_names_what_is_due_and_removes_nothing(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(service) == {"rules": 1, "removed": 0, "due": 1}
    (logged,) = (vars(record) for record in caplog.records if record.message == "pruned")
    assert {key: logged[key] for key in ("rule", "due", "removed", "held")} == {
        "rule": "app",
        "due": "1.0",
        "removed": "",
        "held": 0,
    }
    assert metrics() == {"TagsPruned": 0, "TagsDueForPruning": 1, "TagsHeldFromPruning": 0}
    assert service.outcomes.kinds == ["Prune Due"]
    assert "1.0" in service.tags.served[REPOSITORY]


def test_failed_removal_is_raised_after_it_is_logged(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    service.script.fail("remove", failed(RegistryUnavailableError, side=Side.TARGET))
    with pytest.raises(RegistryUnavailableError):
        run(service)
    assert "part of the pruning failed" in caplog.text
    assert metrics()["TagsPruned"] == 0


def test_paused_rule_prunes_nothing(service: InMemoryService) -> None:
    service.pauses.pause("app")
    assert run(service) == {"rules": 1, "removed": 0, "due": 0}


def test_rules_that_are_not_in_force_are_told_in_the_log(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    service.records.heartbeat = Heartbeat(service.clock(), "others")
    assert run(service) == {"rules": 0, "removed": 0, "due": 0}
    assert "nothing is pruned" in caplog.text
    assert metrics() == {}


def test_rule_that_is_left_for_want_of_time_is_told_in_the_log(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(service, seconds=60) == {"rules": 0, "removed": 0, "due": 0}
    assert "no time for every rule" in caplog.text


def test_log_names_a_hundred_tags_of_a_rule_and_counts_the_others(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    prune_tags.report(Pruned((PrunedRule("app", due=tuple(f"1.{number}" for number in range(130))),)))
    (logged,) = (vars(record)["due"] for record in caplog.records if record.message == "pruned")
    assert logged.startswith("1.0, 1.1, ")
    assert logged.endswith(", 1.99 and 30 more")
