"""What the demo plays on: the local AWS with the stack deployed, an upstream, a queue of alerts, a clock."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from local.aws.pool import Invocation
from local.aws.server import LocalAws
from local.demo.client import PlainClient
from local.deploy import Stack, deploy, update
from local.folders import folder_of_a_run
from local.registry import FakeRegistry
from pullahead.clock import Clock
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.stored_record import decode_record
from pullahead.oci import Digest, Reference
from pullahead.rules.mirror_key import MirrorKey

REPOSITORY = "mirror/demo"
CHECK_EVERY = timedelta(minutes=5)
ALERT_AFTER = timedelta(hours=1)
WEBHOOK_SECRET = "a-secret-of-the-demo-alone"
_WEBHOOK_SECRET_NAME = "pullahead/webhooks"
_LAYER = "RulesLayer"
_TEMPLATE = Path(__file__).parents[2] / "template.yaml"
_IDLE_SECONDS = 240.0
_ROUND_SECONDS = 10  # so short that one large layer takes several rounds


class HeardAlert(NamedTuple):
    """An alert as a subscriber of the topic receives it."""

    subject: str
    text: str


class Stage:
    """Everything the story needs in its hands."""

    def __init__(
        self, aws: LocalAws, stack: Stack, upstream: Reference, fake: FakeRegistry | None, rules: Path
    ) -> None:
        self.aws, self.stack, self.upstream, self.fake, self._rules = aws, stack, upstream, fake, rules
        self.tag = upstream.tag or "latest"
        self.on_invocation: Callable[[Invocation], None] = lambda _: None
        self._alerts_queue = self._hear_alerts()

    @property
    def clock(self) -> Clock:
        """The clock that the service goes by."""
        return self.aws.clock.now

    def tick(self, after: timedelta = timedelta()) -> None:
        """Let time pass, fire the schedule if it is due, and wait until everything that follows is done."""
        self.aws.clock.advance(after.total_seconds())
        self.aws.ticker.run_due()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is under way."""
        self.aws.wait_idle(_IDLE_SECONDS)

    def deploy_rules(self, entries: str, *hosts: str) -> None:
        """Deploy more rules, of upstreams without TLS, some at further hosts."""
        text = _rules(self.upstream, [self.upstream.repository.registry, *hosts], entries)
        (self._rules / "rules.yaml").write_text(text)
        self.stack = update(self.aws, _TEMPLATE, {_LAYER: self._rules})

    def published(self, repository: str = REPOSITORY) -> Digest | None:
        """What ECR serves under the tag, by default of the mirror."""
        ecr = self.aws.client("ecr")
        try:
            answer = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": self.tag}])
        except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return None
        return Digest(answer["imageDetails"][0]["imageDigest"])

    def record(self, repository: str = REPOSITORY) -> MirrorRecord | None:
        """What Pullahead remembers of a mirror."""
        answer = self.aws.client("dynamodb").get_item(
            TableName=self.stack.outputs["RecordsTableName"],
            Key={"pk": {"S": f"mirror#{MirrorKey(repository, self.tag)}"}},
            ConsistentRead=True,
        )
        item = answer.get("Item")
        record = decode_record(item["record"]["S"]) if item else None
        return record if isinstance(record, MirrorRecord) else None

    def alerts(self) -> list[HeardAlert]:
        """Let all records be reviewed, as every few minutes, and take the alerts that came since the last time."""
        self.aws.client("lambda").invoke(FunctionName=self.stack.resources["ReviewRecordsFunction"], Payload=b"{}")
        sqs = self.aws.client("sqs")
        heard = []
        while messages := sqs.receive_message(QueueUrl=self._alerts_queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                body = json.loads(message["Body"])
                heard.append(HeardAlert(body["Subject"], body["Message"]))
                sqs.delete_message(QueueUrl=self._alerts_queue, ReceiptHandle=message["ReceiptHandle"])
        return heard

    def function_name(self, invocation: Invocation) -> str:
        """Name a function as its folder is named."""
        logical = next(name for name, made in self.stack.resources.items() if made == invocation.function)
        return re.sub(r"(?<!^)(?=[A-Z])", "_", logical.removesuffix("Function")).lower()

    def rounds(self) -> int:
        """How often copy_blobs ran until now."""
        return sum("CopyBlobs" in invocation.function for invocation in self.aws.invocations)

    def executions(self) -> list[dict[str, Any]]:
        """The refreshes until now, newest first."""
        arn = self.stack.outputs["RefreshStateMachineArn"]
        answer = self.aws.client("stepfunctions").list_executions(stateMachineArn=arn)
        executions: list[dict[str, Any]] = answer["executions"]
        return executions

    def client(self) -> PlainClient:
        """A client that is logged in to the local ECR."""
        answer = self.aws.client("ecr").get_authorization_token()
        return PlainClient(self.aws.url, answer["authorizationData"][0]["authorizationToken"])

    def _hear_alerts(self) -> str:
        sqs = self.aws.client("sqs")
        url: str = sqs.create_queue(QueueName="demo-alerts")["QueueUrl"]
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        topic = self.stack.outputs["AlertsTopicArn"]
        self.aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
        return url


@contextmanager
def set_stage(upstream: Reference | None) -> Iterator[Stage]:
    """Start the local AWS, and a fake upstream unless a real one is given, and deploy the template."""
    with ExitStack() as stack:
        folder = stack.enter_context(folder_of_a_run("pullahead-demo-"))
        fake = stack.enter_context(FakeRegistry()) if upstream is None else None
        reference = fake.reference("shop/web", "1.0") if fake else upstream
        if reference is None:
            raise ValueError("neither a fake nor a real upstream")
        rules = folder / "rules"
        rules.mkdir()
        (rules / "rules.yaml").write_text(_rules(reference, [reference.repository.registry] if fake else []))
        stages: list[Stage] = []  # functions run only once the stage is set

        def tell(invocation: Invocation) -> None:
            for stage in stages:
                stage.on_invocation(invocation)

        aws = stack.enter_context(LocalAws(folder / "aws", wait_scale=0.05, on_invocation=tell))
        # An hour passes at once here, in which no checks are sent: no reason to worry.
        parameters = {
            "CopyTimeoutSeconds": str(_ROUND_SECONDS if fake else 900),
            "SilenceAlarmSeconds": "7200",
            "Webhooks": "on",
            "WebhookSecret": _WEBHOOK_SECRET_NAME,
        }
        deployed = deploy(aws, _TEMPLATE, parameters=parameters, content={_LAYER: rules})
        aws.client("secretsmanager").create_secret(Name=_WEBHOOK_SECRET_NAME, SecretString=WEBHOOK_SECRET)
        stages.append(Stage(aws, deployed, reference, fake, rules))
        yield stages[0]


def _rules(upstream: Reference, plain_hosts: Sequence[str], more: str = "") -> str:
    hosts = "".join(f"  {host}: {{plain_http: true}}\n" for host in plain_hosts)
    upstreams = f"upstreams:\n{hosts}" if hosts else ""
    return (
        f"version: 1\n{upstreams}mirrors:\n"
        f"  - upstream: {upstream.repository}\n"
        f'    tags: ["{upstream.tag}"]\n'
        f"    repository: {REPOSITORY}\n"
        f"    check_every: {int(CHECK_EVERY.total_seconds())}s\n"
        f"    alert_after: {int(ALERT_AFTER.total_seconds())}s\n{more}"
    )
