"""What people are told, and when: transitions, said once and taken back once. Pure."""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec


class AlertKind(StrEnum):
    """Why a human is told. Also a message attribute, for subscription filters."""

    STALE = "STALE"
    UPSTREAM_UNREACHABLE = "UPSTREAM_UNREACHABLE"
    BLOCKED = "BLOCKED"
    GONE = "GONE"
    UNLISTED = "UNLISTED"
    RECOVERED = "RECOVERED"
    RULES_BROKEN = "RULES_BROKEN"


class Alert(msgspec.Struct, frozen=True):
    """One thing to tell, with what the text needs."""

    kind: AlertKind
    mirror: str
    upstream: str
    since: datetime
    at: datetime
    detail: str = ""


_HEADLINES = {
    AlertKind.STALE: "is stale",
    AlertKind.UPSTREAM_UNREACHABLE: "cannot be checked: upstream does not answer",
    AlertKind.BLOCKED: "cannot be refreshed",
    AlertKind.GONE: "is gone upstream",
    AlertKind.UNLISTED: "cannot be listed",
    AlertKind.RECOVERED: "is fresh again",
    AlertKind.RULES_BROKEN: "cannot be used",
}

_NEXT = {
    AlertKind.STALE: (
        "Pullahead goes on trying to refresh it. ECR serves the last copy meanwhile.",
        "Look at the cause above, if there is one, and at the executions of the refresh state machine.",
    ),
    AlertKind.UPSTREAM_UNREACHABLE: (
        "Pullahead goes on asking at every check. ECR serves the last copy meanwhile; it may be out of date.",
        "See whether the upstream registry is down, or refuses Pullahead: rate limit, credentials, network.",
    ),
    AlertKind.BLOCKED: (
        "Pullahead tries again every few hours, and at once when the upstream tag moves. ECR serves the last copy.",
        "Mend the cause above: a permission, an immutable tag, or a broken upstream manifest or blob.",
    ),
    AlertKind.GONE: (
        "Pullahead keeps the copy in ECR and goes on asking.",
        "Take the tag out of the rules, or follow another one, if it was removed upstream for good.",
    ),
    AlertKind.UNLISTED: (
        "Pullahead lists again at every check. What it follows already it goes on following; new tags it does not see.",
        "Mend the cause above: name the tags in the rules, allow the listing, or lower min_tags if it shrank for good.",
    ),
    AlertKind.RECOVERED: ("Checks go on as before.", "Nothing to do."),
    AlertKind.RULES_BROKEN: (
        "Pullahead goes on by the last good version, and looks for a new one every few minutes.",
        "Mend what is named above, and put the file there again; `pullahead validate FILE` shows the same problems.",
    ),
}

_MAX_SUBJECT_CHARACTERS = 100
"""Amazon SNS API reference, Publish, Subject: up to 100 characters, ASCII, no line breaks."""


def subject_of(alert: Alert) -> str:
    """Write the subject line: which mirror, and what is the matter with it."""
    text = f"Pullahead: {alert.mirror} {_HEADLINES[alert.kind]}"
    if len(text) <= _MAX_SUBJECT_CHARACTERS:
        return text
    tail = f"... {_HEADLINES[alert.kind]}"
    return text[: _MAX_SUBJECT_CHARACTERS - len(tail)] + tail


def text_of(alert: Alert) -> str:
    """Write the message: what happened, since when, what Pullahead does next and what the reader should do."""
    next_step, advice = _NEXT[alert.kind]
    lines = [
        f"{alert.mirror} {_HEADLINES[alert.kind]}.",
        "",
        f"Mirror:    {alert.mirror}",
        f"Upstream:  {alert.upstream}",
        _when(alert),
        *([f"Cause:     {alert.detail}"] if alert.detail else []),
        "",
        f"Next:      {next_step}",
        f"To do:     {advice}",
    ]
    return "\n".join(lines)


def _when(alert: Alert) -> str:
    span = _span(alert.at - alert.since)
    if alert.kind is AlertKind.RECOVERED:
        return f"Not fresh: {_time(alert.since)} to {_time(alert.at)} ({span})"
    return f"Since:     {_time(alert.since)} ({span})"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _span(span: timedelta) -> str:
    minutes = max(0, int(span.total_seconds())) // 60
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * (not days)
    return " ".join(parts)
