"""What a check works with: the account, the run's names, its repositories and events, and the stack as deployed."""

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, NamedTuple, TypeVar

from botocore.exceptions import ClientError

from local.images import LocalImage
from pullahead.ecr.target import EcrTarget
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.stored_record import decode_record
from pullahead.oci import Descriptor, Digest, digest_of
from pullahead.rules.mirror_key import MirrorKey
from tests.live.account import Account
from tests.live.cleaning import RESTORE_TAG
from tests.live.event_queue import EventQueue
from tests.live.fact import Finding, UnmetError
from tests.live.naming import TAG, Run
from tests.live.upstreams import Upstream
from tests.live.waiting import Waits

_T = TypeVar("_T")
_SHOWN: Final = 110


class DeployedStack(NamedTuple):
    """The stack of a run."""

    outputs: Mapping[str, str]
    resources: Mapping[str, str]  # logical to physical ID

    def role_arn(self, account: Account, logical_id: str) -> str:
        """Name a role of the stack."""
        return account.arn("iam", f"role/{self.resources[logical_id]}", regional=False)


class Refusal(NamedTuple):
    """How AWS answered a call: "" where it did not refuse it."""

    code: str
    text: str
    response: Mapping[str, Any]

    def is_one_of(self, *codes: str) -> Finding:
        """Find that it was refused by one of these codes."""
        return Finding(self.code in codes, self.text)


class Site:
    """One run in one account. Checks leave behind only what has the run's name."""

    def __init__(self, account: Account, run: Run, upstream: Upstream, waits: Waits, *, may_set_account: bool) -> None:
        self.account, self.run, self.upstream, self.waits = account, run, upstream, waits
        self.may_set_account: Final = may_set_account
        self.events: Final = EventQueue(account, run, waits)
        self.target: Final = EcrTarget(account.client("ecr"))
        self._deployed: DeployedStack | None = None
        self._made: dict[str, Any] = {}
        self._failed: dict[str, Exception] = {}

    @cached_property
    def ecr(self) -> Any:
        """A client that repeats only what was throttled, and what the service could not do."""
        return self.account.client("ecr")

    @property
    def stack(self) -> DeployedStack:
        """The stack; a fact that needs it is not checked without."""
        if self._deployed is None:
            raise LookupError("the stack is not deployed")
        return self._deployed

    def prepare(self) -> None:
        """Make the bucket for uploads, whose tags also say what is to be restored, and the queue of events."""
        s3, region = self.account.client("s3"), self.account.region
        elsewhere = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=self.bucket, **elsewhere)
        self._tag_bucket({})
        self.events.create()

    @property
    def bucket(self) -> str:
        """The bucket for what `sam` uploads. Names of buckets are the same for all accounts."""
        return f"{self.run.name}-uploads-{self.account.id}"

    @contextlib.contextmanager
    def setting(self, name: str, value: str) -> Iterator[None]:
        """Change an account setting meanwhile. Should the run be killed, the tag of its bucket tells how it was.

        Raises:
            UnmetError: it is another one, and the user did not allow that it is changed.
        """
        before = self.ecr.get_account_setting(name=name)["value"]
        if before == value:
            yield
            return
        if not self.may_set_account:
            raise UnmetError(f"{name} is {before} in this account; --set-blob-mounting changes it for a moment")
        self._tag_bucket({RESTORE_TAG: f"{name}={before}"})
        try:
            self.ecr.put_account_setting(name=name, value=value)
            yield
        finally:
            self.account.client("ecr").put_account_setting(name=name, value=before)
            self._tag_bucket({})

    def _tag_bucket(self, more: Mapping[str, str]) -> None:
        tags = {TAG: self.run.name, **more}
        self.account.client("s3").put_bucket_tagging(
            Bucket=self.bucket, Tagging={"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}
        )

    def use(self, stack: DeployedStack) -> None:
        """Let checks use a stack."""
        self._deployed = stack

    def once(self, name: str, make: Callable[[], _T]) -> _T:
        """Make something that several checks use. What cannot be made is not tried again for each of them."""
        if name in self._failed:
            raise self._failed[name]
        if name not in self._made:
            try:
                self._made[name] = make()
            except Exception as error:
                self._failed[name] = error
                raise
        made: _T = self._made[name]
        return made

    def repository(self, path: str, **settings: Any) -> str:
        """Make a repository of the run, once, and return its name."""
        name = self.run.repository(path)

        def make() -> str:
            self.ecr.create_repository(repositoryName=name, tags=[{"Key": TAG, "Value": self.run.name}], **settings)
            return name

        return self.once(f"repository {name}", make)

    @staticmethod
    def content(size: int, seed: int) -> bytes:
        """Make bytes up that no compression makes smaller."""
        return random.Random(seed).randbytes(size)  # noqa: S311 - no secret is made

    def push(self, image: LocalImage, repository: str, tag: str | None = None) -> None:
        """Push an image as Pullahead does, by layer parts and PutImage."""
        for digest in image.blobs:
            self.push_blob(image.read_blob(digest), repository)
        for digest, manifest in image.manifests.items():
            self.target.put_manifest(repository, manifest, tag if digest == image.digest else None)

    def push_blob(self, content: bytes, repository: str) -> Descriptor:
        """Push a blob in one part."""
        blob = Descriptor("application/octet-stream", digest_of(content), len(content))
        upload = self.target.begin_upload(repository)
        self.target.upload_part(repository, upload, 0, content)
        self.target.complete_upload(repository, upload, blob)
        return blob

    def served(self, repository: str, tag: str) -> Digest | None:
        """Return the digest that ECR serves under a tag."""
        return self.target.published_digests(repository, [tag]).get(tag)

    def record(self, repository: str, tag: str) -> MirrorRecord | None:
        """Return what the stack remembers of a mirror."""
        item = (
            self.account.client("dynamodb")
            .get_item(
                TableName=self.stack.outputs["RecordsTableName"],
                Key={"pk": {"S": f"mirror#{MirrorKey(repository, tag)}"}},
                ConsistentRead=True,
            )
            .get("Item")
        )
        record = decode_record(item["record"]["S"]) if item else None
        return record if isinstance(record, MirrorRecord) else None

    def check_now(self) -> None:
        """Let the stack check what is due, as its output CheckNow says.

        Raises:
            RuntimeError: the function failed.
        """
        answer = self.account.client("lambda").invoke(
            FunctionName=self.stack.resources["ScheduleChecksFunction"], Payload=b"{}"
        )
        if "FunctionError" in answer:
            failure = json.loads(answer["Payload"].read())
            raise RuntimeError(f"schedule_checks failed: {failure.get('errorType')}: {failure.get('errorMessage')}")


def refusal(call: Callable[[], object]) -> Refusal:
    """Make a call that AWS is to refuse."""
    try:
        answer = call()
    except ClientError as error:
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        return Refusal(code, f"{code}: {message}"[:_SHOWN], error.response)
    return Refusal("", "not refused", answer if isinstance(answer, Mapping) else {})
