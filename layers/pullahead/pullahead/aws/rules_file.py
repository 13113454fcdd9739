"""The rules file where people keep it: an object in S3, or a parameter in SSM's Parameter Store."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ClientError

from pullahead.aws.dynamodb import code_of, storage_errors
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.ports import RulesText
from pullahead.rules.yaml_document import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


S3_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.+)")
SSM_ADDRESS = re.compile(r"ssm:(?P<name>/[A-Za-z0-9_.\-/]+)")


class SsmClient(Protocol):
    """What is asked of boto3's client."""

    def get_parameter(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - AWS's name
        """Read a parameter."""
        ...


class S3RulesFile:
    """Satisfies `pullahead.ports.ReadsRulesText`; a revision is the object's ETag."""

    def __init__(self, client: "S3Client", address: str) -> None:
        match = S3_ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is no place of rules; write s3://BUCKET/KEY or ssm:/NAME")
        self._client, self.address = client, address
        self._bucket, self._key = match["bucket"], match["key"]

    def read(self, known_revision: str | None) -> RulesText | None:
        """Read the object unless it still is the known one."""
        condition = {"IfNoneMatch": known_revision} if known_revision else {}
        try:
            with storage_errors("read", self.address):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._key, **condition)  # type: ignore[arg-type]
                content = answer["Body"].read(MAX_DOCUMENT_BYTES + 1)
        except StorageError as error:
            if is_unmodified(error):
                return None
            raise
        return RulesText(_text(content, self.address), answer["ETag"])


class SsmRulesFile:
    """Satisfies `pullahead.ports.ReadsRulesText`; a revision is the parameter's version."""

    def __init__(self, client: SsmClient, address: str) -> None:
        match = SSM_ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is no place of rules; write s3://BUCKET/KEY or ssm:/NAME")
        self._client, self.address, self._name = client, address, match["name"]

    def read(self, known_revision: str | None) -> RulesText | None:
        """Read the parameter; SSM has no conditional read, so that it is unchanged is seen by its version."""
        with storage_errors("read", self.address):
            parameter = self._client.get_parameter(Name=self._name)["Parameter"]
        if parameter["Type"] == "SecureString":
            raise ConfigError(f"{self.address} is a SecureString; rules are no secret, so keep them in a String")
        revision = str(parameter["Version"])
        return None if revision == known_revision else RulesText(parameter["Value"], revision)


def rules_file_at(address: str, make_client: Callable[[str], Any]) -> S3RulesFile | SsmRulesFile:
    """Choose the reader by the kind of address. Raises ConfigError for any other."""
    if address.startswith("ssm:"):
        return SsmRulesFile(make_client("ssm"), address)
    return S3RulesFile(make_client("s3"), address)


def is_unmodified(error: StorageError) -> bool:
    """Tell whether S3 answered that what was asked for is known already."""
    cause = error.__cause__
    return isinstance(cause, ClientError) and code_of(cause) in {"304", "NotModified"}


def _text(content: bytes, address: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{address} is not UTF-8: {error}") from error
