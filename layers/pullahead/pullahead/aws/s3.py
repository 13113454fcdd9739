"""Plans, manifests, unit progress and the state of the rules in the plans bucket.

Its lifecycle rule expires all but the state of the rules.
"""

from typing import TYPE_CHECKING

from pullahead.aws.errors import error_code, storage_errors
from pullahead.aws.rules_file import is_unmodified
from pullahead.errors import StorageError
from pullahead.rules.sources.state import RulesState, decode_rules_state, encode_rules_state

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_MAX_OBJECT_BYTES = 16 * 1024 * 1024  # the plan of the largest accepted image is far smaller


class S3PlanStore:
    """Implements `pullahead.refresh.ports.PlanStore`."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client, self._bucket = client, bucket

    def read(self, key: str) -> bytes:
        """Read an object of at most 16 MiB."""
        with storage_errors("read", key):
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            content = answer["Body"].read(_MAX_OBJECT_BYTES + 1)
        if len(content) > _MAX_OBJECT_BYTES:
            raise StorageError(f"read of {key} failed: it is larger than {_MAX_OBJECT_BYTES} bytes")
        return content

    def write(self, key: str, content: bytes) -> None:
        """Write an object."""
        with storage_errors("write", key):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content)


RULES_STATE_KEY = "rules/current.json"
_MAX_STATE_BYTES = 16 * 1024 * 1024


class S3RulesState:
    """Implements `pullahead.rules.ports.RulesStateStore`."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client, self._bucket = client, bucket
        self._revision: str | None = None
        self._last: RulesState | None = None

    def load(self) -> RulesState | None:
        """Read the state unless it is unchanged since the last read."""
        condition = {"IfNoneMatch": self._revision} if self._revision else {}
        try:
            with storage_errors("read", RULES_STATE_KEY):
                answer = self._client.get_object(Bucket=self._bucket, Key=RULES_STATE_KEY, **condition)  # type: ignore[arg-type]
                content = answer["Body"].read(_MAX_STATE_BYTES + 1)
        except StorageError as error:
            if is_unmodified(error):
                return self._last
            if error_code(error) == "NoSuchKey":
                return None
            raise
        if len(content) > _MAX_STATE_BYTES:
            raise StorageError(f"read of {RULES_STATE_KEY} failed: it is larger than {_MAX_STATE_BYTES} bytes")
        self._last, self._revision = decode_rules_state(content), answer["ETag"]
        return self._last

    def save(self, state: RulesState) -> None:
        """Write the state."""
        with storage_errors("write", RULES_STATE_KEY):
            self._client.put_object(
                Bucket=self._bucket,
                Key=RULES_STATE_KEY,
                Body=encode_rules_state(state),
                ContentType="application/json",
            )
