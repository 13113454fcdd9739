"""The review as Lambda calls it: what it measures, logs and answers, and that an error is one of the function's."""

from datetime import timedelta
from typing import Any, cast

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from functions.review_records import app as review_records
from pullahead.alerts.review import Limit
from pullahead.errors import StorageError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import State
from pullahead.mirrors.review_index import MAX_SHOWN
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.sources.state import RulesState
from tests.fakes.application import InMemoryService
from tests.fakes.records import fresh, unfresh
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, mirror, rules


class Context:
    """What Lambda tells a function of its time."""

    def __init__(self, seconds: float = 300) -> None:
        self._milliseconds = int(seconds * 1000)

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


def run(service: InMemoryService, seconds: float = 300) -> dict[str, Any]:
    return review_records.handle(cast("LambdaContext", Context(seconds)), service.app)


def metrics() -> dict[str, float]:
    return {name: sum(metric["Value"]) for name, metric in review_records.metrics.metric_set.items()}


@pytest.fixture
def service() -> InMemoryService:
    """Two mirrors, one of which is stale for two hours, and the record of a third that no rule names."""
    made = InMemoryService(rules([mirror("1.0"), mirror("2.0")]))
    began = made.clock() - timedelta(hours=2)
    stale = Alert(AlertKind.STALE, KEY, UPSTREAM, began, made.clock())
    late = unfresh(KEY, State.STALE, began, alerted=(AlertKind.STALE,), pending=(stale,))
    others = [fresh(f"{REPOSITORY}:{tag}", began) for tag in ("2.0", "3.0")]
    made.records.stored = {record.key: record for record in (late, *others)}
    made.records.heartbeat = Heartbeat(made.clock(), "rules-1")
    made.rules_state.save(RulesState())
    return made


def test_review_measures_notifies_and_retires(service: InMemoryService) -> None:
    assert run(service) == {"records": 1, "sent": 1, "retired": 1}
    assert metrics() == {"StaleTags": 1, "OldestStaleSeconds": 7200.0, "AlertsTold": 1, "MirrorsRetired": 1}
    assert service.alerts.kinds == service.chat.kinds == ["STALE"]
    assert (service.script.count("to_review"), service.script.count("scan_after")) == (1, 1)


def test_review_without_news_emits_two_metrics(service: InMemoryService) -> None:
    service.records.stored = {record.key: record for record in [fresh(KEY, service.clock())]}
    assert run(service) == {"records": 0, "sent": 0, "retired": 0}
    assert metrics() == {"StaleTags": 0, "OldestStaleSeconds": 0.0}


def test_failed_notification_is_raised_after_the_rest_of_the_review(service: InMemoryService) -> None:
    service.script.fail("publish", StorageError("no topic"))
    with pytest.raises(StorageError, match="no topic"):
        run(service)
    assert metrics() == {"StaleTags": 1, "OldestStaleSeconds": 7200.0, "MirrorsRetired": 1}
    review_records.metrics.clear_metrics()
    assert run(service)["sent"] == 2  # it, and the mirror that was retired


def test_review_stops_before_the_time_budget_is_used(service: InMemoryService) -> None:
    assert run(service, seconds=10) == {"records": 1, "sent": 1, "retired": 0}
    assert service.records.stored[KEY].pending


def test_records_that_the_index_lacked_are_counted_and_logged(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    service.records.unindexed.add(KEY)
    assert run(service)["sent"] == 0
    assert metrics()["IndexRepairs"] == 1
    assert "not in the index of reviews" in caplog.text
    assert run(service)["sent"] == 2  # it, and the mirror that was retired


def test_limit_that_is_reached_is_counted_and_logged(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    began = service.clock() - timedelta(hours=2)
    for number in range(MAX_SHOWN):
        key = MirrorKey("m", f"{number}")
        service.records.stored[key] = unfresh(key, State.STALE, began)
    assert run(service)["records"] == MAX_SHOWN + 1
    assert metrics()["LimitsReached"] == 1
    assert Limit.SHOWN.value in caplog.text


def test_alerts_that_there_was_no_time_to_remove_are_counted_and_logged(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(service, seconds=50) == {"records": 1, "sent": 1, "retired": 0}
    assert metrics()["AlertsLeft"] == 1
    assert [each.levelname for each in caplog.records if "could not be removed from all" in each.message] == ["WARNING"]
    review_records.metrics.clear_metrics()
    assert run(service)["sent"] == 0  # it is not repeated
    assert "AlertsLeft" not in metrics()
    assert service.alerts.kinds == ["STALE"]
