"""The text that people read: a subject, and what happened, since when, what follows and what is to be done. Pure."""

import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.freshness.alerts import WORDS, Alert, AlertKind, Severity
from pullahead.freshness.wording import one_line

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
        return self.members[0].mirror if self.mirrors == 1 and self.about not in _OF_ITSELF else ""

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
        return one_line(notice.members[0].mirror, 500)
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
