"""Other programs hear what became of a mirror: by a rule of theirs beside the stack, whatever breaks in between."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from local.images import make_image
from tests.scenarios.deployment import CHECK_EVERY, TAG, TEMPLATE
from tests.scenarios.scene import Scene

FIRST, SECOND = make_image([50_000], seed=1), make_image([50_000], seed=2)
LEFT_AFTER = timedelta(minutes=5)
SCHEMA = Draft202012Validator(json.loads((TEMPLATE.parent / "docs/outcome-event.schema.json").read_text()))


class Listener:
    """A queue of an operator, fed by a rule for this mirror's events."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._name = scene, f"received-{scene.repository.replace('/', '-')}"
        self._sqs, events = scene.aws.client("sqs"), scene.aws.client("events")
        self._url = self._sqs.create_queue(QueueName=self._name)["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        pattern = {"source": ["pullahead"], "detail": {"repository": [scene.repository]}}
        events.put_rule(Name=self._name, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=self._name, Targets=[{"Id": "queue", "Arn": arn}])

    def received(self) -> list[dict[str, Any]]:
        """Take what came since the last time, in the order in which it became true, all as the schema says."""
        self._scene.settle()
        found: list[dict[str, Any]] = []
        while messages := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        assert [error.message for event in found for error in SCHEMA.iter_errors(event)] == []
        return sorted(found, key=lambda event: str(event["time"]))

    def kinds(self) -> list[str]:
        """Take what came, and say only of which kinds it is."""
        return sorted(event["detail-type"].removeprefix("Mirror ") for event in self.received())

    def close(self) -> None:
        """Listen no longer."""
        events = self._scene.aws.client("events")
        events.remove_targets(Rule=self._name, Ids=["queue"])
        events.delete_rule(Name=self._name)


@pytest.fixture
def listener(scene: Scene) -> Iterator[Listener]:
    made = Listener(scene)
    yield made
    scene.aws.bus.before_put = lambda: None
    made.close()


@contextmanager
def bus_away(scene: Scene) -> Iterator[None]:
    """Let the bus take nothing meanwhile."""

    def refuse() -> None:
        raise RuntimeError("the bus is away")

    scene.aws.bus.before_put = refuse
    yield
    scene.settle()
    scene.aws.bus.before_put = lambda: None


def test_moved_upstream_is_a_stale_and_a_refreshed_event_with_both_digests(scene: Scene, listener: Listener) -> None:
    scene.serve(FIRST)
    scene.check()
    (first,) = listener.received()
    assert (first["detail-type"], first["detail"]["reason"]) == ("Mirror Refreshed", "first-copy")
    assert (first["source"], first["account"], first["region"]) == ("pullahead", "123456789012", "eu-west-1")
    assert "previous-digest" not in first["detail"]

    scene.serve(SECOND)
    scene.check(CHECK_EVERY)
    stale, moved = sorted(listener.received(), key=lambda event: str(event["detail-type"]), reverse=True)
    assert (stale["detail-type"], stale["detail"]["digest"]) == ("Mirror Stale", FIRST.digest)
    assert (stale["detail"]["upstream-digest"], stale["detail"]["reason"]) == (SECOND.digest, "upstream-moved")
    detail = moved["detail"]
    assert (moved["detail-type"], detail["digest"]) == ("Mirror Refreshed", SECOND.digest)
    assert (detail["previous-digest"], detail["upstream-digest"]) == (FIRST.digest, SECOND.digest)
    assert (detail["mirror"], detail["tag"], detail["reason"]) == (scene.key, TAG, "upstream-moved")
    assert detail["upstream"] == f"{scene.mirror.host}/{scene.mirror.path}:{TAG}"
    assert (detail["execution"], detail["rule"]) == (scene.executions()[0]["executionArn"], detail["upstream"][:-4])
    assert detail["bytes-copied"] > 50_000
    assert datetime.fromisoformat(detail["since"]) == datetime.fromisoformat(stale["detail"]["since"])
    scene.serves(SECOND)
    assert scene.record().outbox == ()


def test_fresh_tag_that_stays_fresh_sends_and_writes_nothing(scene: Scene, listener: Listener) -> None:
    scene.serve(FIRST)
    scene.check()
    version = scene.record().version
    assert listener.kinds() == ["Refreshed"]
    for _ in range(3):
        scene.check(CHECK_EVERY)
    assert (listener.kinds(), scene.record().version) == ([], version)


def test_deleted_tag_that_comes_back_is_a_gone_and_a_recovered_event(scene: Scene, listener: Listener) -> None:
    scene.serve(FIRST)
    scene.check()
    scene.upstream.delete_tag(scene.mirror.path, TAG)
    scene.check(CHECK_EVERY)
    scene.check(CHECK_EVERY)
    scene.serve(FIRST)
    scene.check(CHECK_EVERY)
    assert listener.kinds() == ["Gone", "Recovered", "Refreshed"]


def test_event_of_a_killed_writer_is_sent_by_the_next_one(scene: Scene, listener: Listener) -> None:
    """Step Functions runs the killed function again; it finds its own end recorded, and leaves the event for later."""
    scene.serve(FIRST)
    killed: list[int] = []

    def kill() -> None:
        if not killed:
            killed.append(scene.aws.kill_function(scene.deployment.function("RecordOutcome")))
            raise RuntimeError("the caller has gone")

    scene.aws.bus.before_put = kill
    scene.check()
    assert killed == [1]
    assert [run.outcome for run in scene.runs("RecordOutcome")] == ["Runtime.ExitError", "Succeeded"]
    assert listener.received() == []
    scene.check(LEFT_AFTER - timedelta(seconds=10))
    assert listener.received() == []
    scene.check(timedelta(seconds=30))
    (event,) = listener.received()
    assert (event["detail-type"], event["detail"]["digest"]) == ("Mirror Refreshed", FIRST.digest)
    assert event["detail"]["execution"] == scene.executions()[0]["executionArn"]
    scene.check(CHECK_EVERY)
    assert (listener.received(), scene.record().outbox) == ([], ())


def test_events_are_sent_later_when_the_bus_is_unavailable(scene: Scene, listener: Listener) -> None:
    scene.serve(FIRST)
    scene.check()
    assert listener.kinds() == ["Refreshed"]
    scene.serve(SECOND)
    with bus_away(scene):
        scene.check(CHECK_EVERY)
        scene.serves(SECOND)
    assert [run.outcome for run in (*scene.runs("RecordOutcome"), *scene.runs("CheckFreshness"))].count("Succeeded") > 3
    assert scene.deployment.dead_letters() == []
    assert listener.received() == []
    scene.check(LEFT_AFTER)
    assert listener.kinds() == ["Refreshed", "Stale"]


def test_event_is_sent_although_the_end_could_not_be_recorded(scene: Scene, listener: Listener) -> None:
    """record_outcome does not know its table; what was published is found by the check that the push asks for."""
    scene.serve(FIRST)
    name = scene.deployment.function("RecordOutcome")
    client = scene.aws.client("lambda")
    environment = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    without_table = {key: value for key, value in environment.items() if key != "RECORDS_TABLE"}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": without_table})
    scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["FAILED"]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": environment})
    assert listener.received() == []
    scene.check(LEFT_AFTER)
    scene.check(LEFT_AFTER)
    (event,) = listener.received()
    assert (event["detail-type"], event["detail"]["reason"]) == ("Mirror Refreshed", "found-published")
    assert event["detail"]["digest"] == FIRST.digest
    assert "execution" not in event["detail"]


def test_event_whose_writer_died_is_sent_by_the_review(scene: Scene, listener: Listener) -> None:
    """No check of the mirror comes: the review of all records finds what is left in one of them."""
    scene.serve(FIRST)
    with bus_away(scene):
        scene.check()
    assert listener.received() == []
    scene.deployment.review()
    assert listener.received() == []
    scene.aws.clock.advance(LEFT_AFTER.total_seconds())
    scene.deployment.review()
    assert (listener.kinds(), scene.record().outbox) == (["Refreshed"], ())


def test_scan_of_the_published_digest_is_one_event(scene: Scene, listener: Listener) -> None:
    scene.serve(FIRST)
    scene.check()
    sample = json.loads((TEMPLATE.parent / "events/ecr.image_scan.json").read_text())
    for tags in ([TAG], [TAG], ["latest"], []):  # once more, and two that are no mirror's business
        named = {"repository-name": scene.repository, "image-digest": FIRST.digest, "image-tags": tags}
        scene.aws.bus.publish({**sample, "detail": {**sample["detail"], **named}})
        scene.settle()
    events = listener.received()
    assert sorted(event["detail-type"] for event in events) == ["Mirror Refreshed", "Mirror Scanned"]
    (scanned,) = [event for event in events if event["detail-type"] == "Mirror Scanned"]
    assert (scanned["detail"]["digest"], scanned["detail"]["scan-findings"]) == (
        FIRST.digest,
        sample["detail"]["finding-severity-counts"],
    )
