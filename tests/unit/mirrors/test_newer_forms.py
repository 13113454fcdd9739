"""Records that a made-up newer version wrote: they are known as such, and what it adds is written only where needed."""

import json
from typing import Any

import msgspec
import pytest

from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import DailyLimitRecord, LastRefresh, MirrorRecord, Record, RuleRecord, State
from pullahead.mirrors.stored_form import Loaded, NewerFormError, decode_form, names_subject, newer_of
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.rules.mirror_key import RuleKey
from tests.fakes.memory import FakeClock
from tests.fakes.samples import KEY, UPSTREAM, digest
from tests.unit.mirrors.test_stored_record import alert

NOW = FakeClock()()
RULE = RuleKey("mirror/app", "app")
MIRROR = MirrorRecord(
    KEY,
    UPSTREAM,
    State.STALE,
    NOW,
    pending=(alert(KEY, AlertKind.STALE),),
    last_refresh=LastRefresh(NOW, 1.0, 2.0, 3, "arn:1"),
    version=3,
)
RECORDS: list[Record] = [
    MIRROR,
    RuleRecord(RULE, UPSTREAM, State.FRESH, NOW, followed=("1.0",)),
    DailyLimitRecord(RULE, UPSTREAM, State.BLOCKED, NOW),
]


class LaterRecord(MirrorRecord, frozen=True):
    """A record of a later version, which holds a digest back until it is old enough."""

    held_digest: str | None = None
    seen: tuple[str, ...] = ()


def changed(record: Record, path: str, value: Any) -> str:
    """Write a record with a field set, as `a.b` or `a.0.b`."""
    stored = inner = json.loads(encode_record(record))
    *parents, name = path.split(".")
    for parent in parents:
        inner = inner[int(parent)] if isinstance(inner, list) else inner[parent]
    inner[name] = value
    return json.dumps(stored)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("held_digest", digest("held")),
        ("form", 2),
        ("state", "THAWING"),
        ("since", {"first": NOW.isoformat()}),
        ("alerted", ["SIGNATURE_MISSING"]),
        ("past", [{"since": NOW.isoformat(), "state": "THAWING"}]),
        ("past", [{"since": NOW.isoformat(), "state": "FRESH", "because": "x"}]),
        ("type", "destination"),
    ],
)
def test_what_is_not_known_makes_a_record_newer(record: Record, path: str, value: Any) -> None:
    with pytest.raises(NewerFormError):
        decode_record(changed(record, path, value))


@pytest.mark.parametrize("path", ["pending.0.channel", "last_refresh.region", "pending.0.kind"])
def test_what_is_not_known_within_makes_a_record_newer(path: str) -> None:
    with pytest.raises(NewerFormError):
        decode_record(changed(MIRROR, path, "new"))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"key": 1}', "null"])
def test_text_that_names_no_record_is_damaged_and_not_newer(text: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_record(text)
    assert not isinstance(caught.value, NewerFormError)


def test_later_field_is_written_only_where_it_says_something() -> None:
    later = LaterRecord(**{name: getattr(MIRROR, name) for name in MIRROR.__struct_fields__})
    assert encode_record(later) == encode_record(MIRROR)
    assert decode_record(encode_record(later)) == MIRROR
    stored = json.loads(encode_record(later.with_changes(held_digest="sha256:1")))
    assert stored["held_digest"] == "sha256:1"
    assert "seen" not in stored


def test_fields_of_version_01_are_always_written() -> None:
    assert {"outbox", "scan", "previous_digest", "cache_failure"} <= json.loads(encode_record(MIRROR)).keys()


class Form(msgspec.Struct, forbid_unknown_fields=True):
    """A stored form."""

    key: str
    count: int = 0


@pytest.mark.parametrize("text", ['{"key": "a", "more": 1}', '{"key": "a", "count": "many"}'])
def test_object_that_names_its_subject_in_another_form_is_newer(text: str) -> None:
    with pytest.raises(NewerFormError):
        decode_form(text, Form, ("key",))


@pytest.mark.parametrize("text", ['{"count": 1}', '{"key": 5}', '{"key": "a"', "[1]"])
def test_anything_else_is_damaged(text: str) -> None:
    with pytest.raises(msgspec.DecodeError) as caught:
        decode_form(text, Form, ("key",))
    assert not isinstance(caught.value, NewerFormError)
    assert not names_subject(text, ("key",))


def test_loaded_names_what_is_newer_and_a_plain_mapping_nothing() -> None:
    assert newer_of(Loaded([("a", 1)], ["b"])) == {"b"}
    assert newer_of({"a": 1}) == frozenset()
