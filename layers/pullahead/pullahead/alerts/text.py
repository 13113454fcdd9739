"""The text that people read: a subject, and what happened, since when, what follows and what is to be done. Pure."""

import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.text import one_line


class Severity(StrEnum):
    """What a reader is to do, as a message attribute."""

    ACTION = "action"
    NOTICE = "notice"
    RESOLVED = "resolved"


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


SHOWN = 10
"""Mirrors that a message names; it counts the others."""

_MAX_SUBJECT = 100
"""Amazon SNS API reference, Publish, Subject: up to 100 characters, ASCII, no line breaks."""
_MAX_CAUSE, _MAX_CAUSE_OF_MANY, _MAX_CAUSE_LINES = 600, 240, 20
_INDENT = " " * 11
_OF_ITSELF = frozenset({AlertKind.RULES_BROKEN, AlertKind.RULES_EMPTY, AlertKind.NOT_CHECKED})
"""Kinds that are about Pullahead, and no mirror."""
_OF_RULES = frozenset({AlertKind.UNLISTED, AlertKind.DEMAND_LIMIT})
"""Kinds that are about a rule that chooses what is mirrored."""


class Notice(NamedTuple):
    """One message: what begins, or is over, for one mirror or for many of one upstream registry."""

    kind: AlertKind
    about: AlertKind  # what begins or, where `kind` is RECOVERED, is over
    incident: str
    members: tuple[Alert, ...]  # the first ten
    mirrors: int  # how many it is about
    standing: int  # how many stand in the incident, these among them where they stand
    at: datetime
    restored: bool = False  # DRIFT: all is as it should be again

    @property
    def is_over(self) -> bool:
        """Whether it takes back what was told."""
        return self.kind is AlertKind.RECOVERED

    @property
    def host(self) -> str:
        """The upstream registry; empty where it is about Pullahead itself."""
        return "" if self.about in _OF_ITSELF else self.members[0].host

    @property
    def mirror(self) -> str:
        """The mirror, where it is about one alone."""
        return str(self.members[0].mirror) if self.mirrors == 1 and self.about not in _OF_ITSELF else ""

    @property
    def severity(self) -> Severity:
        """What a reader is to do."""
        return Severity.RESOLVED if self.is_over else WORDS[self.about].severity

    @property
    def since(self) -> datetime:
        """Since when the first of them stands, or stood."""
        return min(member.since for member in self.members)


def subject_of(notice: Notice) -> str:
    """Write the subject line: which mirror, or how many, and what is the matter."""
    text = f"Pullahead: {_who(notice)} {_what(notice)}".encode("ascii", "replace").decode()
    if len(text) <= _MAX_SUBJECT:
        return text
    tail = f"... {_what(notice)}"
    return text[: _MAX_SUBJECT - len(tail)] + tail


def headline_of(notice: Notice) -> str:
    """Say in one sentence what happened."""
    return f"{_who(notice)} {_what(notice)}."


def text_of(notice: Notice) -> str:
    """Write the message."""
    lines = [headline_of(notice), "", *_facts(notice), ""]
    steps = [f"{'Next:':<11}{next_of(notice)}", f"{'To do:':<11}{to_do_of(notice)}"]
    return "\n".join([*lines, *steps, *(f"{_INDENT}{command}" for command in commands_of(notice))])


def attributes_of(notice: Notice) -> dict[str, str]:
    """Say what subscription filters go by."""
    attributes = {
        "kind": notice.kind.value,
        "of": notice.about.value,
        "severity": notice.severity.value,
        "count": str(notice.mirrors),
        "upstream": notice.host,
        "mirror": notice.mirror,
    }
    return {name: value for name, value in attributes.items() if value}  # SNS takes no empty ones


def next_of(notice: Notice) -> str:
    """Say what Pullahead does next."""
    if notice.is_over or notice.restored:
        return WORDS[AlertKind.RECOVERED].next
    return WORDS[notice.about].next


def to_do_of(notice: Notice) -> str:
    """Say what the reader should do."""
    if notice.is_over:
        return "See which are left." if notice.standing else WORDS[AlertKind.RECOVERED].to_do
    return WORDS[notice.about].to_do


