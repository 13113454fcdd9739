"""The rules file in S3 and in SSM (moto): read when it changed, refused when it is not text."""

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from pullahead.aws.rules_file import S3RulesFile, SsmRulesFile, rules_file_at
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.ports import RulesFile
from pullahead.rules.yaml_document import MAX_DOCUMENT_BYTES
from tests.contract.local_services import client, moto_server, new_bucket, new_name

TEXT = "version: 1\nmirrors: [] # ü\n"


class Store(Protocol):
    """A place of rules: where, and how something is put there."""

    source: RulesFile

    def put(self, text: str) -> None: ...


class InS3:
    def __init__(self, url: str) -> None:
        self.s3 = client(url, "s3")
        self.bucket = new_bucket(self.s3, "rules")
        self.source = S3RulesFile(self.s3, f"s3://{self.bucket}/team a/rules.yaml")

    def put(self, text: str) -> None:
        self.put_bytes(text.encode())

    def put_bytes(self, content: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key="team a/rules.yaml", Body=content)


class InSsm:
    def __init__(self, url: str) -> None:
        self.ssm, self.name = client(url, "ssm"), f"/pullahead/{new_name('rules')}"
        self.source = SsmRulesFile(self.ssm, f"ssm:{self.name}")

    def put(self, text: str, kind: str = "String") -> None:
        self.ssm.put_parameter(Name=self.name, Value=text, Type=kind, Overwrite=True)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture(params=[InS3, InSsm])
def place(request: pytest.FixtureRequest, url: str) -> Any:
    return request.param(url)


def test_file_is_read_as_it_was_written(place: Store) -> None:
    place.put(TEXT)
    read = place.source.read(None)
    assert read is not None
    assert read.text == TEXT


def test_known_revision_is_read_only_after_a_change(place: Store) -> None:
    place.put(TEXT)
    first = place.source.read(None)
    assert first is not None
    assert place.source.read(first.revision) is None
    place.put(TEXT + "# more\n")
    second = place.source.read(first.revision)
    assert second is not None
    assert second.text.endswith("# more\n")
    assert place.source.read(second.revision) is None


def test_missing_file_is_a_storage_error_that_names_the_address(place: Store) -> None:
    with pytest.raises(StorageError, match=place.source.address):
        place.source.read(None)


def test_file_that_is_not_utf8_is_refused(url: str) -> None:
    place = InS3(url)
    place.put_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        place.source.read(None)


def test_object_is_read_up_to_the_size_limit(url: str) -> None:
    place = InS3(url)
    place.put("#" * (MAX_DOCUMENT_BYTES + 1000))
    read = place.source.read(None)
    assert read is not None
    assert len(read.text) == MAX_DOCUMENT_BYTES + 1  # one more than the rules' own reader takes


def test_secure_string_is_refused(url: str) -> None:
    place = InSsm(url)
    place.put(TEXT, "SecureString")
    with pytest.raises(ConfigError, match="SecureString"):
        place.source.read(None)


@pytest.mark.parametrize("address", ["https://a/b", "s3://bucket", "s3:///key", "ssm:name", "ssm:", "S3://b/k"])
def test_unknown_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="write s3://BUCKET/KEY or ssm:/NAME"):
        rules_file_at(address, lambda _service: None)


@pytest.mark.parametrize(("address", "service"), [("s3://bucket/a/key", "s3"), ("ssm:/a/name", "ssm")])
def test_address_selects_the_service(address: str, service: str) -> None:
    asked: list[str] = []
    assert rules_file_at(address, asked.append).address == address
    assert asked == [service]
