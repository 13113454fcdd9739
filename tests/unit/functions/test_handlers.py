"""The functions without Lambda: each event in, the next state's event out, and which messages are retried."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.check_freshness import app as check_freshness
from functions.copy_blobs import app as copy_blobs
from functions.create_repository import app as create_repository
from functions.plan_copy import app as plan_copy
from functions.publish_image import app as publish_image
from functions.record_outcome import app as record_outcome
from functions.schedule_checks import app as schedule_checks
from local.images import make_image, make_index
from pullahead.errors import (
    InvalidEventError,
    NotFoundError,
    RegistryUnavailableError,
    RepositoryMissingError,
    StorageError,
)
from pullahead.messages import CheckRequest, ListRequest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import parse_digest, parse_reference
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rules
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.application import InMemoryService
from tests.fakes.lambda_context import lambda_context
from tests.fakes.samples import failed, rule, rules

EVENTS = Path(__file__).parents[3] / "events"
UPSTREAM = "docker.io/library/alpine"
REPOSITORY = "mirror/alpine"
INDEX = make_index([make_image([b"x" * 35, b"small"], seed=1), make_image([b"x" * 35], seed=2, platform="linux/arm64")])


@pytest.fixture
def service() -> InMemoryService:
    every, after = timedelta(minutes=15), timedelta(hours=1)
    mirrors = [Mirror(parse_reference(f"{UPSTREAM}:{tag}"), REPOSITORY, tag, every, after) for tag in ("3.20", "3.21")]
    made = InMemoryService(Rules(tuple(mirrors), (), "rules-1"))
    for tag in ("3.20", "3.21"):
        made.upstream.serve(INDEX, f"{UPSTREAM}:{tag}")
    return made


def sample(name: str) -> dict[str, Any]:
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))
    return event


def wire(event: object) -> dict[str, Any]:
    """Send an event as Step Functions does."""
    received: dict[str, Any] = json.loads(json.dumps(event))
    return received


def metrics() -> dict[str, float]:
    return {name: sum(metric["Value"]) for name, metric in schedule_checks.metrics.metric_set.items()}


def check(event: dict[str, Any], service: InMemoryService) -> dict[str, Any]:
    """Run a batch as the handler does."""
    answer: dict[str, Any] = check_freshness.handle(event, lambda_context(120_000), service.app)
    return answer


def batch(*bodies: str) -> dict[str, Any]:
    record = sample("check_freshness.schedule")["Records"][0]
    return {"Records": [{**record, "messageId": f"m{n}", "body": body} for n, body in enumerate(bodies)]}


def test_handlers_refresh_a_mirror_from_schedule_to_outcome(service: InMemoryService) -> None:
    assert schedule_checks.handle(service.app) == {"mirrors": 2, "due": 2}
    assert check(batch(*(request.to_json() for request in service.queue.sent)), service) == {"batchItemFailures": []}
    requests = [wire(request.to_event()) for request in service.refreshes.requests.values()]
    assert [request["tag"] for request in requests] == ["3.20", "3.21"]
    for request in requests:
        plan = plan_after_creation(request, service)
        units = [copied(unit, service) for unit in plan["units"]]
        published = wire(publish_image.handle({"request": request, "root": plan["root"]}, service.app))
        ended = {"request": request, "execution": "arn", "started_at": "2026-11-24T09:00:01.5Z"}
        result = record_outcome.handle({**ended, "published": published, "units": units}, service.app)
        assert result["state"] == "FRESH"
    tags = service.target.published_digests(REPOSITORY, ["3.20", "3.21"])
    assert tags == {"3.20": INDEX.digest, "3.21": INDEX.digest}
    assert service.target.blobs(REPOSITORY) == {digest: INDEX.read_blob(digest) for digest in INDEX.blobs}
    assert service.target.bytes_received == sum(map(len, service.target.blobs(REPOSITORY).values()))
    assert metrics()["BytesCopied"] == service.target.bytes_received
    assert metrics()["Refreshes"] == 2


def plan_after_creation(request: dict[str, Any], service: InMemoryService) -> dict[str, Any]:
    """Plan as the state machine does: where the repository is missing, it is created first."""
    plan = wire(plan_copy.handle(request, service.app))
    if "repository_missing" not in plan:
        return plan
    return wire(plan_copy.handle(wire(create_repository.handle(request, service.app)), service.app))


def copied(unit: dict[str, Any], service: InMemoryService) -> dict[str, Any]:
    """Send a unit round until it is done, with time for two parts a round."""
    while not unit["done"]:
        unit = wire(copy_blobs.handle(unit, lambda_context(100_000, 90_000, 10_000), service.app))
    return unit


class TestCheckFreshness:
    @pytest.mark.parametrize("name", ["schedule", "push"])
    def test_sample_is_checked(self, service: InMemoryService, name: str) -> None:
        assert check(sample(f"check_freshness.{name}"), service) == {"batchItemFailures": []}
        assert service.records.stored

    @pytest.mark.parametrize(
        "name", ["delete", "referrer", "image_scan", "pull_through_cache.success", "pull_through_cache.failure"]
    )
    def test_event_of_an_unknown_tag_succeeds(self, service: InMemoryService, name: str) -> None:
        assert check(sample(f"check_freshness.{name}"), service) == {"batchItemFailures": []}
        assert service.records.stored == {}

    def test_ignored_event_is_counted_and_succeeds(self, service: InMemoryService) -> None:
        event = sample("ecr.push") | {"account": "999999999999"}
        assert check(batch(json.dumps(event)), service) == {"batchItemFailures": []}
        assert service.script.calls == []

    def test_cache_failure_is_counted(self, service: InMemoryService) -> None:
        check(sample("check_freshness.pull_through_cache.failure"), service)
        assert metrics()["CacheFailures"] == 1

    def test_message_with_one_failed_mirror_is_retried(self, service: InMemoryService) -> None:
        service.script.fail("save", StorageError("no"))
        event = sample("check_freshness.schedule")
        assert len(check(event, service)["batchItemFailures"]) == 1
        assert service.records.stored.keys() == {MirrorKey("mirror/alpine", "3.21")}
        assert check(event, service) == {"batchItemFailures": []}
        assert service.records.stored.keys() == {MirrorKey("mirror/alpine", tag) for tag in ("3.20", "3.21")}
        assert len(service.refreshes.requests) == 2

    def test_message_for_an_unfollowed_mirror_succeeds(self, service: InMemoryService) -> None:
        stray = CheckRequest(reason="push", repository="else", tags=("1",), asked_at=service.clock())
        assert check(batch(stray.to_json()), service) == {"batchItemFailures": []}


class TestListing:
    @pytest.fixture
    def service(self) -> InMemoryService:
        chosen = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "3.2*"),))
        made = InMemoryService(rules([], "r", rule(tags=chosen, upstream=UPSTREAM, name=UPSTREAM)))
        for tag in ("3.20", "3.21", "2.7"):
            made.upstream.serve(INDEX, f"{UPSTREAM}:{tag}")
        return made

    def test_sample_queues_checks_of_the_selected_tags(self, service: InMemoryService) -> None:
        assert check(sample("check_freshness.list"), service) == {"batchItemFailures": []}
        (request,) = service.queue.sent
        assert sorted(request.tags) == ["3.20", "3.21"]
        assert metrics() == {"Checks": 0}

    def test_failed_listing_is_recorded_and_not_retried(self, service: InMemoryService) -> None:
        service.script.fail("list_tags", failed(RegistryUnavailableError))
        assert check(sample("check_freshness.list"), service) == {"batchItemFailures": []}
        assert [record.state for record in service.records.of_rules.values()] == [State.UNKNOWN]
        assert metrics() == {"Checks": 0}

    def test_listing_that_cannot_be_recorded_is_retried(self, service: InMemoryService) -> None:
        service.script.fail("load", StorageError("no"))
        assert len(check(sample("check_freshness.list"), service)["batchItemFailures"]) == 1
        assert metrics() == {"CheckFailures": 1}

    def test_listing_of_a_removed_rule_succeeds(self, service: InMemoryService) -> None:
        gone = ListRequest(rule="gone", asked_at=service.clock())
        assert check(batch(gone.to_json()), service) == {"batchItemFailures": []}
        assert metrics() == {}


class TestCopyBlobs:
    def test_unit_out_of_time_is_continued(self, service: InMemoryService) -> None:
        unit = self.first_unit(service)
        again = copy_blobs.handle(unit, lambda_context(100_000, 10_000), service.app)
        assert (again["done"], again["rounds"], again["bytes_copied"]) == (False, 1, 10)
        assert metrics()["BytesCopied"] == 10
        assert copy_blobs.handle(wire(again), lambda_context(), service.app)["done"] is True

    @pytest.mark.parametrize("name", ["copy_blobs.first_round", "copy_blobs.next_round"])
    def test_sample_without_a_stored_plan_is_a_storage_error(self, service: InMemoryService, name: str) -> None:
        with pytest.raises(StorageError, match=r"units/000\.json"):
            copy_blobs.handle(sample(name), lambda_context(), service.app)

    def first_unit(self, service: InMemoryService) -> dict[str, Any]:
        check(sample("check_freshness.schedule"), service)
        request = next(iter(service.refreshes.requests.values()))
        unit: dict[str, Any] = plan_after_creation(request.to_event(), service)["units"][0]
        schedule_checks.metrics.clear_metrics()
        return unit


class TestRecordOutcome:
    @pytest.mark.parametrize(
        ("name", "state", "alerts"),
        [("record_outcome.success", "FRESH", []), ("record_outcome.failure", "BLOCKED", ["BLOCKED"])],
    )
    def test_sample_is_recorded(self, service: InMemoryService, name: str, state: str, alerts: list[str]) -> None:
        event, now = sample(name), service.clock()
        wanted = parse_digest(event["request"]["root"]["digest"])
        stale = MirrorRecord(
            MirrorKey("mirror/alpine", "3.20"),
            f"{UPSTREAM}:3.20",
            State.STALE,
            now,
            now,
            upstream_digest=wanted,
            version=2,
        )
        service.records.stored[stale.key] = stale
        assert record_outcome.handle(event, service.app)["state"] == state
        assert [alert.kind for alert in service.records.decided] == alerts
        assert all("Make the tag mutable in ECR" in alert.detail for alert in service.records.decided)


@pytest.mark.parametrize(
    "handle", [plan_copy.handle, create_repository.handle, publish_image.handle, record_outcome.handle]
)
@pytest.mark.parametrize("event", [{}, {"surprise": 1}, sample("schedule_checks.tick")])
def test_unknown_event_is_refused(service: InMemoryService, handle: Any, event: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError):
        handle(event, service.app)
    assert service.script.calls == []


def test_repository_that_is_missing_again_fails_the_plan(service: InMemoryService) -> None:
    request = sample("plan_copy.refresh")
    assert plan_copy.handle(request, service.app) == {"repository_missing": True}
    with pytest.raises(RepositoryMissingError, match="plan of mirror/alpine at the target failed"):
        plan_copy.handle({"request": request, "repository_created": True}, service.app)


def test_samples_of_plan_and_publish_are_decoded(service: InMemoryService) -> None:
    """They name an image that only Docker Hub has: understood is as far as they get."""
    again = create_repository.handle(sample("create_repository.refresh"), service.app)
    for event in (sample("plan_copy.refresh"), wire(again)):
        with pytest.raises(NotFoundError, match="1d34ffeaf190"):
            plan_copy.handle(event, service.app)
    with pytest.raises(StorageError, match=r"plan\.json"):
        publish_image.handle(sample("publish_image.refresh"), service.app)


def test_log_says_that_a_digest_was_copied_and_the_tag_not_moved(
    service: InMemoryService, caplog: pytest.LogCaptureFixture
) -> None:
    schedule_checks.handle(service.app)
    check(batch(*(request.to_json() for request in service.queue.sent)), service)
    request = wire(next(iter(service.refreshes.requests.values())).to_event()) | {"ahead": True}
    plan = plan_after_creation(request, service)
    for unit in plan["units"]:
        copied(unit, service)
    published = wire(publish_image.handle({"request": request, "root": plan["root"]}, service.app))
    assert published["held"] == "its bytes alone were asked for, while its rule holds it"
    assert "copied; the tag was not moved" in caplog.messages
    assert "published" not in caplog.messages
