"""What functions share about the rules: one object in the plans bucket, outside of what its lifecycle rule forgets."""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from pullahead.aws.rules_text import is_unmodified
from pullahead.aws.storage_errors import code_of, storage_errors
from pullahead.errors import StorageError
from pullahead.rules.sources.standing import Standing, decode_standing, encode_standing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = "rules/current.json"
_MAX_OBJECT_BYTES = 16 * 1024 * 1024


class S3Standing:
    """Satisfies `pullahead.ports.KeepsStanding`."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client, self._bucket = client, bucket
        self._revision: str | None = None
        self._known: Standing | None = None

    def load(self) -> Standing | None:
        """Read it unless it is unchanged since the last time."""
        condition = {"IfNoneMatch": self._revision} if self._revision else {}
        try:
            with storage_errors("read", KEY):
                answer = self._client.get_object(Bucket=self._bucket, Key=KEY, **condition)  # type: ignore[arg-type]
                content = answer["Body"].read(_MAX_OBJECT_BYTES + 1)
        except StorageError as error:
            if is_unmodified(error):
                return self._known
            if isinstance(error.__cause__, ClientError) and code_of(error.__cause__) == "NoSuchKey":
                return None
            raise
        if len(content) > _MAX_OBJECT_BYTES:
            raise StorageError(f"read of {KEY} failed: it has more than {_MAX_OBJECT_BYTES} bytes")
        self._known, self._revision = decode_standing(content), answer["ETag"]
        return self._known

    def save(self, standing: Standing) -> None:
        """Write it."""
        with storage_errors("write", KEY):
            self._client.put_object(
                Bucket=self._bucket, Key=KEY, Body=encode_standing(standing), ContentType="application/json"
            )
