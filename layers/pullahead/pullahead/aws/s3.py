"""Plans, manifests and unit progress in S3; a lifecycle rule of the bucket takes them away again.

What functions share about the rules: one object in the plans bucket, outside of what its lifecycle rule forgets.
"""

from typing import TYPE_CHECKING

from pullahead.aws.errors import error_code, storage_errors
from pullahead.aws.rules_file import is_unmodified
from pullahead.errors import StorageError
from pullahead.rules.sources.state import RulesState, decode_rules_state, encode_rules_state

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_MAX_OBJECT_BYTES = 16 * 1024 * 1024  # a plan of the largest graph that is accepted stays well below


class S3PlanStore:
    """Satisfies `pullahead.ports.Plans`."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def read(self, key: str) -> bytes:
        """Read an object of at most 16 MiB."""
        with storage_errors("read", key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            content = answer["Body"].read(_MAX_OBJECT_BYTES + 1)
        if len(content) > _MAX_OBJECT_BYTES:
            raise StorageError(f"read of {key} failed: it has more than {_MAX_OBJECT_BYTES} bytes")
        return content

    def write(self, key: str, content: bytes) -> None:
        """Write an object."""
        with storage_errors("write", key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content)


RULES_STATE_KEY = "rules/current.json"
_MAX_STATE_BYTES = 16 * 1024 * 1024


class S3RulesState:
    """Satisfies `pullahead.ports.KeepsStanding`."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client, self._bucket = client, bucket
        self._revision: str | None = None
        self._known: RulesState | None = None

    def load(self) -> RulesState | None:
        """Read it unless it is unchanged since the last time."""
        condition = {"IfNoneMatch": self._revision} if self._revision else {}
        try:
            with storage_errors("read", RULES_STATE_KEY):
                answer = self._client.get_object(Bucket=self._bucket, Key=RULES_STATE_KEY, **condition)  # type: ignore[arg-type]
                content = answer["Body"].read(_MAX_STATE_BYTES + 1)
        except StorageError as error:
            if is_unmodified(error):
                return self._known
            if error_code(error) == "NoSuchKey":
                return None
            raise
        if len(content) > _MAX_STATE_BYTES:
            raise StorageError(f"read of {RULES_STATE_KEY} failed: it has more than {_MAX_STATE_BYTES} bytes")
        self._known, self._revision = decode_rules_state(content), answer["ETag"]
        return self._known

    def save(self, standing: RulesState) -> None:
        """Write it."""
        with storage_errors("write", RULES_STATE_KEY):
            self._client.put_object(
                Bucket=self._bucket,
                Key=RULES_STATE_KEY,
                Body=encode_rules_state(standing),
                ContentType="application/json",
            )
