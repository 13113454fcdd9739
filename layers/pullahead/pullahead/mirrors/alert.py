"""Why people are told: the kinds of alerts, and what each means to a reader. Pure; decides not when they are told."""

import hashlib
from datetime import datetime
from enum import StrEnum

import msgspec

from pullahead.rules.mirror_key import Subject


class AlertKind(StrEnum):
    """Why a human is told. Also a message attribute, for subscription filters."""

    STALE = "STALE"
    UPSTREAM_UNREACHABLE = "UPSTREAM_UNREACHABLE"
    RATE_LIMITED = "RATE_LIMITED"
    BLOCKED = "BLOCKED"
    GONE = "GONE"
    UNLISTED = "UNLISTED"
    DRIFT = "DRIFT"
    CACHE_FAILED = "CACHE_FAILED"
    RECOVERED = "RECOVERED"
    RULES_BROKEN = "RULES_BROKEN"
    RULES_EMPTY = "RULES_EMPTY"
    NOT_CHECKED = "NOT_CHECKED"
    RETIRED = "RETIRED"
    DEMAND_LIMIT = "DEMAND_LIMIT"


class Alert(msgspec.Struct, frozen=True):
    """One thing to tell of one mirror, with what the text needs."""

    kind: AlertKind
    mirror: Subject
    upstream: str
    since: datetime
    at: datetime
    detail: str = ""
    error_kind: str = ""  # the class of the error that is the cause
    of: AlertKind | None = None  # of RECOVERED: what is over

    @property
    def about(self) -> AlertKind:
        """The kind of trouble that this is about, whether it begins or ends."""
        return self.of or self.kind

    @property
    def host(self) -> str:
        """The upstream registry."""
        return self.upstream.partition("/")[0]

    @property
    def mark(self) -> str:
        """Identify the alert in few bytes."""
        identity = "\n".join((str(self.mirror), self.kind, self.of or "", self.at.isoformat()))
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


class SentAlert(msgspec.Struct, frozen=True):
    """When people were last told of one kind of trouble with a mirror, and in which incident."""

    kind: AlertKind
    incident: str
    at: datetime
