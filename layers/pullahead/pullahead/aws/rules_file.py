"""A rules file in S3 or in SSM Parameter Store."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pullahead.aws.errors import error_code, storage_errors
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.ports import RulesText
from pullahead.rules.yaml_document import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient


S3_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.+)")
SSM_ADDRESS = re.compile(r"ssm:(?P<name>/[A-Za-z0-9_.\-/]+)")


class S3RulesFile:
    """Implements `pullahead.rules.ports.RulesFile`; a revision is the object's ETag."""

    def __init__(self, client: "S3Client", address: str) -> None:
        match = S3_ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is not the address of a rules file; write s3://BUCKET/KEY or ssm:/NAME")
        self._client, self.address = client, address
        self._bucket, self._key = match["bucket"], match["key"]

    def read(self, known_revision: str | None) -> RulesText | None:
        """Read the object unless it is unchanged."""
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
    """Implements `pullahead.rules.ports.RulesFile`; a revision is the parameter's version."""

    def __init__(self, client: "SSMClient", address: str) -> None:
        match = SSM_ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is not the address of a rules file; write s3://BUCKET/KEY or ssm:/NAME")
        self._client, self.address, self._name = client, address, match["name"]

    def read(self, known_revision: str | None) -> RulesText | None:
        """Read the parameter. SSM has no conditional read; an unchanged one is recognized by its version."""
        with storage_errors("read", self.address):
            parameter = self._client.get_parameter(Name=self._name)["Parameter"]
        if parameter["Type"] == "SecureString":
            raise ConfigError(f"{self.address} is a SecureString; rules are not secret, so use a String")
        revision = str(parameter["Version"])
        return None if revision == known_revision else RulesText(parameter["Value"], revision)


def rules_file_at(address: str, make_client: Callable[[str], Any]) -> S3RulesFile | SsmRulesFile:
    """Open the rules file at an address. Raises ConfigError if it is not one."""
    if address.startswith("ssm:"):
        return SsmRulesFile(make_client("ssm"), address)
    return S3RulesFile(make_client("s3"), address)


def is_unmodified(error: StorageError) -> bool:
    """Whether S3 answered that the object is unchanged."""
    return error_code(error) in {"304", "NotModified"}


def _text(content: bytes, address: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{address} is not UTF-8: {error}") from error
