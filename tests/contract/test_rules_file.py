"""The rules file in S3 and in SSM (moto): read when it changed, refused when it is not text."""

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from pullahead.aws.rules_file import S3RulesFile, S3RulesFolder, SsmRulesFile, rules_file_at
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.on_disk import MAX_FILES
from pullahead.rules.ports import RulesFile
from pullahead.rules.problems import MAX_DOCUMENT_BYTES
from pullahead.rules.text import RulesText
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
    assert [file.text for file in read.files] == [TEXT]


def test_known_revision_is_read_only_after_a_change(place: Store) -> None:
    place.put(TEXT)
    first = place.source.read(None)
    assert first is not None
    assert place.source.read(first.revision) is None
    place.put(TEXT + "# more\n")
    second = place.source.read(first.revision)
    assert second is not None
    assert second.files[0].text.endswith("# more\n")
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
    assert len(read.files[0].text) == MAX_DOCUMENT_BYTES + 1  # one more than the rules' own reader takes


def test_secure_string_is_refused(url: str) -> None:
    place = InSsm(url)
    place.put(TEXT, "SecureString")
    with pytest.raises(ConfigError, match="SecureString"):
        place.source.read(None)


class Folder:
    """A folder in S3."""

    def __init__(self, url: str) -> None:
        self.s3 = client(url, "s3")
        self.bucket = new_bucket(self.s3, "rules")
        self.source = rules_file_at(f"s3://{self.bucket}/team a/", lambda _service: self.s3)

    def put(self, name: str, text: str = TEXT) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=name, Body=text.encode())

    def list_in_pages_of(self, count: int) -> None:
        """Have S3 list fewer objects at once than its 1,000."""
        self.s3.meta.events.register(
            "provide-client-params.s3.ListObjectsV2", lambda params, **_: params | {"MaxKeys": count}
        )


@pytest.fixture
def folder(url: str) -> Folder:
    return Folder(url)


class TestFolder:
    def test_rules_files_are_read_in_the_order_of_their_names(self, folder: Folder) -> None:
        for name in ("b.yaml", "a/c.yml", "README.md", ".hidden.yaml"):
            folder.put(f"team a/{name}", name)
        folder.put("team b/d.yaml")
        read = folder.source.read(None)
        assert read is not None
        address = folder.source.address
        assert read.files == (RulesText(f"{address}a/c.yml", "a/c.yml"), RulesText(f"{address}b.yaml", "b.yaml"))

    def test_known_revision_is_read_only_after_a_change(self, folder: Folder) -> None:
        folder.put("team a/a.yaml")
        first = folder.source.read(None)
        assert first is not None
        folder.put("team a/README.md")
        assert folder.source.read(first.revision) is None
        folder.put("team a/a.yaml", "# more\n")
        second = folder.source.read(first.revision)
        assert second is not None
        folder.s3.delete_object(Bucket=folder.bucket, Key="team a/a.yaml")
        folder.put("team a/b.yaml", "# more\n")  # the same text under another name
        third = folder.source.read(second.revision)
        assert third is not None
        assert len({first.revision, second.revision, third.revision}) == 3

    def test_public_keys_in_the_folder_come_with_the_rules(self, folder: Folder) -> None:
        folder.put("team a/rules.yaml", TEXT)
        folder.put("team a/keys/cosign.pub", "-----BEGIN PUBLIC KEY-----")
        folder.put("team a/keys/cosign.key", "which is never read")
        read = folder.source.read(None)
        assert read is not None
        assert sorted(file.name.rpartition("/")[2] for file in read.files) == ["cosign.pub", "rules.yaml"]
        folder.put("team a/keys/cosign.pub", "-----BEGIN PUBLIC KEY-----\n")
        assert folder.source.read(read.revision) is not None

    def test_folder_without_rules_is_refused(self, folder: Folder) -> None:
        folder.put("team a/README.md")
        with pytest.raises(ConfigError, match=r"team a/ has no rules file. Name the files of a folder \*\.yaml"):
            folder.source.read(None)

    def test_too_many_files_are_refused(self, folder: Folder) -> None:
        assert MAX_FILES == 1000
        source = S3RulesFolder(folder.s3, folder.source.address, max_files=10)
        names = [f"{number:02}.yaml" for number in range(11)]
        for name in names[:10]:
            folder.put(f"team a/{name}")
        folder.list_in_pages_of(4)
        read = source.read(None)
        assert read is not None
        assert [file.name.rpartition("/")[2] for file in read.files] == names[:10]
        folder.put(f"team a/{names[10]}")
        with pytest.raises(ConfigError, match="more than 10 rules files"):
            source.read(None)

    def test_files_that_are_too_large_together_are_refused(self, folder: Folder) -> None:
        for name in ("a", "b"):
            folder.put(f"team a/{name}.yaml", "#" * (MAX_DOCUMENT_BYTES * 2 // 3))
        with pytest.raises(
            ConfigError, match=r"b\.yaml:1: the file and those before it .* larger than 33,554,432 bytes"
        ):
            folder.source.read(None)

    def test_missing_bucket_is_a_storage_error_that_names_the_address(self, url: str) -> None:
        source = rules_file_at("s3://nowhere/rules/", lambda _service: client(url, "s3"))
        with pytest.raises(StorageError, match="s3://nowhere/rules/"):
            source.read(None)


@pytest.mark.parametrize("address", ["https://a/b", "s3://bucket", "s3:///key", "ssm:name", "ssm:", "S3://b/k"])
def test_unknown_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="write s3://BUCKET/KEY or ssm:/NAME"):
        rules_file_at(address, lambda _service: None)


@pytest.mark.parametrize(("address", "service"), [("s3://bucket/a/key", "s3"), ("ssm:/a/name", "ssm")])
def test_address_selects_the_service(address: str, service: str) -> None:
    asked: list[str] = []
    assert rules_file_at(address, asked.append).address == address
    assert asked == [service]
