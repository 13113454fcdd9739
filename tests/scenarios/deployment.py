"""The stack as deployed for all scenarios of one test process, with a rule for every scenario. Asserts nothing."""

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from local.aws.pool import Invocation
from local.aws.server import LocalAws
from local.deploy import Stack, deploy
from local.deploy.build import zipped
from pullahead.aws.records import DynamoRecords
from tests.fakes.webhooks import SECRET
from tests.real_servers import free_port

TEMPLATE = Path(__file__).parents[2] / "template.yaml"
TAG = "1.0"
REFRESHING = ("PlanCopy", "CreateRepository", "VerifyImage", "PublishImage")
CHECK_EVERY = timedelta(minutes=5)
SETTLED_AFTER = timedelta(hours=36, minutes=30)
"""After a new digest: then late referrers are looked for once a day, and not for some hours (mirrors/referrers.py)."""
ALERT_AFTER = timedelta(hours=1)
_CHECKED = f"check_every: {int(CHECK_EVERY.total_seconds())}s"
_ALERTED = f"alert_after: {int(ALERT_AFTER.total_seconds())}s"
FUNCTION_SECONDS = 10
"""How long copy_blobs may take: so short that one that hangs is soon ended."""
WAIT_SCALE = 0.01
WEBHOOK_SECRET = "pullahead/webhooks"
WEBHOOKS = {"Webhooks": "on", "WebhookSecret": WEBHOOK_SECRET}
"""Parameters with which the function of webhooks is there; the secret is that of the samples, and one to replace it."""
PULLED = "mirror/pulled/"
PULLS = {"OnDemandPrefix": PULLED}
"""Parameters with which pulls of repositories that begin so are noticed."""
_MIRRORS = 240  # more than there are scenarios: each cold start compiles their rules
_IDLE_SECONDS = 120.0
_LEFT_ALONE = timedelta(hours=1)
_SILENCE = {"SilenceAlarmSeconds": "86400"}
"""Scenarios let hours pass at once, and no checks are sent meanwhile."""


class Alert(NamedTuple):
    """An alert as a subscriber of the topic receives it."""

    mirror: str  # empty where it is about several
    kind: str
    subject: str
    text: str


class MirrorRule(NamedTuple):
    """One entry of the rules."""

    host: str
    path: str
    repository: str

    def yaml(self) -> str:
        """Write it as the rules file has it."""
        return f"{self.without_times()}    {_CHECKED}\n    {_ALERTED}\n"

    def without_times(self) -> str:
        """Write it for a file whose defaults say how often it is checked, and after which time people are told."""
        return f'  - upstream: {self.host}/{self.path}\n    tags: ["{TAG}"]\n    repository: {self.repository}\n'


