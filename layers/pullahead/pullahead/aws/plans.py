"""Plans, manifests and unit progress in S3; a lifecycle rule of the bucket takes them away again."""

from typing import TYPE_CHECKING

from pullahead.aws.storage_errors import storage_errors
from pullahead.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MAX_OBJECT_BYTES = 16 * 1024 * 1024  # a plan of the largest graph that is accepted stays well below


class S3Plans:
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
