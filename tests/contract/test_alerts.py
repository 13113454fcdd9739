"""Alerts as SNS (moto) delivers them to a queue that subscribes."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from msgspec import structs

from pullahead.alerts.chatbot import chatbot_json
from pullahead.alerts.ports import AlertPublisher
from pullahead.alerts.text import Notice, attributes_of, subject_of, text_of
from pullahead.aws.notifications import SnsAlerts, SnsChatAlerts
from pullahead.errors import StorageError
from pullahead.mirrors.alert import AlertKind
from tests.contract.local_services import ACCOUNT_ID, REGION, client, moto_server, new_name
from tests.fakes.alerts import FakeAlerts
from tests.unit.alerts.every_alert import every_notice, notice


class Topic(NamedTuple):
    """A topic in SNS, and the notifications that its queue holds."""

    arn: str
    client: Any
    notifications: Callable[[], list[dict[str, Any]]]


class Bench(NamedTuple):
    """Who publishes, and the texts that a subscriber got."""

    alerts: AlertPublisher
    texts: Callable[[], list[str]]


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

    return Topic(arn, sns, notifications)


@pytest.fixture(params=["fake", "sns"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "fake":
        fake = FakeAlerts()
        return Bench(fake, lambda: [text_of(notice) for notice in fake.published])
    topic: Topic = request.getfixturevalue("topic")
    alerts = SnsAlerts(topic.client, topic.arn)
    return Bench(alerts, lambda: [notification["Message"] for notification in topic.notifications()])


def test_message_is_published_with_its_text(bench: Bench) -> None:
    sent = list(every_notice())
    for one in sent:
        bench.alerts.publish(one)
    assert sorted(bench.texts()) == sorted(map(text_of, sent))


def test_text_beyond_ascii_is_published(bench: Bench) -> None:
    sent = notice(AlertKind.STALE)
    sent = sent._replace(members=(structs.replace(sent.members[0], detail="größer \U0001f512"),))
    bench.alerts.publish(sent)
    assert bench.texts() == [text_of(sent)]


class TestSns:
    @pytest.mark.parametrize("publisher", [SnsAlerts, SnsChatAlerts])
    def test_attributes_are_set_for_subscription_filters(
        self, topic: Topic, publisher: type[SnsAlerts | SnsChatAlerts]
    ) -> None:
        sent = notice(AlertKind.STALE, over=True)
        publisher(topic.client, topic.arn).publish(sent)
        (notification,) = topic.notifications()
        attributes = {name: value["Value"] for name, value in notification["MessageAttributes"].items()}
        assert attributes == attributes_of(sent)
        assert attributes == {
            "kind": "RECOVERED",
            "of": "STALE",
            "severity": "resolved",
            "count": "1",
            "upstream": "docker.io",
            "mirror": "mirror/alpine:3.20",
        }

    @pytest.mark.parametrize("mirror", ["m:1", "mirror/app:1.0", f"{'a' * 255}:{'b' * 128}"])
    def test_subject_is_published_and_valid_for_mail(self, topic: Topic, mirror: str) -> None:
        """SNS API reference, Publish, Subject: up to 100 characters, ASCII, no line breaks."""
        sent = of_mirror(mirror)
        SnsAlerts(topic.client, topic.arn).publish(sent)
        (notification,) = topic.notifications()
        assert notification["Subject"] == subject_of(sent)
        assert len(notification["Subject"]) <= 100
        assert notification["Subject"].isascii()
        assert notification["Subject"].endswith("cannot be refreshed")

    def test_chat_topic_receives_a_custom_notification(self, topic: Topic) -> None:
        sent = notice(AlertKind.STALE, 500)
        SnsChatAlerts(topic.client, topic.arn).publish(sent)
        (notification,) = topic.notifications()
        assert notification["Message"] == chatbot_json(sent)
        assert json.loads(notification["Message"])["source"] == "custom"

    def test_missing_topic_is_a_storage_error_that_names_the_mirror(self, moto: str) -> None:
        alerts = SnsAlerts(client(moto, "sns"), f"arn:aws:sns:{REGION}:{ACCOUNT_ID}:nowhere")
        with pytest.raises(StorageError, match=r"the alert .*mirror/app:1\.0 cannot be refreshed' failed"):
            alerts.publish(of_mirror("mirror/app:1.0"))


def of_mirror(name: str) -> Notice:
    sent = notice(AlertKind.BLOCKED)
    return sent._replace(members=(structs.replace(sent.members[0], mirror=name),))
