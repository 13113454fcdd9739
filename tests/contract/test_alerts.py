"""Alerts as they arrive: by SNS (moto), in a queue that subscribes."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from pullahead.aws.alerts import SnsAlerts
from pullahead.errors import StorageError
from pullahead.freshness.alerts import Alert, AlertKind, subject_of, text_of
from pullahead.ports import PublishesAlerts
from tests.contract.local_services import ACCOUNT_ID, REGION, client, moto_server, new_name
from tests.fakes.memory import FakeAlerts
from tests.fakes.samples import UPSTREAM

NOW = datetime(2026, 11, 24, 9, 5, tzinfo=UTC)


def alert(kind: AlertKind, mirror: str = "mirror/app:1.0", detail: str = "it is down") -> Alert:
    return Alert(kind, mirror, UPSTREAM, NOW - timedelta(hours=6), NOW, detail)


class Bench(NamedTuple):
    """A topic, and the texts that its subscriber got."""

    alerts: PublishesAlerts
    texts: Callable[[], list[str]]


class Topic(NamedTuple):
    """A topic in SNS, and the notifications that its queue holds."""

    alerts: SnsAlerts
    notifications: Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def topic(moto: str) -> Topic:
    sns, sqs = client(moto, "sns"), client(moto, "sqs")
    arn = sns.create_topic(Name=new_name("alerts"))["TopicArn"]
    name = new_name("subscriber")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{name}")

    def notifications() -> list[dict[str, Any]]:
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"]) for message in messages]
        return found

    return Topic(SnsAlerts(sns, arn), notifications)


@pytest.fixture(params=["fake", "sns"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "fake":
        fake = FakeAlerts()
        return Bench(fake, lambda: [text_of(alert) for alert in fake.published])
    topic: Topic = request.getfixturevalue("topic")
    return Bench(topic.alerts, lambda: [notification["Message"] for notification in topic.notifications()])


def test_every_kind_of_alert_arrives_with_its_text(bench: Bench) -> None:
    told = [alert(kind) for kind in AlertKind]
    for one in told:
        bench.alerts.publish(one)
    assert sorted(bench.texts()) == sorted(map(text_of, told))


def test_text_with_letters_beyond_ascii_arrives(bench: Bench) -> None:
    told = alert(AlertKind.STALE, detail="größer \U0001f512")
    bench.alerts.publish(told)
    assert bench.texts() == [text_of(told)]


class TestSns:
    @pytest.mark.parametrize("kind", AlertKind)
    def test_attributes_are_there_for_subscription_filters(self, topic: Topic, kind: AlertKind) -> None:
        topic.alerts.publish(alert(kind))
        (notification,) = topic.notifications()
        attributes = {name: value["Value"] for name, value in notification["MessageAttributes"].items()}
        assert attributes == {"kind": kind.value, "mirror": "mirror/app:1.0", "upstream": UPSTREAM}

    @pytest.mark.parametrize("mirror", ["m:1", "mirror/app:1.0", f"{'a' * 255}:{'b' * 128}"])
    def test_subject_arrives_and_is_what_mail_takes(self, topic: Topic, mirror: str) -> None:
        """SNS API reference, Publish, Subject: up to 100 characters, ASCII, no line breaks."""
        topic.alerts.publish(alert(AlertKind.BLOCKED, mirror))
        (notification,) = topic.notifications()
        assert notification["Subject"] == subject_of(alert(AlertKind.BLOCKED, mirror))
        assert len(notification["Subject"]) <= 100
        assert notification["Subject"].isascii()
        assert notification["Subject"].endswith("cannot be refreshed")

    def test_topic_that_is_missing_is_a_storage_error_that_names_the_mirror(self, moto: str) -> None:
        alerts = SnsAlerts(client(moto, "sns"), f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:nowhere")
        with pytest.raises(StorageError, match=r"the alert about mirror/app:1\.0 failed"):
            alerts.publish(alert(AlertKind.STALE))
