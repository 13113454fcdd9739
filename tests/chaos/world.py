"""The world of a chaos run: the stack, six upstreams with their mirrors, and what each mirror has served. Asserts
nothing, and breaks nothing by itself.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from local.aws.server import LocalAws
from local.demo.client import PlainClient, Pulled
from local.deploy import deploy
from local.images import LocalImage, make_image
from local.registry import FakeRegistry
from pullahead.aws.records import DynamoRecords
from pullahead.mirrors.record import MirrorRecord
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey
from tests.scenarios.deployment import TEMPLATE, Deployment, rules_text

TAG: Final = "1.0"
INTERVAL: Final = timedelta(minutes=10)
"""Between two checks of a mirror."""
SCHEDULE: Final = INTERVAL / 2
"""Between two runs of the schedule. Mirrors have moments of their own, and a refresh that has failed waits so long."""
ALERT_AFTER: Final = 3 * INTERVAL
HONEST: Final = ("steady", "busy")
SICK: Final = ("flapping", "dripping", "lying", "vanishing")
"""The manners of the six upstreams."""
_WAIT_SCALE: Final = 0.01
_IDLE_SECONDS: Final = 240.0


class ChaosMirror(NamedTuple):
    """A mirror, and the manner of its upstream."""

    manner: str
    path: str
    repository: str
    host: str

    @property
    def key(self) -> MirrorKey:
        """Its identity."""
        return MirrorKey(self.repository, TAG)

    def yaml(self) -> str:
        """Write it as the rules file has it."""
        return (
            f"  - upstream: {self.host}/{self.path}\n"
            f'    tags: ["{TAG}"]\n'
            f"    repository: {self.repository}\n"
            f"    check_every: {int(INTERVAL.total_seconds())}s\n"
            f"    alert_after: {int(ALERT_AFTER.total_seconds())}s\n"
        )


class ReceivedAlert(NamedTuple):
    """An alert as a subscriber received it."""

    kind: str
    about: str
    upstream: str  # the registry
    text: str


class World:
    """The stack and its upstreams. `served`: the images that each mirror's upstream has served; the last one counts."""

    def __init__(
        self, aws: LocalAws, deployment: Deployment, upstreams: dict[str, FakeRegistry], mirrors: list[ChaosMirror]
    ) -> None:
        self.aws, self.deployment, self.upstreams, self.mirrors = aws, deployment, upstreams, mirrors
        self.served: dict[MirrorKey, list[LocalImage]] = defaultdict(list)
        self.moved_at: dict[MirrorKey, datetime] = {}
        self.told: list[ReceivedAlert] = []
        self._images = 0
        self._heard = deployment.hear_alerts()

    @property
    def table(self) -> str:
        """The name of the table of records."""
        return str(self.deployment.stack.outputs["RecordsTableName"])

    @property
    def records(self) -> DynamoRecords:
        """The records, read as the functions do."""
        return DynamoRecords(self.aws.client("dynamodb"), self.table)

    def move(self, mirror: ChaosMirror) -> LocalImage:
        """Let a mirror's tag name a new image."""
        self._images += 1
        image = make_image([3000 + self._images], seed=self._images)
        self.upstreams[mirror.manner].push(image, mirror.path, TAG)
        self.served[mirror.key].append(image)
        self.moved_at[mirror.key] = self.aws.clock.now()
        return image

    def of(self, *manners: str) -> list[ChaosMirror]:
        """List the mirrors of upstreams."""
        return [mirror for mirror in self.mirrors if mirror.manner in manners]

    def tick(self, after: timedelta = SCHEDULE) -> None:
        """Let time pass, by default until the next run of the schedule, and let it send its checks. Does not wait."""
        self.aws.clock.advance(after.total_seconds())
        self.aws.ticker.run_due()

    def settle(self) -> None:
        """Wait until nothing is under way."""
        self.aws.wait_idle(_IDLE_SECONDS)

    def send(self, bodies: list[str]) -> None:
        """Put messages into the queue of checks."""
        for start in range(0, len(bodies), 10):
            entries = [
                {"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies[start : start + 10])
            ]
            queue = self.deployment.stack.outputs["ChecksQueueUrl"]
            self.aws.client("sqs").send_message_batch(QueueUrl=queue, Entries=entries)

    def hear(self) -> None:
        """Let a review run, and take the alerts since the last time."""
        self.deployment.review()
        sqs = self.aws.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self._heard, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self.told.append(_told(json.loads(message["Body"])))
                sqs.delete_message(QueueUrl=self._heard, ReceiptHandle=message["ReceiptHandle"])

    def record(self, mirror: ChaosMirror) -> MirrorRecord | None:
        """Read the record of a mirror."""
        record = self.records.load_one(mirror.key)
        return record if isinstance(record, MirrorRecord) else None

    def pull(self, mirror: ChaosMirror) -> Pulled | None:
        """Pull the tag with everything below it, and hash every byte; None where there is no such tag.

        Raises WrongBytesError, and what a pull of half an image raises.
        """
        if self.published(mirror) is None:
            return None
        answer = self.aws.client("ecr").get_authorization_token()
        client = PlainClient(self.aws.url, answer["authorizationData"][0]["authorizationToken"])
        return client.pull(mirror.repository, TAG)

    def published(self, mirror: ChaosMirror) -> Digest | None:
        """Return what ECR serves under the tag."""
        ecr = self.aws.client("ecr")
        try:
            answer = ecr.describe_images(repositoryName=mirror.repository, imageIds=[{"imageTag": TAG}])
        except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return None
        return Digest(answer["imageDetails"][0]["imageDigest"])

    def dead_letters(self) -> list[str]:
        """Take the messages of the dead-letter queue of checks."""
        return self.deployment.dead_letters()


def _told(envelope: dict[str, Any]) -> ReceivedAlert:
    attributes = envelope["MessageAttributes"]
    about = attributes.get("of", attributes["kind"])["Value"]
    upstream = attributes.get("upstream", {}).get("Value", "")
    return ReceivedAlert(attributes["kind"]["Value"], about, upstream, f"{envelope['Subject']}\n{envelope['Message']}")


@contextmanager
def chaos_world(folder: Path, mirrors: int, chance: random.Random) -> Iterator[World]:
    """Deploy the stack with so many mirrors of six upstreams, of which each serves a first image."""
    with ExitStack() as stack:
        upstreams = {manner: stack.enter_context(FakeRegistry()) for manner in (*HONEST, *SICK)}
        made = _mirrors(mirrors, upstreams)
        rules = folder / "rules"
        rules.mkdir(parents=True)
        (rules / "rules.yaml").write_text(rules_text(*made))  # type: ignore[arg-type]  # what it reads is there
        aws = stack.enter_context(LocalAws(folder / "aws", wait_scale=_WAIT_SCALE, redelivery_seconds=1))
        parameters = {
            "CopyTimeoutSeconds": "30",
            "MaxConcurrentRefreshes": "12",
            "CheckSchedule": "rate(5 minutes)",
        }  # SCHEDULE
        deployed = deploy(aws, TEMPLATE, parameters=parameters, content={"RulesLayer": rules})
        world = World(aws, Deployment(aws, deployed, [], 0), upstreams, made)
        for mirror in chance.sample(made, len(made)):
            world.move(mirror)
        yield world


def _mirrors(count: int, upstreams: dict[str, FakeRegistry]) -> list[ChaosMirror]:
    """Give half of the mirrors to the honest upstreams, and the others in turn to the sick ones."""
    made = []
    for number in range(count):
        manners = HONEST if number % 2 else SICK
        manner = manners[number // 2 % len(manners)]
        host = upstreams[manner].host
        made.append(ChaosMirror(manner, f"team/app-{number}", f"mirror/{manner}-{number}", host))
    return made
