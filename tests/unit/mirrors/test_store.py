"""Records that several processes change."""

import pytest

from pullahead.errors import ConflictError
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.mirrors.store import update_record
from tests.fakes.memory import FakeRecords
from tests.fakes.refreshes import BEGAN
from tests.fakes.samples import KEY, UPSTREAM
from tests.fakes.script import Script


class Memory:
    """One record."""

    def __init__(self) -> None:
        self.script = Script()
        self.records = FakeRecords(self.script)
        self.record = MirrorRecord(KEY, UPSTREAM, State.STALE, BEGAN, version=1)
        self.records.stored[KEY] = self.record

    def somebody_writes(self, **changes: object) -> None:
        stored = self.records.stored[KEY]
        self.records.stored[KEY] = stored.with_changes(version=stored.version + 1, **changes)


def ours(known: MirrorRecord | None) -> MirrorRecord | None:
    return known and known.with_changes(upstream_digest="ours")


def test_change_is_applied_to_the_newest_record() -> None:
    memory = Memory()
    memory.script.before("save", lambda: memory.somebody_writes(published_digest="theirs"))
    after = update_record(memory.records, KEY, ours)
    assert after is not None
    assert (after.published_digest, after.upstream_digest, after.version) == ("theirs", "ours", 3)


def test_endless_conflict_is_an_error_after_five_attempts() -> None:
    memory = Memory()
    memory.script.fail("save", ConflictError("no"), times=99)
    with pytest.raises(ConflictError, match="5 times in a row"):
        update_record(memory.records, KEY, ours)
    assert memory.records.writes == 5


def test_change_without_effect_is_not_written() -> None:
    memory = Memory()
    assert update_record(memory.records, KEY, lambda known: known) == memory.record
    assert update_record(memory.records, KEY, lambda _: None) == memory.record
    assert memory.records.writes == 0


def test_first_record_is_created() -> None:
    memory = Memory()
    memory.records.stored.clear()
    made = update_record(memory.records, KEY, lambda _: memory.record)
    assert made is not None
    assert made.version == 1


def test_known_record_is_not_read_again() -> None:
    memory = Memory()
    assert update_record(memory.records, KEY, ours, memory.record) is memory.records.stored[KEY]
    assert memory.script.calls == ["save"]


def test_outdated_known_record_is_read_again() -> None:
    memory = Memory()
    memory.somebody_writes(published_digest="theirs")
    after = update_record(memory.records, KEY, ours, memory.record)
    assert after is not None
    assert (after.published_digest, after.upstream_digest) == ("theirs", "ours")
    assert memory.script.calls == ["save", "load", "save"]


def test_deleted_record_is_not_created_again() -> None:
    memory = Memory()
    memory.records.stored.clear()
    assert update_record(memory.records, KEY, ours, memory.record) is None
    assert memory.records.stored == {}
