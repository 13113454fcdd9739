"""What each state of a mirror, or of a rule's listing, means; the states worst first."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from pullahead.mirrors.judge import absence_text, is_denied
from pullahead.mirrors.record import MirrorRecord, Record, RuleRecord, State, Trigger

# What waits for a person, then what waits for Pullahead, then what is well.
STATE_MEANINGS: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.BLOCKED: "cannot be refreshed until somebody acts",
        State.GONE: "upstream no longer has the tag",
        State.STALE: "upstream moved; a refresh is due or running",
        State.MISSING: "never copied yet",
        State.UNKNOWN: "upstream could not be checked",
        State.HELD: "a digest may not be served until somebody acts; ECR serves what it did, if anything",
        State.COOLING: "a digest is too young; ECR serves what it did, if anything",
        State.DELETED: "deleted from ECR; not copied again until upstream moves",
        State.FRESH: "ECR serves what upstream serves",
    }
)

STATE_RANKS: Final[Mapping[State, int]] = MappingProxyType({state: rank for rank, state in enumerate(STATE_MEANINGS)})

_LISTING_MEANINGS: Final[Mapping[State, str]] = MappingProxyType(
    {
        State.BLOCKED: "the tags cannot be listed until somebody acts",
        State.GONE: "upstream has no such repository",
        State.UNKNOWN: "the tags could not be listed",
        State.FRESH: "the tags are listed",
    }
)


_TRIGGER_TEXTS: Final[Mapping[Trigger, str]] = MappingProxyType(
    {
        Trigger.UNKNOWN: "",
        Trigger.SCHEDULE: "schedule",
        Trigger.MANUAL: "a person (pullahead refresh, admit or reject)",
        Trigger.PUSH: "push to ECR",
        Trigger.SCAN: "scan in ECR",
        Trigger.DELETE: "deletion in ECR",
        Trigger.CACHE: "pull through cache",
        Trigger.WEBHOOK: "webhook",
        Trigger.PULL: "pull",
        Trigger.REFRESH: "refresh",
    }
)
"""What made Pullahead find out that a state was entered, in words."""


def trigger_text(trigger: Trigger, sender: str = "") -> str:
    """Say what made Pullahead find out that a state was entered; "" if that is not known. `sender`: of a webhook."""
    text = _TRIGGER_TEXTS[trigger]
    return f"{text} ({sender})" if sender else text


def meaning_of(record: Record) -> str:
    """Say what the state of a record means for it."""
    if isinstance(record, RuleRecord):
        return _LISTING_MEANINGS.get(record.state, STATE_MEANINGS[record.state])
    if isinstance(record, MirrorRecord) and record.state is State.GONE:
        return absence_text(record)
    if isinstance(record, MirrorRecord) and record.state is State.UNKNOWN and is_denied(record):
        return "upstream denies access"
    if isinstance(record, MirrorRecord) and record.state is State.MISSING and record.previous_digest is not None:
        return "ECR no longer has the tag; a refresh is due or running"
    return STATE_MEANINGS[record.state]
