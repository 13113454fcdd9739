"""What the functions measure, as CloudWatch reads it from their output: names, dimensions, values."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from functions.check_freshness import app as check_freshness
from functions.record_outcome import app as record_outcome
from functions.schedule_checks import app as schedule_checks
from local.images import make_image
from pullahead.checks.check import CheckResult
from pullahead.checks.ecr_events import IgnoredEvent, IgnoredReason
from pullahead.checks.put_back import LeftToSchedule
from pullahead.errors import RateLimitedError, StorageError
from pullahead.lambdas.check_results import add_checks, log_results
from pullahead.lambdas.metrics import add_failure, add_upstream_use
from pullahead.messages import CheckRequest, Failure, OutcomeRequest, PublishResult
from pullahead.mirrors.rate_limit_budget import UpstreamUse
from pullahead.mirrors.record import LastRefresh, State
from pullahead.refresh.request import refresh_request
from tests.fakes.application import InMemoryService
from tests.fakes.lambda_context import lambda_context
from tests.fakes.records import unfresh
from tests.fakes.samples import KEY, REPOSITORY, digest, failed, mirror, root, rules


class Metric(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    dimensions: dict[str, str]


def printed(output: str) -> list[Metric]:
    """Read the embedded metric format (CloudWatch User Guide, "Specification: Embedded metric format")."""
    return [metric for line in output.splitlines() for metric in _of_document(json.loads(line))]


def _of_document(document: dict[str, Any]) -> Iterator[Metric]:
    for directive in document.get("_aws", {}).get("CloudWatchMetrics", []):
        assert directive["Namespace"] == "Pullahead"
        (names,) = directive["Dimensions"]
        for metric in directive["Metrics"]:
            (value,) = document[metric["Name"]]
            yield Metric(metric["Name"], value, {name: document[name] for name in names})


def collected() -> dict[str, float]:
    return {name: sum(metric["Value"]) for name, metric in schedule_checks.metrics.metric_set.items()}


def test_requests_and_remaining_limits_are_reported_by_host(capsys: pytest.CaptureFixture[str]) -> None:
    add_upstream_use(
        [
            UpstreamUse("docker.io", "HEAD", 7, 93),
            UpstreamUse("docker.io", "BLOB", 2, 93),
            UpstreamUse("quay.io", "HEAD", 1),
        ]
    )
    service = {"service": "pullahead"}
    assert printed(capsys.readouterr().out) == [
        Metric("UpstreamRequests", 7, {**service, "host": "docker.io", "kind": "HEAD"}),
        Metric("UpstreamRequests", 2, {**service, "host": "docker.io", "kind": "BLOB"}),
        Metric("UpstreamRequests", 1, {**service, "host": "quay.io", "kind": "HEAD"}),
        Metric("RateLimitRemaining", 93, {**service, "host": "docker.io"}),
    ]


def test_failure_is_counted_by_error_class(capsys: pytest.CaptureFixture[str]) -> None:
    add_failure("StorageError")
    (metric,) = printed(capsys.readouterr().out)
    assert metric == Metric("Failures", 1, {"service": "pullahead", "error": "StorageError"})


def test_metrics_of_another_stack_have_another_dimension(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_failure("StorageError")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "second-stack")
    add_failure("StorageError")
    services = [metric.dimensions["service"] for metric in printed(capsys.readouterr().out)]
    assert services == ["pullahead", "second-stack"]


def test_failed_check_is_counted_by_error_class(capsys: pytest.CaptureFixture[str]) -> None:
    add_checks([CheckResult(KEY, None, "no", error=StorageError("no"))])
    assert [metric.dimensions["error"] for metric in printed(capsys.readouterr().out)] == ["StorageError"]
    assert collected() == {"CheckFailures": 1}


def test_ignored_event_is_counted_by_reason(capsys: pytest.CaptureFixture[str]) -> None:
    add_checks([IgnoredEvent(IgnoredReason.UNTAGGED, "ECR Image Action")])
    (metric,) = printed(capsys.readouterr().out)
    assert metric == Metric("EventsIgnored", 1, {"service": "pullahead", "why": "untagged"})
    assert collected() == {}


def test_mirrors_that_an_event_leaves_to_the_schedule_are_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    left = [LeftToSchedule(REPOSITORY, 3, "many wait for a scan"), LeftToSchedule(REPOSITORY, 4, "no time")]
    add_checks(left)
    log_results(left)
    assert collected() == {"ChecksLeftToSchedule": 7}
    assert caplog.messages == ["left to the schedule"] * 2


def test_deferred_checks_are_logged_once_for_a_message(caplog: pytest.LogCaptureFixture) -> None:
    service = InMemoryService(rules([mirror("1.0"), mirror("2.0"), mirror("3.0")]))
    for tag in ("1.0", "2.0", "3.0"):
        service.upstream.serve(make_image(seed=1), f"ghcr.io/team/app:{tag}")
    service.script.fail("head_manifest", failed(RateLimitedError), times=2)
    now = service.clock()
    check = CheckRequest(reason="schedule", repository=REPOSITORY, tags=("1.0", "2.0", "3.0"), asked_at=now)
    check_freshness.handle({"Records": [{"messageId": "m", "body": check.to_json()}]}, lambda_context(), service.app)
    assert collected() == {"Checks": 3, "Deferred": 2, "ChecksPutBack": 2}
    assert (caplog.messages.count("deferred"), caplog.messages.count("put back into the queue")) == (1, 1)


def test_deferred_refresh_is_not_counted_as_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    service = InMemoryService(rules())
    stale = unfresh(KEY, State.STALE, service.clock(), upstream_digest=digest("new"))
    service.records.stored[KEY] = stale
    error = Failure("DeferredError", '{"errorMessage": "deferred; retry in 600 s at the latest."}')
    outcome = OutcomeRequest(refresh_request(mirror(), root("new"), stale), "arn:1", service.clock(), error=error)
    record_outcome.handle(outcome.to_event(), service.app)
    assert collected() == {"Deferred": 1}
    assert "Failures" not in capsys.readouterr().out
    failure = service.records.stored[KEY].failure
    assert failure is not None
    assert failure.retry_at == service.clock() + timedelta(minutes=10)


def test_schedule_emits_a_heartbeat() -> None:
    service = InMemoryService(rules([mirror("1.0"), mirror("2.0")]))
    schedule_checks.handle(service.app)
    assert collected() == {"Mirrors": 2, "ChecksQueued": 2, "Heartbeat": 1}
    assert service.script.count("scan") == 0


def test_publishing_refresh_reports_duration_and_lag() -> None:
    service = InMemoryService(rules())
    now = service.clock()
    stale = unfresh(KEY, State.STALE, now - timedelta(minutes=10), upstream_digest=digest("new"))
    service.records.stored[KEY] = stale
    request = refresh_request(mirror(), root("new"), stale)
    outcome = OutcomeRequest(request, "arn:1", now - timedelta(seconds=90), PublishResult(digest("new")))
    record_outcome.handle(outcome.to_event(), service.app)
    assert collected() == {"Refreshes": 1, "RefreshSeconds": 90.0, "RefreshLagSeconds": 600.0}


def test_superseded_refresh_reports_no_duration() -> None:
    service = InMemoryService(rules())
    now = service.clock()
    before = LastRefresh(now, 1.0, 2.0, 3, "arn:0")
    stale = unfresh(KEY, State.STALE, now, upstream_digest=digest("newer"), last_refresh=before)
    service.records.stored[KEY] = stale
    request = refresh_request(mirror(), root("x"), stale)
    outcome = OutcomeRequest(request, "arn:1", now, PublishResult(root("x").digest, superseded=True))
    record_outcome.handle(outcome.to_event(), service.app)
    assert collected() == {"Refreshes": 1}


def test_failure_of_the_bus_fails_nothing_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    service = InMemoryService(rules())
    stale = unfresh(KEY, State.STALE, service.clock(), upstream_digest=digest("new"))
    service.records.stored[KEY] = stale
    service.script.fail("publish_events", StorageError("the bus is away"))
    request = refresh_request(mirror(), root("new"), stale)
    outcome = OutcomeRequest(request, "arn:1", service.clock(), PublishResult(digest("new")))
    assert record_outcome.handle(outcome.to_event(), service.app)["state"] == "FRESH"
    (failure,) = (metric for metric in printed(capsys.readouterr().out) if metric.name == "Failures")
    assert failure.dimensions == {"service": "pullahead", "error": "StorageError"}
    assert collected().keys() == {"Refreshes", "RefreshSeconds", "RefreshLagSeconds"}
    (logged,) = (record for record in caplog.records if record.message.startswith("outcome events could not be sent"))
    assert vars(logged)["cause"] == "the bus is away"
    assert service.app.take_unsent() == []
