"""Plans, manifests, unit progress, compiled rules and the state of the rules in the plans bucket.

Its lifecycle rule expires all but the rules and their state.
"""

from enum import Enum
from typing import TYPE_CHECKING

from pullahead.aws.errors import error_code, storage_errors
from pullahead.aws.rules_file import is_unmodified
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.compiled import CompiledRules, decode_compiled, encode_compiled
from pullahead.rules.problems import MAX_DOCUMENT_BYTES
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
DECLARED_RULES_KEY, COMPILED_RULES_KEY = "rules/declared.msgpack", "rules/compiled.msgpack"
_MAX_STATE_BYTES = 2 * MAX_DOCUMENT_BYTES  # the text of an external file, as JSON, and what was found
_MAX_COMPILED_BYTES = 2 * MAX_DOCUMENT_BYTES


class Unchanged(Enum):
    """What is read of an object that has not changed."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


class _ChangingObject:
    """An object that is read only where it has changed."""

    def __init__(self, client: "S3Client", bucket: str, key: str, most_bytes: int) -> None:
        self._client, self._bucket, self._key, self._most_bytes = client, bucket, key, most_bytes
        self._revision: str | None = None

    def read(self, *, none_if_too_large: bool = False) -> bytes | Unchanged | None:
        """Read the object; None where there is none. Raises StorageError, also for one that is too large."""
        condition = {"IfNoneMatch": self._revision} if self._revision else {}
        try:
            with storage_errors("read", self._key):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key, **condition)  # type: ignore[arg-type]
                content = answer["Body"].read(self._most_bytes + 1)
        except StorageError as error:
            if is_unmodified(error):
                return UNCHANGED
            if error_code(error) == "NoSuchKey":
                self._revision = None
                return None
            raise
        if len(content) > self._most_bytes:
            if none_if_too_large:
                return None
            raise StorageError(f"read of {self._key} failed: it is larger than {self._most_bytes:,} bytes")
        self._revision = answer["ETag"]
        return content

    def write(self, content: bytes, content_type: str) -> None:
        """Write the object; it counts as read."""
        with storage_errors("write", self._key):
            answer = self._client.put_object(Bucket=self._bucket, Key=self._key, Body=content, ContentType=content_type)
        self._revision = answer["ETag"]


class S3CompiledRules:
    """Implements `pullahead.rules.ports.CompiledRulesStore`. What is too large to be read is never written, and counts
    as none: it must not keep the schedule from writing others."""

    def __init__(
        self, client: "S3Client", bucket: str, key: str = COMPILED_RULES_KEY, most_bytes: int = _MAX_COMPILED_BYTES
    ) -> None:
        self._object, self._most_bytes = _ChangingObject(client, bucket, key, most_bytes), most_bytes
        self._last: CompiledRules | None = None

    def load(self) -> CompiledRules | None:
        """Read the rules unless they are unchanged since they were last read or written."""
        content = self._object.read(none_if_too_large=True)
        if not isinstance(content, Unchanged):
            self._last = decode_compiled(content) if content is not None else None
        return self._last

    def save(self, compiled: CompiledRules) -> None:
        """Write the rules. Raises ConfigError where they are too large."""
        content = encode_compiled(compiled)
        if len(content) > self._most_bytes:
            raise ConfigError(
                f"the rules are too large: compiled, they have {len(content):,} bytes, and {self._most_bytes:,} is the "
                "most. Write once, under `defaults`, what many rules have in common; or select tags by patterns."
            )
        self._object.write(content, "application/vnd.msgpack")
        self._last = compiled


class S3RulesState:
    """Implements `pullahead.rules.ports.RulesStateStore`. What is too large to be read is never written."""

    def __init__(self, client: "S3Client", bucket: str, most_bytes: int = _MAX_STATE_BYTES) -> None:
        self._object, self._most_bytes = _ChangingObject(client, bucket, RULES_STATE_KEY, most_bytes), most_bytes
        self._last: RulesState | None = None

    def load(self) -> RulesState | None:
        """Read the state unless it is unchanged since it was last read or written."""
        content = self._object.read()
        if not isinstance(content, Unchanged):
            self._last = decode_rules_state(content) if content is not None else None
        return self._last

    def save(self, state: RulesState) -> None:
        """Write the state. Raises ConfigError where it is too large."""
        content = encode_rules_state(state)
        if len(content) > self._most_bytes:
            raise ConfigError(
                f"the rules, and what was found in ECR, are too large: stored, they have {len(content):,} bytes, and "
                f"{self._most_bytes:,} is the most. Write fewer rules, or `ignore` repositories that ECR has cached."
            )
        self._object.write(content, "application/json")
        self._last = state
