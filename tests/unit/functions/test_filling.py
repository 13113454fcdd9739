"""The end of a refresh makes check_freshness start the next one, and counts both."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from functions.check_freshness import app as check_freshness
from pullahead.messages import CheckRequest, Message, StartWaitingRequest
from pullahead.refresh.ports import Slot, StartResult
from pullahead.refresh.queue import MAX_EXAMINED
from tests.fakes.application import InMemoryService
from tests.fakes.checks import FIRST
from tests.fakes.lambda_context import lambda_context
from tests.fakes.samples import REPOSITORY, mirror, rules

SAMPLE = Path(__file__).parents[3] / "events" / "check_freshness.fill.json"
TAGS = ("1.0", "2.0", "3.0")


@pytest.fixture
def service() -> InMemoryService:
    made = InMemoryService(rules([mirror(tag) for tag in TAGS]), max_refreshes=1)
    for tag in TAGS:
        made.upstream.serve(FIRST, f"ghcr.io/team/app:{tag}")
    return made


def deliver(service: InMemoryService, message: Message) -> None:
    handle({"messageId": "m", "body": message.to_json()}, service)


def handle(record: dict[str, Any], service: InMemoryService) -> None:
    assert check_freshness.handle({"Records": [record]}, lambda_context(), service.app) == {"batchItemFailures": []}


def counted() -> dict[str, float]:
    return {name: sum(metric["Value"]) for name, metric in check_freshness.metrics.metric_set.items()}


def check_all(service: InMemoryService) -> None:
    deliver(service, CheckRequest("schedule", REPOSITORY, TAGS, service.clock()))
    check_freshness.metrics.clear_metrics()


def test_end_of_a_refresh_starts_the_next_one(service: InMemoryService) -> None:
    check_all(service)
    (first,) = service.refreshes.requests
    service.refreshes.statuses[first] = StartResult.SUCCEEDED
    deliver(service, StartWaitingRequest(first))
    assert len(service.refreshes.requests) == 2
    assert len(service.waiting_refreshes.waiting) == 1
    assert counted() == {}


def test_schedule_counts_running_and_waiting_refreshes(service: InMemoryService) -> None:
    check_all(service)
    deliver(service, StartWaitingRequest())
    assert counted() == {"RefreshesRunning": 1, "RefreshesWaiting": 2}


def test_schedule_emits_no_metric_without_refreshes(service: InMemoryService) -> None:
    deliver(service, StartWaitingRequest())
    assert counted() == {}


def test_refresh_behind_more_that_are_dropped_than_one_call_examines_starts_at_once(service: InMemoryService) -> None:
    check_all(service)
    (running,) = service.refreshes.requests
    waiting = next(iter(service.waiting_refreshes.waiting.values())).request
    assert waiting is not None
    for number in range(2 * MAX_EXAMINED):
        older = waiting.stale_since - timedelta(hours=1)
        service.waiting_refreshes.add(structs.replace(waiting, tag=f"gone-{number}", stale_since=older))
    service.refreshes.statuses[running] = StartResult.SUCCEEDED
    deliver(service, StartWaitingRequest(running))
    again = [StartWaitingRequest(again=True)]
    assert (service.queue.starting, len(service.refreshes.requests)) == (again, 1)
    deliver(service, service.queue.starting.pop())
    deliver(service, service.queue.starting.pop())
    assert (service.queue.starting, len(service.refreshes.requests)) == ([], 2)
    assert counted() == {}


def test_sample_frees_the_slot_of_its_execution(service: InMemoryService) -> None:
    (record,) = json.loads(SAMPLE.read_text(encoding="utf-8"))["Records"]
    name = json.loads(record["body"])["ended"]
    service.slots.held[name] = Slot(name, "ghcr.io", service.clock())
    handle(record, service)
    assert service.slots.held == {}
