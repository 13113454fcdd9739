"""The state of the rules: the fake and S3 (moto) behave the same."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from pullahead.aws.s3 import COMPILED_RULES_KEY, RULES_STATE_KEY, S3CompiledRules, S3RulesState
from pullahead.errors import ConfigError, StorageError
from pullahead.rules.compiled import CompiledRules, encode_compiled
from pullahead.rules.load import load_rules
from pullahead.rules.ports import CompiledRulesStore, RulesStateStore
from pullahead.rules.sources.findings import CachedRepository, CacheRule, Findings, TaggedRepository
from pullahead.rules.sources.state import FollowedText, RulesState, encode_rules_state
from tests.contract.local_services import client, moto_server, new_bucket
from tests.fakes.sources import FakeCompiledRules, FakeRulesState

STATE = RulesState(
    text=FollowedText("version: 1\nmirrors: []\n", '"etag"'),
    findings=Findings(
        (CacheRule("quay", "quay.io", "team", "secret", "role"),),
        (CachedRepository("quay/app", ("1", "2")),),
        (TaggedRepository("mirror/app", {"upstream-image": "nginx"}),),
    ),
    notices=("something is odd",),
)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with moto_server() as url:
        yield client(url, "s3")


@pytest.fixture(params=["fake", "s3"])
def store(request: pytest.FixtureRequest) -> RulesStateStore:
    if request.param == "fake":
        return FakeRulesState()
    s3 = request.getfixturevalue("s3")
    return S3RulesState(s3, new_bucket(s3, "store"))


def test_new_bucket_has_no_state(store: RulesStateStore) -> None:
    assert store.load() is None


def test_state_is_read_as_it_was_written(store: RulesStateStore) -> None:
    store.save(STATE)
    assert store.load() == STATE
    assert store.load() == STATE
    store.save(RulesState())
    assert store.load() == RulesState()


class TestS3:
    def test_unchanged_object_is_not_read_again(self, s3: Any) -> None:
        store = S3RulesState(s3, new_bucket(s3, "store"))
        store.save(STATE)
        assert store.load() is store.load()

    def test_another_process_reads_what_was_written(self, s3: Any) -> None:
        bucket = new_bucket(s3, "store")
        reader = S3RulesState(s3, bucket)
        assert reader.load() is None
        S3RulesState(s3, bucket).save(STATE)
        assert reader.load() == STATE

    @pytest.mark.parametrize("content", [b"", b"no JSON", b"\xff", b'{"version": 2}', b'{"version": 1, "told": 7}'])
    def test_unreadable_state_is_empty(self, s3: Any, content: bytes) -> None:
        bucket = new_bucket(s3, "store")
        s3.put_object(Bucket=bucket, Key=RULES_STATE_KEY, Body=content)
        assert S3RulesState(s3, bucket).load() is None

    def test_missing_bucket_is_a_storage_error(self, s3: Any) -> None:
        with pytest.raises(StorageError, match="NoSuchBucket"):
            S3RulesState(s3, "nowhere").load()


TEXT = 'version: 1\nmirrors:\n  - {upstream: ghcr.io/a/b, tags: ["1"], repository: mirror/b}\n'


def test_state_that_could_not_be_read_again_is_refused_and_keeps_what_is_stored(s3: Any) -> None:
    store = S3RulesState(s3, new_bucket(s3, "store"), most_bytes=len(encode_rules_state(STATE)))
    store.save(STATE)
    with pytest.raises(ConfigError, match="the rules, and what was found in ECR, are too large: stored, they have"):
        store.save(msgspec.structs.replace(STATE, notices=("another, longer notice",)))
    assert store.load() == STATE


COMPILED = CompiledRules("source", True, load_rules(TEXT, source="rules.yaml"), STATE.findings, ("a notice",))


@pytest.fixture(params=["fake", "s3"])
def compiled_store(request: pytest.FixtureRequest) -> CompiledRulesStore:
    if request.param == "fake":
        return FakeCompiledRules()
    s3 = request.getfixturevalue("s3")
    return S3CompiledRules(s3, new_bucket(s3, "store"))


def test_new_bucket_has_no_compiled_rules(compiled_store: CompiledRulesStore) -> None:
    assert compiled_store.load() is None


def test_compiled_rules_are_read_as_they_were_written(compiled_store: CompiledRulesStore) -> None:
    compiled_store.save(COMPILED)
    assert compiled_store.load() == COMPILED
    assert compiled_store.load() is compiled_store.load()
    other = COMPILED._replace(source="another")
    compiled_store.save(other)
    assert compiled_store.load() == other


class TestCompiledInS3:
    def test_another_process_reads_what_was_written(self, s3: Any) -> None:
        bucket = new_bucket(s3, "store")
        reader, writer = S3CompiledRules(s3, bucket), S3CompiledRules(s3, bucket)
        assert reader.load() is None
        writer.save(COMPILED)
        assert reader.load() == COMPILED
        reader.save(COMPILED._replace(source="another"))
        read = writer.load()
        assert read is not None
        assert read.source == "another"

    def test_rules_that_could_not_be_read_again_are_refused_and_keep_what_is_stored(self, s3: Any) -> None:
        store = S3CompiledRules(s3, bucket := new_bucket(s3, "store"), most_bytes=len(encode_compiled(COMPILED)))
        store.save(COMPILED)
        with pytest.raises(ConfigError, match="the rules are too large: compiled, they have"):
            store.save(COMPILED._replace(notices=("another", "notice")))
        assert store.load() == S3CompiledRules(s3, bucket).load() == COMPILED

    def test_object_that_is_too_large_counts_as_none_and_is_written_over(self, s3: Any) -> None:
        bucket, most = new_bucket(s3, "store"), len(encode_compiled(COMPILED))
        s3.put_object(Bucket=bucket, Key=COMPILED_RULES_KEY, Body=b" " * (most + 1))
        store = S3CompiledRules(s3, bucket, most_bytes=most)
        assert store.load() is None
        store.save(COMPILED)
        assert store.load() == COMPILED

    def test_damaged_object_is_no_form(self, s3: Any) -> None:
        bucket = new_bucket(s3, "store")
        S3CompiledRules(s3, bucket).save(COMPILED)
        content = s3.get_object(Bucket=bucket, Key=COMPILED_RULES_KEY)["Body"].read()
        s3.put_object(Bucket=bucket, Key=COMPILED_RULES_KEY, Body=content[:-1])
        assert S3CompiledRules(s3, bucket).load() is None
