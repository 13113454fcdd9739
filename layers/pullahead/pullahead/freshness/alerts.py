"""Why people are told: the kinds of alerts, and what each means to a reader. Pure; decides not when they are told."""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec


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


class Severity(StrEnum):
    """What a reader is to do, as a message attribute."""

    ACTION = "action"
    NOTICE = "notice"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True):
    """One thing to tell of one mirror, with what the text needs."""

    kind: AlertKind
    mirror: str
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
        identity = "\n".join((self.mirror, self.kind, self.of or "", self.at.isoformat()))
        return hashlib.sha256(identity.encode()).hexdigest()[:12]


class Told(msgspec.Struct, frozen=True):
    """When people were last told of one kind of trouble with a mirror, and in which incident."""

    kind: AlertKind
    incident: str
    at: datetime


class Words(NamedTuple):
    """How a kind of alert is put: what is the case with one, and with several; what follows; what is to be done."""

    one: str
    many: str
    next: str
    to_do: str
    severity: Severity = Severity.ACTION
    over_one: str = "is fresh again"
    over_many: str = "are fresh again"


WORDS = {
    AlertKind.STALE: Words(
        "is stale: ECR does not serve what upstream serves",
        "are stale: ECR does not serve what upstream serves",
        "Pullahead goes on trying to refresh. ECR serves the last copy meanwhile.",
        "Look at the cause above, if there is one, and at the executions of the refresh state machine.",
    ),
    AlertKind.UPSTREAM_UNREACHABLE: Words(
        "cannot be checked: upstream does not answer",
        "cannot be checked: upstream does not answer",
        "Pullahead goes on asking at every check. ECR serves the last copy meanwhile; it may be out of date.",
        "See whether the upstream registry is down, or refuses Pullahead: credentials, network.",
    ),
    AlertKind.RATE_LIMITED: Words(
        "is late: upstream's rate limit is reached",
        "are late: upstream's rate limit is reached",
        "Pullahead goes on as the limit allows, the oldest first. ECR serves the last copy; it may be out of date.",
        "Give the registry an account that may ask more, a longer check_every or a smaller reserve, or fewer tags.",
    ),
    AlertKind.BLOCKED: Words(
        "cannot be refreshed",
        "cannot be refreshed",
        "Pullahead tries again every few hours, and at once when the upstream tag moves. ECR serves the last copy.",
        "Mend the cause above: a permission, an immutable tag, or a broken upstream manifest or blob.",
    ),
    AlertKind.GONE: Words(
        "is gone upstream",
        "are gone upstream",
        "Pullahead keeps the copy in ECR and goes on asking.",
        "Take the tag out of the rules, or follow another one, if it was removed upstream for good.",
    ),
    AlertKind.UNLISTED: Words(
        "cannot be listed",
        "cannot be listed",
        "Pullahead lists again at every check. It goes on following what it follows; new tags it does not see.",
        "Mend the cause above: name the tags in the rules, allow the listing, or lower min_tags if it shrank for good.",
        over_one="can be listed again",
        over_many="can be listed again",
    ),
    AlertKind.DRIFT: Words(
        "was overwritten in ECR",
        "were overwritten in ECR",
        "Pullahead puts back what upstream serves.",
        "Find out who pushes to the mirror's repository (CloudTrail, PutImage), and let only Pullahead write to it.",
        Severity.NOTICE,
        over_one="was overwritten in ECR, and serves what upstream serves again",
        over_many="were overwritten in ECR, and serve what upstream serves again",
    ),
    AlertKind.CACHE_FAILED: Words(
        "cannot be fetched by ECR's pull through cache",
        "cannot be fetched by ECR's pull through cache",
        "Pullahead fetches what is pulled itself, and goes on keeping it fresh.",
        "Mend the pull through cache rule by the cause above: its credentials, its upstream, or a rate limit there.",
        Severity.NOTICE,
        over_one="can be fetched by ECR's pull through cache again",
        over_many="can be fetched by ECR's pull through cache again",
    ),
    AlertKind.RECOVERED: Words(
        "is fresh again",
        "are fresh again",
        "Checks go on as before.",
        "Nothing.",
        Severity.RESOLVED,
    ),
    AlertKind.RULES_BROKEN: Words(
        "cannot be used",
        "cannot be used",
        "Pullahead goes on by the last good version, and looks for a new one every few minutes.",
        "Mend what is named above, and put the file there again; `pullahead validate` shows the same problems.",
        over_one="can be used again",
        over_many="can be used again",
    ),
    AlertKind.RULES_EMPTY: Words(
        "follow no mirror that is known",
        "follow no mirror that is known",
        "Nothing is checked or refreshed, and nothing is forgotten. ECR serves the last copies, which get older.",
        "Put the rules back, if they were not meant so; delete the stack, if nothing is to be kept fresh any more.",
        over_one="follow mirrors again",
        over_many="follow mirrors again",
    ),
    AlertKind.NOT_CHECKED: Words(
        "are not checked: the schedule has sent no checks",
        "are not checked: the schedule has sent no checks",
        "ECR serves the last copies, which get older. Checks go on with the next run of schedule_checks.",
        "Look at the log of schedule_checks, and whether its rule in EventBridge is enabled.",
        over_one="are checked again",
        over_many="are checked again",
    ),
    AlertKind.DEMAND_LIMIT: Words(
        "makes no more new mirrors today: its daily limit is reached",
        "make no more new mirrors today: their daily limits are reached",
        "Pullahead goes on following what was pulled before. What is pulled for the first time is passed over until "
        "midnight UTC.",
        "Raise daily_limit in the rules if this is wanted; else see who pulls what is not meant (CloudTrail, "
        "BatchGetImage), and narrow allow.",
        over_one="makes new mirrors again",
        over_many="make new mirrors again",
    ),
    AlertKind.RETIRED: Words(
        "is followed by no rule any more",
        "are followed by no rule any more",
        "What was copied stays in ECR and is not refreshed any more. Pullahead forgets the mirror in 7 days.",
        "Nothing, if the rules were meant so. Else name it again: what was known of it is then kept.",
        Severity.NOTICE,
    ),
}