class Deployment:
    """A local AWS with the template in it, where each scenario takes a mirror that no other one had."""

    def __init__(self, aws: LocalAws, stack: Stack, mirrors: list[MirrorRule], upstream_port: int) -> None:
        self.aws, self.stack, self.upstream_port = aws, stack, upstream_port
        self._mirrors = iter(mirrors)
        self._layers = itertools.count()
        self.replaced: frozenset[str] = frozenset()
        """The functions that have other rules at the moment than were deployed."""
        self._alerts_queue = self.hear_alerts()

    def next_mirror(self) -> MirrorRule:
        """Take the next mirror."""
        return next(self._mirrors)

    def settle(self) -> None:
        """Wait until nothing is under way."""
        self.aws.wait_idle(_IDLE_SECONDS)

    def clear(self) -> None:
        """Forget what other scenarios left: images, faults, calls, records, alerts, and messages, also delayed ones.

        An hour passes, since functions in memory leave their upstream alone for as long (checks/upstream_pool.py).
        """
        self.settle()
        self._purge_queues()
        self.aws.clock.advance(_LEFT_ALONE.total_seconds())
        self.aws.ecr.reset()
        self._forget_records()
        self._beat()

    def function(self, name: str) -> str:
        """Name a function as AWS does, by its name in the template without `Function`."""
        return self.stack.resources[f"{name}Function"]

    def runs(self, name: str) -> list[Invocation]:
        """List the runs of a function until now."""
        return [run for run in self.aws.invocations if run.function == self.function(name)]

    def review(self) -> dict[str, Any]:
        """Let all records be reviewed now, as every few minutes, and return what the function answers."""
        answer = self.aws.client("lambda").invoke(FunctionName=self.function("ReviewRecords"), Payload=b"{}")
        reviewed: dict[str, Any] = json.loads(answer["Payload"].read())
        return reviewed

    def alerts(self) -> list[Alert]:
        """Run the review, and return the alerts that were published since the last time."""
        self.review()
        return [_alert(json.loads(body)) for body in self._take(self._alerts_queue)]

    def dead_letters(self, queue: str = "Checks") -> list[str]:
        """Take the dead letters of a queue."""
        return self._take(self.stack.outputs[f"{queue}DeadLetterQueueUrl"])

    def hear_alerts(self) -> str:
        """Subscribe the queue of alerts to the topic, and return its URL."""
        sqs = self.aws.client("sqs")
        url: str = sqs.create_queue(QueueName="received-alerts")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        topic = self.stack.outputs["AlertsTopicArn"]
        self.aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
        return url

    @contextmanager
    def variables(self, name: str, **changed: str) -> Iterator[None]:
        """Give a function other variables, as a deployment with other parameters does; then take them back."""
        client, function = self.aws.client("lambda"), self.function(name)
        found = client.get_function_configuration(FunctionName=function)["Environment"]["Variables"]
        before = {key: str(value) for key, value in found.items()}
        client.update_function_configuration(FunctionName=function, Environment={"Variables": {**before, **changed}})
        try:
            yield
            self.settle()
        finally:
            client.update_function_configuration(FunctionName=function, Environment={"Variables": before})

    @contextmanager
    def rules(self, text: str, *functions: str) -> Iterator[None]:
        """Publish another rules layer for some functions, as a deployment of edited rules does; then take it back.

        With the function that checks, also for all that refresh: these publish only what their rules name.
        """
        client = self.aws.client("lambda")
        functions = tuple(dict.fromkeys((*functions, *(REFRESHING if "CheckFreshness" in functions else ()))))
        before = {name: _layers(client, self.function(name)) for name in functions}
        others, self.replaced = self.replaced, self.replaced.union(functions)
        published = client.publish_layer_version(
            LayerName=f"rules-{next(self._layers)}", Content={"ZipFile": _zipped_rules(text)}
        )["LayerVersionArn"]
        for name, layers in before.items():
            client.update_function_configuration(
                FunctionName=self.function(name), Layers=[layers[0], published, *layers[2:]]
            )
        try:
            yield
            self.settle()
        finally:
            self.replaced = others
            for name, layers in before.items():
                client.update_function_configuration(FunctionName=self.function(name), Layers=layers)

    @contextmanager
    def without_topic(self) -> Iterator[None]:
        """Take the topic of alerts away, and make it anew, with its subscriber, in the end."""
        sns, arn = self.aws.client("sns"), self.stack.outputs["AlertsTopicArn"]
        sns.delete_topic(TopicArn=arn)
        try:
            yield
        finally:
            made = sns.create_topic(Name=arn.rsplit(":", 1)[1])["TopicArn"]
            self.hear_alerts()
        if made != arn:
            raise RuntimeError(f"the topic {arn} came back as {made}")

    def _beat(self) -> None:
        """Let the last checks be sent just now, if any were: that the clock leaps is no silence."""
        records = DynamoRecords(self.aws.client("dynamodb"), self.stack.outputs["RecordsTableName"])
        last = records.load_heartbeat()
        if last is not None:
            records.save_heartbeat(last._replace(at=self.aws.clock.now()))

    def _purge_queues(self) -> None:
        sqs = self.aws.client("sqs")
        for page in sqs.get_paginator("list_queues").paginate():
            for url in page.get("QueueUrls", []):
                sqs.purge_queue(QueueUrl=url)

    def _forget_records(self) -> None:
        """Delete all records but the heartbeat."""
        dynamodb, table = self.aws.client("dynamodb"), self.stack.outputs["RecordsTableName"]
        for page in dynamodb.get_paginator("scan").paginate(TableName=table, ProjectionExpression="pk"):
            for item in page["Items"]:
                if item["pk"]["S"] != "service#heartbeat":
                    dynamodb.delete_item(TableName=table, Key={"pk": item["pk"]})

    def _take(self, queue_url: str) -> list[str]:
        sqs = self.aws.client("sqs")
        bodies: list[str] = []
        while messages := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(message["Body"])
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return bodies


@contextmanager
def deployed(folder: Path, on_invocation: Callable[[Invocation], None], **others: str) -> Iterator[Deployment]:
    """Deploy the template with rules for many mirrors of an upstream that is still to be started on a known port."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    mirrors = [MirrorRule(host, f"scene/{number:02}", f"mirror/scene-{number:02}") for number in range(_MIRRORS)]
    rules = folder / "rules"
    rules.mkdir()
    head = f"version: 1\ndefaults: {{{_CHECKED}, {_ALERTED}}}\nupstreams:\n  {host}: {{plain_http: true}}\n"
    (rules / "rules.yaml").write_text(f"{head}mirrors:\n{''.join(mirror.without_times() for mirror in mirrors)}")
    aws = LocalAws(folder / "aws", wait_scale=WAIT_SCALE, redelivery_seconds=0, on_invocation=on_invocation)
    with aws:
        secrets = json.dumps({"current": "the-secret-to-come-next", "previous": SECRET})
        aws.client("secretsmanager").create_secret(Name=WEBHOOK_SECRET, SecretString=secrets)
        parameters = {"CopyTimeoutSeconds": str(FUNCTION_SECONDS), **_SILENCE, **others}
        stack = deploy(aws, TEMPLATE, parameters=parameters, content={"RulesLayer": rules})
        yield Deployment(aws, stack, mirrors, port)


def rules_text(*mirrors: MirrorRule) -> str:
    """Write a rules file; its hosts are on this machine, without TLS."""
    hosts = "".join(f"  {host}: {{plain_http: true}}\n" for host in sorted({mirror.host for mirror in mirrors}))
    return f"version: 1\nupstreams:\n{hosts}mirrors:\n" + "".join(mirror.yaml() for mirror in mirrors)


def _alert(envelope: dict[str, Any]) -> Alert:
    attributes = {name: attribute["Value"] for name, attribute in envelope["MessageAttributes"].items()}
    return Alert(attributes.get("mirror", ""), attributes["kind"], envelope["Subject"], envelope["Message"])


def _layers(client: Any, function: str) -> list[str]:
    found = client.get_function_configuration(FunctionName=function)["Layers"]
    return [layer["Arn"] for layer in found]


def _zipped_rules(text: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rules.yaml").write_text(text)
        return zipped(Path(folder))
