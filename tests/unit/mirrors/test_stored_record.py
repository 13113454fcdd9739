"""Records as text: what is stored comes back, and what version 0.1 stored is still read."""

import json
from typing import Any

import msgspec
import pytest

from pullahead.mirrors.alert import Alert, AlertKind, SentAlert
from pullahead.mirrors.record import (
    DailyLimitRecord,
    ManualCheck,
    MirrorRecord,
    Past,
    Record,
    RuleRecord,
    State,
    Trigger,
)
from pullahead.mirrors.rule_record import limit_reached
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from tests.fakes.memory import FakeClock
from tests.fakes.samples import KEY, UPSTREAM, digest, rule

NOW = FakeClock()()
RULE = RuleKey("quay/{name}", "prom (all)")


def alert(key: MirrorKey | RuleKey, kind: AlertKind, of: AlertKind | None = None) -> Alert:
    return Alert(kind, key, UPSTREAM, NOW, NOW, "why", of=of)


RECORDS = [
    MirrorRecord(KEY, UPSTREAM, State.MISSING, NOW),
    MirrorRecord(
        MirrorKey("a/b", "1.0"),
        UPSTREAM,
        State.STALE,
        NOW,
        pending=(alert(MirrorKey("a/b", "1.0"), AlertKind.STALE),),
        upstream_digest=digest("a"),
        version=3,
    ),
    MirrorRecord(
        KEY,
        UPSTREAM,
        State.UNKNOWN,
        NOW,
        trigger=Trigger.PUSH,
        denied="sent as user robot",
        past=(
            Past(NOW, State.FRESH, Trigger.REFRESH, "1.0 MiB copied"),
            Past(NOW, State.STALE, Trigger.WEBHOOK, sender="quay"),
        ),
        manual=ManualCheck(NOW, NOW, "upstream moved", started=True),
    ),
    RuleRecord(RULE, UPSTREAM, State.FRESH, NOW, followed=("1.0", "1.1"), past=(Past(NOW, State.UNKNOWN),)),
    DailyLimitRecord(RULE, UPSTREAM, State.BLOCKED, NOW, pending=(alert(RULE, AlertKind.DEMAND_LIMIT),)),
    DailyLimitRecord(RULE, UPSTREAM, State.FRESH, NOW),
    RuleRecord(RULE, UPSTREAM, State.FRESH, NOW, manual=ManualCheck(NOW, NOW, "listed")),
]


@pytest.mark.parametrize("record", RECORDS)
def test_record_is_read_as_it_was_written(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


def test_mirror_is_stored_without_a_type_under_its_text() -> None:
    stored = json.loads(encode_record(RECORDS[1]))
    assert "type" not in stored
    assert (stored["key"], stored["pending"][0]["mirror"]) == ("a/b:1.0", "a/b:1.0")


@pytest.mark.parametrize(("record", "kind"), [(RECORDS[3], "rule"), (RECORDS[4], "daily-limit")])
def test_record_of_a_rule_names_it_beside_the_key_of_version_01(record: Record, kind: str) -> None:
    stored = json.loads(encode_record(record))
    assert (stored["type"], stored["repository"], stored["rule"]) == (kind, "quay/{name}", "prom (all)")
    assert stored["key"] == "quay/{name} (prom (all)):*"


def stored_by_01(**more: Any) -> str:
    record = {"key": "mirror/app (app):*", "upstream": UPSTREAM, "state": "FRESH", "since": NOW.isoformat()}
    return json.dumps(record | more)


def sent_alert(kind: str) -> dict[str, Any]:
    return {"kind": kind, "incident": "i", "at": NOW.isoformat()}


def pending(kind: str, of: str | None = None) -> dict[str, Any]:
    moments = {"since": NOW.isoformat(), "at": NOW.isoformat()}
    return {"kind": kind, "mirror": "mirror/app (app):*", "upstream": UPSTREAM, "of": of, **moments}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"followed": ["1.0"]},
        {"alerted": ["UNLISTED"]},
        {"told": [sent_alert("UNLISTED")], "pending": [pending("RETIRED")]},
    ],
)
def test_listing_of_version_01_is_the_record_of_its_rule(more: dict[str, Any]) -> None:
    record = decode_record(stored_by_01(**more))
    assert isinstance(record, RuleRecord)
    assert (record.key.repository, record.key.rule) == ("mirror/app", "app")
    assert record.followed == tuple(more.get("followed", ()))


def test_new_fields_that_say_nothing_are_not_stored() -> None:
    stored = json.loads(encode_record(RECORDS[0]))
    assert not {"trigger", "reason", "sender", "denied", "manual", "was_listed"} & stored.keys()


def test_history_of_version_01_has_neither_triggers_nor_causes() -> None:
    stored = stored_by_01(key="mirror/app:1.0", past=[{"since": NOW.isoformat(), "state": "STALE"}])
    record = decode_record(stored)
    assert isinstance(record, MirrorRecord)
    assert (record.trigger, record.past, record.manual) == (Trigger.UNKNOWN, (Past(NOW, State.STALE),), None)


@pytest.mark.parametrize(
    "more",
    [
        {"alerted": ["DEMAND_LIMIT"], "state": "BLOCKED"},
        {"pending": [pending("RECOVERED", "DEMAND_LIMIT")]},
        {"told": [sent_alert("DEMAND_LIMIT")]},
    ],
)
def test_daily_limit_of_version_01_is_known_by_its_alert(more: dict[str, Any]) -> None:
    record = decode_record(stored_by_01(**more))
    assert isinstance(record, DailyLimitRecord)
    assert record.key == RuleKey("mirror/app", "app")
    assert all(each.mirror == record.key for each in record.pending)


def test_limit_that_was_stored_as_a_listing_begins_anew_with_its_version_and_alerts() -> None:
    before = decode_record(stored_by_01(version=7, told=[sent_alert("UNLISTED")]))
    after = limit_reached(before, rule(), KEY, NOW)
    assert (after.state, after.version, after.alerted) == (State.BLOCKED, 7, (AlertKind.DEMAND_LIMIT,))
    assert after.told == (SentAlert(AlertKind.UNLISTED, "i", NOW),)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"key": 1}', stored_by_01(key="nothing"), stored_by_01(state="?")])
def test_invalid_record_is_a_decoding_error(text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_record(text)