def commands_of(notice: Notice) -> list[str]:
    """Write the commands that show more."""
    if notice.about is AlertKind.RULES_BROKEN:
        return [] if notice.is_over else ["pullahead validate FILE"]
    if notice.is_over:
        return ["pullahead status --stale"] if notice.standing else []
    if notice.about in (AlertKind.RETIRED, AlertKind.NOT_CHECKED, AlertKind.RULES_EMPTY):
        return ["pullahead status"]
    if notice.mirror and notice.about not in _OF_RULES:
        return [f"pullahead why {shlex.quote(notice.mirror)}"]
    return ["pullahead status --stale"]


def causes_of(notice: Notice) -> tuple[str, list[str]]:
    """Say in one line why it is so: for all that are shown, if it is the same but for their names, else for each."""
    causes = [one_line(member.detail, _MAX_CAUSE_OF_MANY) for member in notice.members]
    alike = {member.detail.replace(member.upstream, "") for member in notice.members}
    return (causes[0], [""] * len(causes)) if len(alike) == 1 and len(causes) > 1 else ("", causes)


def moment_of(moment: datetime) -> str:
    """Write a moment."""
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def when_of(notice: Notice) -> str:
    """Say since when it stands, or from when to when it stood."""
    if notice.is_over:
        return f"{moment_of(notice.since)} to {moment_of(notice.at)} ({_span(notice.at - notice.since)})"
    return f"{moment_of(notice.since)} ({_span(notice.at - notice.since)})"


def was_of(notice: Notice) -> str:
    """Name what is over; empty where nothing is, or an older version did not write down what it was."""
    return notice.about.value if notice.is_over and notice.about is not AlertKind.RECOVERED else ""


def others_of(notice: Notice) -> str:
    """Say how many stand beside those that it is about; empty where none do."""
    if notice.is_over and notice.standing:
        return f"{_number(notice, notice.standing)} that people were told of, not yet"
    before = notice.standing - notice.mirrors
    return (
        f"{notice.standing:,} stand; {before:,} of them were told before" if not notice.is_over and before > 0 else ""
    )


def _facts(notice: Notice) -> list[str]:
    was = [f"{'It was:':<11}{what}"] if (what := was_of(notice)) else []
    when = [*was, f"{'It lasted:' if notice.is_over else 'Since:':<11}{when_of(notice)}"]
    others = [f"{'Still:' if notice.is_over else 'In all:':<11}{text}" for text in [others_of(notice)] if text]
    if notice.about in _OF_ITSELF:
        return [*when, *_cause(notice.members[0])]
    if notice.mirrors == 1:
        (member,) = notice.members
        names = [
            f"{'Rule:' if notice.about in _OF_RULES else 'Mirror:':<11}{member.mirror}",
            f"{'Upstream:':<11}{member.upstream}",
        ]
        return [*names, *when, *_cause(member), *others]
    cause, _ = causes_of(notice)
    why = [f"{'Cause:':<11}{cause}"] if cause else []
    return [f"{'Upstream:':<11}{notice.host}", *when, *why, *others, "", *_list(notice)]


def _list(notice: Notice) -> list[str]:
    lines = []
    for member, cause in zip(notice.members, causes_of(notice)[1], strict=True):
        lines += [f"  {member.mirror}", *([f"      {cause}"] if cause else [])]
    more = notice.mirrors - len(notice.members)
    return [*lines, *([f"  and {more:,} more"] if more else [])]


def _cause(member: Alert) -> list[str]:
    shown: Sequence[str] = [one_line(line, _MAX_CAUSE) for line in member.detail.splitlines() if line.strip()]
    return [
        f"{_INDENT if number else 'Cause:'.ljust(11)}{line}" for number, line in enumerate(shown[:_MAX_CAUSE_LINES])
    ]


def _who(notice: Notice) -> str:
    if notice.mirrors == 1:
        return one_line(str(notice.members[0].mirror), 500)
    return f"{_number(notice, notice.mirrors)} of {notice.host}"


def _what(notice: Notice) -> str:
    words, is_one = WORDS[notice.about], notice.mirrors == 1
    if notice.is_over:
        return words.over_one if is_one else words.over_many
    return (words.one if is_one else words.many) + (", and restored" if notice.restored else "")


def _number(notice: Notice, count: int) -> str:
    return f"{count:,} {'rule' if notice.about in _OF_RULES else 'mirror'}" + "s" * (count != 1)


def _span(span: timedelta) -> str:
    minutes = max(0, int(span.total_seconds())) // 60
    days, minutes = divmod(minutes, 24 * 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * (not days)
    return " ".join(parts)
