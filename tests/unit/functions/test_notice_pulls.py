"""The function that notices pulls: samples in, checks and metrics out, and only failed messages are retried."""

import json
from pathlib import Path
from typing import Any

import pytest

from functions.notice_pulls import app as notice_pulls
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.load import load_rules
from tests.fakes.application import MAX_RECEIVE_COUNT, InMemoryService

EVENTS = Path(__file__).parents[3] / "events"
RULES = """\
version: 1
mirrors: []
on_demand:
  - name: hub
    upstream: docker.io/*
    repository: "mirror/hub/{path}"
    allow: ["library/*", "grafana/*"]
    daily_limit: 2
"""


@pytest.fixture
def service() -> InMemoryService:
    return InMemoryService(load_rules(RULES, source="rules.yaml"))


def sample(case: str, *tries: int) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"notice_pulls.{case}.json").read_text(encoding="utf-8"))
    for record, count in zip(event["Records"], tries, strict=False):
        record["attributes"]["ApproximateReceiveCount"] = str(count)
    return event


def again(event: dict[str, Any], service: InMemoryService) -> list[int]:
    """Return the retried messages, by their position in the batch."""
    identifiers = [record["messageId"] for record in event["Records"]]
    failures = notice_pulls.handle(event, service.app)["batchItemFailures"]
    return [identifiers.index(failure["itemIdentifier"]) for failure in failures]


def metrics() -> dict[str, float]:
    return {name: sum(metric["Value"]) for name, metric in notice_pulls.metrics.metric_set.items()}


def sent(service: InMemoryService) -> list[str]:
    return [f"{request.repository}:{request.tags[0]}" for request in service.queue.sent]


def test_first_pull_becomes_a_check(service: InMemoryService) -> None:
    assert notice_pulls.handle(sample("first_pull"), service.app) == {"batchItemFailures": []}
    assert sent(service) == ["mirror/hub/grafana/grafana:11.3.0"]
    assert metrics() == {"PullsNoticed": 1, "MirrorsDemanded": 1, "DemandsRefused": 0}


def test_pull_beyond_the_daily_limit_is_counted(service: InMemoryService) -> None:
    notice_pulls.handle(sample("first_pull"), service.app)
    notice_pulls.metrics.clear_metrics()
    notice_pulls.handle(sample("pulls"), service.app)
    assert sent(service)[1:] == ["mirror/hub/library/alpine:3.20"]
    assert metrics() == {"PullsNoticed": 2, "MirrorsDemanded": 1, "DemandsRefused": 1}


def test_failed_message_is_retried_alone(service: InMemoryService) -> None:
    service.script.fail("save_demand", StorageError("no"))
    event = sample("pulls")
    answer = notice_pulls.handle(event, service.app)
    assert answer == {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}
    assert notice_pulls.handle(event, service.app) == {"batchItemFailures": []}


def test_undecodable_pull_is_skipped(service: InMemoryService) -> None:
    event = sample("pulls")
    event["Records"][0]["body"] = "{"
    assert notice_pulls.handle(event, service.app) == {"batchItemFailures": []}
    assert sent(service) == ["mirror/hub/library/alpine:latest"]
    assert service.dead_letters.letters == {}


def test_batch_that_cannot_be_looked_up_is_retried(
    service: InMemoryService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.script.fail("load_demands", StorageError("no"))
    assert again(sample("pulls"), service) == [0, 1]
    assert service.dead_letters.letters == {}
    assert '"Failures":[1.0]' in capsys.readouterr().out


@pytest.mark.parametrize("error", [StorageError("the table is busy"), ConfigError("no rules"), KeyError("defect")])
def test_failed_batch_goes_to_the_dead_letter_queue_after_its_last_try(
    service: InMemoryService, error: Exception
) -> None:
    service.script.fail("load_demands", error, times=2)  # of each message alone, since both come again
    event = sample("pulls", MAX_RECEIVE_COUNT, MAX_RECEIVE_COUNT - 1)
    assert again(event, service) == [1]
    (letter,) = service.dead_letters.letters.values()
    fields = (letter.body, letter.reason, letter.tries, letter.since)
    assert fields == (event["Records"][0]["body"], type(error).__name__, MAX_RECEIVE_COUNT, service.clock())
    assert metrics() == {"DeadLetters": 1}


@pytest.mark.parametrize("error", [StorageError("the table is busy"), KeyError("defect")])
def test_failed_pull_goes_to_the_dead_letter_queue_after_its_last_try(
    service: InMemoryService, error: Exception
) -> None:
    service.script.fail("save_demand", error)
    assert again(sample("pulls", MAX_RECEIVE_COUNT, MAX_RECEIVE_COUNT), service) == []
    assert service.dead_letters.reasons == [type(error).__name__]
    assert "mirror/hub/library/alpine:latest" in sent(service)


def test_pull_that_cannot_be_dead_lettered_is_retried(service: InMemoryService) -> None:
    service.script.fail("save_demand", StorageError("no"))
    service.script.fail("send_dead_letter", StorageError("no"))
    assert again(sample("pulls", MAX_RECEIVE_COUNT, MAX_RECEIVE_COUNT), service) == [0]
    assert service.dead_letters.letters == {}
