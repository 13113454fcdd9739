"""A rules file, or a folder of them, in S3; or a rules file in SSM Parameter Store."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pullahead.aws.errors import error_code, storage_errors
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.on_disk import MAX_FILES, TOGETHER, decode_rules
from pullahead.rules.ports import RulesRevision
from pullahead.rules.problems import MAX_DOCUMENT_BYTES, Problem, RulesError, too_large
from pullahead.rules.text import NO_FILE_HINT, RulesText, is_key_file, is_rules_file

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient


S3_ADDRESS = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/(?P<key>.+)")
S3_FOLDER = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/(?:.*[^/]/)?")
SSM_ADDRESS = re.compile(r"ssm:(?P<name>/[A-Za-z0-9_.\-/]+)")


_MAX_PAGES = 10  # S3 API reference, ListObjectsV2: of 1,000 objects


class S3RulesFile:
    """Implements `pullahead.rules.ports.RulesFile`; a revision is the object's ETag."""

    def __init__(self, client: "S3Client", address: str) -> None:
        match = S3_ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is not the address of a rules file; write s3://BUCKET/KEY or ssm:/NAME")
        self._client, self.address = client, address
        self._bucket, self._key = match["bucket"], match["key"]

    def read(self, known_revision: str | None) -> RulesRevision | None:
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
        return RulesRevision((RulesText(self.address, decode_rules(content, self.address)),), answer["ETag"])


class S3RulesFolder:
    """Implements `pullahead.rules.ports.RulesFile` for all YAML files below a prefix that ends in a slash, and the
    public keys beside them.

    A revision is a hash of their names and ETags: to see that nothing changed takes one request for 1,000 objects.
    """

    def __init__(self, client: "S3Client", address: str, *, max_files: int = MAX_FILES) -> None:
        self._client, self.address, self._max_files = client, address, max_files
        bucket, _, self._prefix = address.removeprefix("s3://").partition("/")
        self._bucket = bucket

    def read(self, known_revision: str | None) -> RulesRevision | None:
        """List the folder, and read its files if one of them has changed."""
        tags = self._list()
        if not any(map(is_rules_file, tags)):
            raise ConfigError(f"{self.address} has no rules file. {NO_FILE_HINT}")
        revision = hashlib.sha256(repr(sorted(tags.items())).encode()).hexdigest()
        if revision == known_revision:
            return None
        return RulesRevision(tuple(self._files(sorted(tags.items()))), revision)

    def _list(self) -> dict[str, str]:
        """Return the ETags of the rules files, by their names below the prefix."""
        tags: dict[str, str] = {}
        with storage_errors("list", self.address):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            for number, page in enumerate(pages):
                found = {each["Key"].removeprefix(self._prefix): each["ETag"] for each in page.get("Contents", ())}
                tags |= {name: tag for name, tag in found.items() if is_rules_file(name) or is_key_file(name)}
                if len(tags) > self._max_files or number == _MAX_PAGES:
                    raise ConfigError(
                        f"{self.address} has more than {self._max_files:,} rules files, or {_MAX_PAGES * 1000:,} "
                        "objects, which is the most that is read. Join some, or keep rules in a folder of their own."
                    )
        return tags

    def _files(self, tags: Sequence[tuple[str, str]]) -> Iterator[RulesText]:
        left = MAX_DOCUMENT_BYTES
        for name, tag in tags:
            address = f"{self.address}{name}"
            with storage_errors("read", address):
                answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}{name}", IfMatch=tag)
                content = answer["Body"].read(left + 1)
            left -= len(content)
            if left < 0:
                message, hint = too_large(TOGETHER)
                raise RulesError(address, [Problem(1, "", message, hint)])
            yield RulesText(address, decode_rules(content, address))


class SsmRulesFile:
    """Implements `pullahead.rules.ports.RulesFile`; a revision is the parameter's version."""

    def __init__(self, client: "SSMClient", address: str) -> None:
        match = SSM_ADDRESS.fullmatch(address)
        if match is None:
            raise ConfigError(f"{address!r} is not the address of a rules file; write s3://BUCKET/KEY or ssm:/NAME")
        self._client, self.address, self._name = client, address, match["name"]

    def read(self, known_revision: str | None) -> RulesRevision | None:
        """Read the parameter. SSM has no conditional read; an unchanged one is recognized by its version."""
        with storage_errors("read", self.address):
            parameter = self._client.get_parameter(Name=self._name)["Parameter"]
        if parameter["Type"] == "SecureString":
            raise ConfigError(f"{self.address} is a SecureString; rules are not secret, so use a String")
        revision = str(parameter["Version"])
        if revision == known_revision:
            return None
        return RulesRevision((RulesText(self.address, parameter["Value"]),), revision)


def rules_file_at(address: str, make_client: Callable[[str], Any]) -> S3RulesFile | S3RulesFolder | SsmRulesFile:
    """Open the rules file at an address, or the folder, if it ends in a slash. Raises ConfigError if it is neither."""
    if address.startswith("ssm:"):
        return SsmRulesFile(make_client("ssm"), address)
    if S3_FOLDER.fullmatch(address):
        return S3RulesFolder(make_client("s3"), address)
    return S3RulesFile(make_client("s3"), address)


def is_unmodified(error: StorageError) -> bool:
    """Whether S3 answered that the object is unchanged."""
    return error_code(error) in {"304", "NotModified"}
