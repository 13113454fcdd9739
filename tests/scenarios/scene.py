"""One mirror of the deployed stack, from all sides: its upstream, ECR, what Pullahead remembers and says of it.

Drives and looks; the only claims that it checks itself are that ECR serves an image whole, or does not have the tag.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from local.aws.pool import Invocation
from local.demo.client import PlainClient, Pulled
from local.ecr import StrictEcr
from local.images import LocalImage
from local.registry import FakeRegistry
from pullahead.checks.timetable import is_ecr_asked
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.mirrors.stored_record import decode_record
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.samples import mirror
from tests.scenarios.deployment import CHECK_EVERY, TAG, Alert, Deployment, MirrorRule, rules_text

PART_BYTES = 10 * 1024 * 1024
"""What ECR asks for (API reference, InitiateLayerUpload, partSize)."""


class SentPart(NamedTuple):
    """One call of UploadLayerPart."""

    first_byte: int
    last_byte: int

    @property
    def size(self) -> int:
        """How many bytes it carried."""
        return self.last_byte - self.first_byte + 1


class Scene:
    """A mirror that no other scenario has, and an upstream with nothing in it."""

    def __init__(self, deployment: Deployment, mirror: MirrorRule, upstream: FakeRegistry) -> None:
        self.deployment, self.mirror, self.upstream = deployment, mirror, upstream
        self.aws = deployment.aws
        self.repository = mirror.repository
        self.key = str(MirrorKey(mirror.repository, TAG))
        self._runs_before = len(deployment.aws.invocations)

    @property
    def ecr(self) -> StrictEcr:
        """The local ECR, with its faults and its calls."""
        ecr: StrictEcr = self.aws.ecr
        return ecr

    # --- what happens -------------------------------------------------------------------------------------------

    def serve(self, image: LocalImage) -> None:
        """Let upstream's tag name an image."""
        self.upstream.push(image, self.mirror.path, TAG)

    def ask_check(self, times: int = 1, reason: Literal["schedule", "manual"] = "schedule") -> None:
        """Queue a check as the schedule does, or the same message several times, and do not wait."""
        request = CheckRequest(reason=reason, repository=self.repository, tags=(TAG,), asked_at=self.aws.clock.now())
        self.send(*[request.to_json()] * times)

    def check_by_hand(self) -> None:
        """Queue a check as a person does, and wait for all that follows."""
        self.ask_check(reason="manual")
        self.settle()

    def check(self, after: timedelta = timedelta(), times: int = 1) -> None:
        """Let time pass, queue a check and wait for all that follows."""
        self.aws.clock.advance(after.total_seconds())
        self.ask_check(times)
        self.settle()

    def approach_check(self, *, asks_ecr: bool) -> None:
        """Let time pass until the schedule's next check asks ECR about a fresh tag, or relies on its record."""
        followed = mirror(repository=self.repository, check_every=CHECK_EVERY)
        for _ in range(240):
            check_at = self.aws.clock.now() + CHECK_EVERY
            until = check_at + timedelta(minutes=2)  # while the machine is busy
            if is_ecr_asked(followed, check_at) is is_ecr_asked(followed, until) is asks_ecr:
                return
            self.aws.clock.advance(15.0)
        raise AssertionError("no such check is near")

    def fire_schedule(self, after: timedelta = CHECK_EVERY) -> None:
        """Let time pass until the schedule fires, and wait for all that follows.

        It knows this mirror alone, unless it was given other rules: those of all scenarios would touch their mirrors.
        """
        if "ScheduleChecks" not in self.deployment.replaced:
            with self.deployment.rules(rules_text(self.mirror), "ScheduleChecks"):
                self.fire_schedule(after)
            return
        self.aws.clock.advance(after.total_seconds())
        if not any("ScheduleChecks" in rule for rule in self.aws.ticker.run_due()):
            raise RuntimeError(f"the schedule is not due after {after}")
        self.settle()

    def send(self, *bodies: str) -> None:
        """Put messages into the checks queue in one call."""
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        queue = self.deployment.stack.outputs["ChecksQueueUrl"]
        self.aws.client("sqs").send_message_batch(QueueUrl=queue, Entries=entries)

    def push_by_hand(self, image: LocalImage, repository: str | None = None, tag: str = TAG) -> None:
        """Push to ECR as a user of docker."""
        self._client().push(image, repository or self.repository, tag)

    def settle(self) -> None:
        """Wait until nothing is under way."""
        self.deployment.settle()

    @contextmanager
    def checks_held_back(self) -> Iterator[None]:
        """Let messages stay in the checks queue meanwhile."""
        client, name = self.aws.client("lambda"), self.deployment.function("CheckFreshness")
        (mapping,) = client.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def kill_copy(self) -> None:
        """Kill the process that copies at this moment."""
        killed = self.aws.kill_function(self.deployment.function("CopyBlobs"))
        if killed != 1:
            raise RuntimeError(f"{killed} processes copied where one was to be killed")

    def terminal(self, folder: Path) -> dict[str, str]:
        """The environment of a terminal whose user may see the stack, and has no login at registries."""
        return {
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "operator",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "DOCKER_CONFIG": str(folder),
        }

    # --- observations -------------------------------------------------------------------------------------------

    def published(self) -> Digest | None:
        """What ECR serves under the tag."""
        ecr = self.aws.client("ecr")
        try:
            answer = ecr.describe_images(repositoryName=self.repository, imageIds=[{"imageTag": TAG}])
        except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
            return None
        return Digest(answer["imageDetails"][0]["imageDigest"])

    def pull(self) -> Pulled:
        """Pull the tag with everything below it, and hash every byte."""
        return self._client().pull(self.repository, TAG)

    def record(self, tag: str = TAG) -> MirrorRecord:
        """What Pullahead remembers of the mirror, or of another one that the scene's rules name."""
        item = self.aws.client("dynamodb").get_item(
            TableName=self.deployment.stack.outputs["RecordsTableName"],
            Key={"pk": {"S": f"mirror#{MirrorKey(self.repository, tag)}"}},
            ConsistentRead=True,
        )["Item"]
        record = decode_record(item["record"]["S"])
        assert isinstance(record, MirrorRecord)
        return record

    def alerts(self) -> list[Alert]:
        """Take the alerts about this mirror that came since the last time."""
        return [alert for alert in self.deployment.alerts() if alert.mirror == self.key]

    def alert_kinds(self) -> list[str]:
        """Take the alerts about this mirror, and say only of which kinds they are."""
        return [alert.kind for alert in self.alerts()]

    def runs(self, name: str) -> list[Invocation]:
        """List the runs of a function in this scenario."""
        function = self.deployment.function(name)
        return [run for run in self.aws.invocations[self._runs_before :] if run.function == function]

    def plans(self) -> list[Invocation]:
        """List the runs of plan_copy but those that found that the repository has to be created first."""
        return [run for run in self.runs("PlanCopy") if run.payload != {"repository_missing": True}]

    def executions(self) -> list[dict[str, Any]]:
        """List the refreshes of this mirror, newest first."""
        machine = self.deployment.stack.outputs["RefreshStateMachineArn"]
        listed = self.aws.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"]
        readable = self.repository.replace("/", "-")
        return [execution for execution in listed if execution["name"].startswith(readable)]

    def blob_bytes_read(self) -> int:
        """How many bytes of blobs upstream sent."""
        return sum(request.bytes_sent for request in self.upstream.requests if "/blobs/" in request.path)

    def blob_reads(self, digest: Digest) -> list[int]:
        """List the offsets at which upstream was asked for a blob, in order."""
        asked = [request for request in self.upstream.requests if request.path.endswith(f"/blobs/{digest}")]
        ranges = [request.headers.get("range", "bytes=0-") for request in asked]
        return [int(wanted.removeprefix("bytes=").partition("-")[0]) for wanted in ranges]

    def parts(self, size: int) -> list[SentPart]:
        """List the parts that were sent of a blob of so many bytes; parts beyond its end only ask for its offset."""
        calls = [call.parameters for call in self.ecr.calls if call.operation == "UploadLayerPart"]
        sent = [SentPart(call["partFirstByte"], call["partLastByte"]) for call in calls]
        return [part for part in sent if part.first_byte < size]

    def tag_moves(self) -> list[str]:
        """List the digests that PutImage was asked to put under the tag, in order."""
        calls = [call.parameters for call in self.ecr.calls if call.operation == "PutImage"]
        return [call["imageDigest"] for call in calls if call.get("imageTag") == TAG]

    # --- claims -------------------------------------------------------------------------------------------------

    def serves(self, image: LocalImage) -> None:
        """Claim that ECR serves exactly this image, every byte of it, and that Pullahead knows it to be fresh."""
        assert self.published() == image.digest, self.history()
        pulled = self.pull()
        assert (pulled.digest, pulled.manifests) == (image.digest, len(image.manifests))
        assert pulled.blobs == len(image.blobs)
        assert self.record().state is State.FRESH

    def keeps(self, image: LocalImage) -> None:
        """Claim that ECR still serves an image that upstream no longer serves, every byte of it."""
        pulled = self.pull()
        assert (pulled.digest, pulled.blobs) == (image.digest, len(image.blobs))

    def is_not_published(self) -> None:
        """Claim that ECR has nothing under the tag."""
        assert self.published() is None

    def history(self) -> str:
        """Tell what is recorded of the mirror, and what its refreshes and the functions came to."""
        refreshes = [f"{each['name']}: {each['status']}" for each in self.executions()]
        runs = [f"{run.function}: {run.outcome} {run.payload}" for run in self.aws.invocations[self._runs_before :]]
        return "\n".join(map(str, (self.record(), *refreshes, *runs)))

    def _client(self) -> PlainClient:
        answer = self.aws.client("ecr").get_authorization_token()
        return PlainClient(self.aws.url, answer["authorizationData"][0]["authorizationToken"])
