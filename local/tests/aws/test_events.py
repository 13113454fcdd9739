"""EventBridge: what an event, a push or a schedule reaches, and in which form."""

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.tests.aws.stack import WholeStack

PUSH = {"action-type": "PUSH", "repository-name": "mirror/app", "image-tag": "1.0", "image-digest": "sha256:0"}


def _put(whole: WholeStack, **changed: Any) -> dict[str, Any]:
    entry = {"Source": "aws.ecr", "DetailType": "ECR Image Action", "Detail": json.dumps(PUSH), **changed}
    answer: dict[str, Any] = whole.aws.client("events").put_events(Entries=[entry])
    whole.aws.wait_idle(20)
    return answer


def _rule(whole: WholeStack, name: str, **target: Any) -> None:
    events = whole.aws.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    failed = events.put_targets(Rule=name, Targets=[{"Id": "one", **target}])
    assert failed["FailedEntryCount"] == 0


def _arn(whole: WholeStack, queue: str) -> str:
    url = whole.stack.resources[queue]
    return f"arn:aws:sqs:eu-west-1:123456789012:{url.rsplit('/', 1)[1]}"


def test_event_reaches_the_queue_through_the_transformer(whole: WholeStack) -> None:
    answer = _put(whole)

    assert answer["FailedEntryCount"] == 0
    [body] = whole.taken("Seen")
    assert json.loads(body) == {"repository": "mirror/app", "tag": "1.0", "rule": whole.stack.resources["PushRule"]}


def test_event_without_the_field_that_must_exist_reaches_nothing(whole: WholeStack) -> None:
    _put(whole, Detail=json.dumps({name: value for name, value in PUSH.items() if name != "image-tag"}))

    assert whole.taken("Seen") == []


def test_event_reaches_no_rule_that_only_has_a_schedule(whole: WholeStack) -> None:
    _put(whole, Source="somebody.else")

    assert whole.runs("Scheduled") == []


def test_disabled_rule_gets_nothing(whole: WholeStack) -> None:
    events = whole.aws.client("events")
    events.disable_rule(Name=whole.stack.resources["PushRule"])
    _put(whole)
    events.enable_rule(Name=whole.stack.resources["PushRule"])

    assert whole.taken("Seen") == []


def test_event_is_complete_when_nothing_transforms_it(whole: WholeStack) -> None:
    _rule(whole, "plain", Arn=_arn(whole, "Seen"))

    _put(whole, Source="plain", Resources=["arn:one"])

    event = json.loads(whole.taken("Seen")[0])
    assert abs(datetime.fromisoformat(event["time"]) - whole.aws.clock.now()) < timedelta(minutes=1)
    assert {**event, "id": "", "time": ""} == {
        "version": "0",
        "id": "",
        "time": "",
        "source": "plain",
        "detail-type": "ECR Image Action",
        "account": "123456789012",
        "region": "eu-west-1",
        "resources": ["arn:one"],
        "detail": PUSH,
    }
    assert len(event["id"]) == 36


def test_event_reaches_function_topic_and_state_machine(whole: WholeStack) -> None:
    lambda_arn = whole.aws.client("lambda").get_function(FunctionName=whole.stack.resources["Worker"])
    report = json.dumps({"do": "report", "say": "from the function"})
    _rule(whole, "function", Arn=lambda_arn["Configuration"]["FunctionArn"], Input=report)
    _rule(whole, "topic", Arn=whole.stack.resources["Alerts"], InputPath="$.detail.image-tag")
    started = json.dumps({"units": [], "finally": {"do": "report", "say": "from the machine"}})
    _rule(whole, "machine", Arn=whole.stack.resources["Machine"], RoleArn="arn:aws:iam::1:role/r", Input=started)

    for source in ("function", "topic", "machine"):
        _put(whole, Source=source)

    assert whole.taken("Seen") == ["from the function", '"1.0"', "from the machine"]


def test_delivery_that_fails_ends_in_the_targets_dead_letter_queue(
    whole: WholeStack, caplog: pytest.LogCaptureFixture
) -> None:
    gone = "arn:aws:lambda:eu-west-1:123456789012:function:gone"
    _rule(whole, "lost", Arn=gone, DeadLetterConfig={"Arn": _arn(whole, "JobsDead")})

    _put(whole, Source="lost")

    assert json.loads(whole.taken("JobsDead")[0])["source"] == "lost"
    assert gone in caplog.text


def test_push_to_ecr_reaches_the_rule(whole: WholeStack) -> None:
    ecr = whole.aws.client("ecr")
    ecr.create_repository(repositoryName="mirror/pushed")
    config = _upload(ecr, "mirror/pushed", b"{}")
    descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [descriptor]}

    ecr.put_image(
        repositoryName="mirror/pushed", imageTag="2.0", imageManifest=json.dumps({**manifest, "config": descriptor})
    )
    whole.aws.wait_idle(20)

    [body] = whole.taken("Seen")
    assert json.loads(body) == {"repository": "mirror/pushed", "tag": "2.0", "rule": whole.stack.resources["PushRule"]}


def _upload(ecr: Any, repository: str, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
    where = {"repositoryName": repository, "uploadId": upload}
    ecr.upload_layer_part(**where, partFirstByte=0, partLastByte=len(content) - 1, layerPartBlob=content)
    ecr.complete_layer_upload(**where, layerDigests=[digest])
    return digest


def test_schedule_fires_with_its_own_input_when_the_clock_says_so(whole: WholeStack) -> None:
    rule = whole.stack.resources["ScheduledOften"]
    assert whole.aws.ticker.run_due() == [rule]
    assert whole.aws.ticker.run_due() == []
    whole.aws.clock.advance(299)
    assert whole.aws.ticker.run_due() == []
    whole.aws.clock.advance(2)
    assert whole.aws.ticker.run_due() == [rule]
    whole.aws.wait_idle(20)

    assert whole.taken("Seen") == ["scheduled", "scheduled"]
    assert [run.event for run in whole.runs("Scheduled")] == [{"do": "report", "say": "scheduled"}] * 2
