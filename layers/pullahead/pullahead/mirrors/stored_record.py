"""Records as text: what the table stores of each record. Pure.

A mirror's record is stored as version 0.1 stored it. 0.1 stored a rule's record in the same form, told apart only by
its key, `REPOSITORY (RULE):*`. Now `type`, `repository` and `rule` say so beside that key. What 0.1 wrote is still
read: by its key as a rule's record, or as a daily limit's where it has an alert about one.

What a newer version wrote is not guessed at: `stored_form`.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import structs

from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import DailyLimitRecord, MirrorRecord, Record, RuleRecord
from pullahead.mirrors.stored_form import NewerFormError, is_damage
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey, Subject

_RULE, _DAILY_LIMIT = "rule", "daily-limit"
_TYPES: dict[str, type[RuleRecord | DailyLimitRecord]] = {_RULE: RuleRecord, _DAILY_LIMIT: DailyLimitRecord}
_END_OF_RULE_KEY = "):*"
_OF_0_1: Final = frozenset(
    {
        *("key", "upstream", "state", "since", "unfresh_since", "upstream_digest", "published_digest", "error_kind"),
        *("error", "failure", "alerted", "pending", "last_refresh", "episode", "version", "platforms", "filtered"),
        *("past", "followed", "previous_digest", "outbox", "scan", "told", "on_demand", "expires_at", "left_at"),
        "cache_failure",
    }
)
"""The fields that version 0.1 has. They are always written; those that were added later, where they say something."""
_KNOWN: Final = _OF_0_1.union(
    ("type", "repository", "rule"),
    *(kind.__struct_fields__ for kind in (MirrorRecord, RuleRecord, DailyLimitRecord)),
)


class _Form(msgspec.Struct, frozen=True):
    key: str
    type: str = ""
    repository: str = ""
    rule: str = ""


class _Alert(msgspec.Struct, frozen=True):
    kind: str = ""
    of: str | None = None


class _Form01(msgspec.Struct, frozen=True):
    """What distinguishes a daily limit of version 0.1 from a listing: an alert. One that is over and was never alerted
    reads as a listing, until the limit is reached again."""

    alerted: tuple[str, ...] = ()
    pending: tuple[_Alert, ...] = ()
    told: tuple[_Alert, ...] = ()

    @property
    def is_daily_limit(self) -> bool:
        return AlertKind.DEMAND_LIMIT in {
            *self.alerted,
            *(each.of or each.kind for each in (*self.pending, *self.told)),
        }


def encode_record(record: Record) -> str:
    """Write a record as JSON."""
    stored: dict[str, Any] = msgspec.to_builtins(record, enc_hook=_as_text)
    for name in _unsaid(record):
        del stored[name]
    if isinstance(record, RuleRecord | DailyLimitRecord):
        kind = _RULE if isinstance(record, RuleRecord) else _DAILY_LIMIT
        stored |= {"type": kind, "repository": record.key.repository, "rule": record.key.rule}
    return msgspec.json.encode(stored).decode()


def decode_record(text: str) -> Record:
    """Read a record that this version or an older one wrote.

    Raises msgspec.DecodeError where there is none; NewerFormError for one that a newer version wrote.
    """
    form = msgspec.json.decode(text, type=_Form)
    if unknown := msgspec.json.decode(text, type=dict[str, msgspec.Raw]).keys() - _KNOWN:
        raise NewerFormError(f"it has the fields {', '.join(sorted(unknown))}")
    if form.type and form.type not in _TYPES:
        raise NewerFormError(f"it is of the type {form.type}")
    try:
        return _decode(text, *_kind_of(text, form))
    except msgspec.ValidationError as error:
        if is_damage(error):
            raise
        raise NewerFormError(str(error)) from error


def _kind_of(text: str, form: _Form) -> tuple[type[Record], RecordKey]:
    if form.type in _TYPES:
        return _TYPES[form.type], RuleKey(form.repository, form.rule)
    if not form.key.endswith(_END_OF_RULE_KEY):
        try:
            return MirrorRecord, MirrorKey.parse(form.key)
        except ValueError as error:
            raise msgspec.ValidationError(str(error)) from error
    is_daily_limit = msgspec.json.decode(text, type=_Form01).is_daily_limit
    return DailyLimitRecord if is_daily_limit else RuleRecord, _rule_key_of(form.key)


def _decode(text: str, kind: type[Record], key: RecordKey) -> Record:
    """Read a record of a known type. Its alerts are about itself, so that every key in it is its own."""
    return msgspec.json.decode(text, type=kind, dec_hook=lambda _type, _text: key)


def _unsaid(record: Record) -> Iterator[str]:
    """Name the fields that version 0.1 does not know, and that say nothing."""
    for field in structs.fields(record):
        if field.name not in _OF_0_1 and getattr(record, field.name) == _default_of(field):
            yield field.encode_name


def _default_of(field: structs.FieldInfo) -> object:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _rule_key_of(text: str) -> RuleKey:
    repository, _, rule = text.removesuffix(_END_OF_RULE_KEY).partition(" (")  # no repository's name has a space
    return RuleKey(repository, rule)


def _as_text(value: object) -> str:
    if isinstance(value, Subject):
        return str(value)
    raise NotImplementedError(f"a record holds no {type(value).__name__}")
