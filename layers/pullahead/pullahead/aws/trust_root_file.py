"""The trust root in S3, where a stack is given one of its own; read again when it has changed."""

from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from pullahead.admission.signatures.trust_root import MAX_BYTES, TrustRoot
from pullahead.aws.errors import storage_errors
from pullahead.aws.rules_file import S3_ADDRESS, is_unmodified
from pullahead.clock import Clock
from pullahead.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

_ASKED_EVERY: Final = timedelta(minutes=5)


class _CachedTrustRoot(NamedTuple):
    trust_root: TrustRoot
    tag: str
    asked_at: "datetime"


class S3TrustRoot:
    """Reads a trust root; whether it has changed is asked every five minutes."""

    def __init__(self, client: "S3Client", address: str, clock: Clock) -> None:
        match = S3_ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is not the address of a trust root; write s3://BUCKET/KEY")
        self._client, self._address, self._clock = client, address, clock
        self._bucket, self._key = match["bucket"], match["key"]
        self._known: _CachedTrustRoot | None = None

    def __call__(self) -> TrustRoot:
        """Return the trust root. Raises: ConfigError where it is none; StorageError where it cannot be read."""
        now, known = self._clock(), self._known
        if known is not None and now < known.asked_at + _ASKED_EVERY:
            return known.trust_root
        condition = {"IfNoneMatch": known.tag} if known is not None else {}
        try:
            with storage_errors("read", f"the trust root {self._address}"):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key, **condition)  # type: ignore[arg-type]
                content = answer["Body"].read(MAX_BYTES + 1)
        except StorageError as error:
            if known is None or not is_unmodified(error):
                raise
            self._known = known._replace(asked_at=now)
            return known.trust_root
        self._known = _CachedTrustRoot(TrustRoot(content, self._address), answer["ETag"], now)
        return self._known.trust_root
