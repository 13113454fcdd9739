"""Texts of alerts: a subject, and what happened, since when, what Pullahead does next and what the reader should do."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.oci import parse_reference
from pullahead.rules.mirror_key import RuleKey, Subject
from pullahead.text import moment_text, one_line, span_text, without_links


class AlertSeverity(StrEnum):
    """What the reader should do, as a message attribute."""

    ACTION = "action"
    NOTICE = "notice"
    RESOLVED = "resolved"


class Words(NamedTuple):
    """The texts of a kind of alert: what happened to one mirror, and to several; what follows; what to do.

    `{copies}` in what follows stands for what ECR serves meanwhile.
    """

    one: str
    many: str
    next: str
    to_do: str
    severity: AlertSeverity = AlertSeverity.ACTION
    over_one: str = "is fresh again"
    over_many: str = "are fresh again"


WORDS = {
    AlertKind.STALE: Words(
        "is stale: ECR does not serve what upstream serves",
        "are stale: ECR does not serve what upstream serves",
        "Pullahead keeps retrying the refresh. {copies}",
        "Fix the cause above. If there is none, see whether refreshes wait (RefreshesWaiting) or fail to start.",
    ),
    AlertKind.UPSTREAM_UNREACHABLE: Words(
        "cannot be checked: requests to upstream fail",
        "cannot be checked: requests to upstream fail",
        "Pullahead retries at every check. {copies}",
        "If the registry is down, wait. If others reach it, check the functions' network: VPC, proxy, DNS.",
    ),
    AlertKind.RATE_LIMITED: Words(
        "is delayed: the upstream rate limit is reached",
        "are delayed: the upstream rate limit is reached",
        "Pullahead continues within the limit, oldest first. {copies}",
        "Use credentials with a higher limit, a longer check_every, a smaller reserve, or fewer tags.",
    ),
    AlertKind.ACCESS_DENIED: Words(
        "cannot be read upstream: access denied",
        "cannot be read upstream: access denied",
        "Pullahead asks again at every check, with the credential as it is then. {copies}",
        "Correct what the cause above names: the credential, what it may read, or the upstream's name.",
    ),
    AlertKind.BLOCKED: Words(
        "cannot be refreshed",
        "cannot be refreshed",
        "Pullahead retries every few hours, and at once when the upstream tag moves. {copies}",
        "Fix the cause above: a permission in AWS, an immutable tag, or a broken manifest or blob upstream.",
    ),
    AlertKind.GONE: Words(
        "no longer exists upstream",
        "no longer exist upstream",
        "Pullahead keeps checking. {copies}",
        "If the tag was removed for good, remove it from the rules or mirror another tag.",
    ),
    AlertKind.NOT_FOUND: Words(
        "was never copied: upstream has no such tag",
        "were never copied: upstream has no such tags",
        "Pullahead keeps asking, and copies the tag as soon as upstream has it. There is nothing to pull until then.",
        "Check the spelling of the tag and of its upstream in the rules; `pullahead tags` lists what upstream has.",
        over_one="is copied: upstream has the tag",
        over_many="are copied: upstream has the tags",
    ),
    AlertKind.UNLISTED: Words(
        "cannot list the upstream tags",
        "cannot list the upstream tags",
        "Pullahead retries at every check. It keeps the tags that it already follows fresh, but sees no new ones.",
        "Fix the cause above: correct the upstream's name, name its tags, allow the listing, lower min_tags if tags "
        "were removed, or raise max_tags.",
        over_one="can list the upstream tags again",
        over_many="can list the upstream tags again",
    ),
    AlertKind.DRIFT: Words(
        "was overwritten in ECR",
        "were overwritten in ECR",
        "Pullahead restores what upstream serves.",
        "Find out who pushes to the repository (CloudTrail, PutImage), and allow only Pullahead to push.",
        AlertSeverity.NOTICE,
        over_one="was overwritten in ECR and is restored",
        over_many="were overwritten in ECR and are restored",
    ),
    AlertKind.CACHE_FAILED: Words(
        "cannot be pulled through ECR's pull through cache",
        "cannot be pulled through ECR's pull through cache",
        "Pullahead copies the tag itself and keeps it fresh.",
        "Fix the pull through cache rule by the cause above: its credentials, its upstream, or a rate limit.",
        AlertSeverity.NOTICE,
        over_one="can be pulled through ECR's pull through cache again",
        over_many="can be pulled through ECR's pull through cache again",
    ),
    AlertKind.REFERRERS_FAILED: Words(
        "lacks some of its signatures, SBOMs or other referrers",
        "lack some of their signatures, SBOMs or other referrers",
        "ECR serves the image; what verifies signatures may refuse it. Pullahead retries the missing ones.",
        "Fix the cause above, or leave these out by `referrers` in the rules (docs/rules.md).",
        over_one="has all of its referrers again",
        over_many="have all of their referrers again",
    ),
    AlertKind.PIN_MOVED: Words(
        "is pinned, and upstream has moved away from its digest",
        "are pinned, and upstream has moved away from their digests",
        "ECR keeps serving the pinned digest. Pullahead does not report where upstream moves next.",
        "If you want what upstream serves, change the digest in the rules. If not, nothing.",
        AlertSeverity.NOTICE,
        over_one="is pinned to what upstream serves again, or is no longer pinned",
        over_many="are pinned to what upstream serves again, or are no longer pinned",
    ),
    AlertKind.HELD: Words(
        "has a new digest that may not be served until somebody acts",
        "have new digests that may not be served until somebody acts",
        "ECR goes on serving what was admitted before. {copies}",
        "Do what the cause says; `pullahead held` lists what waits, and for what.",
        over_one="has no digest that waits any more",
        over_many="have no digests that wait any more",
    ),
    AlertKind.WITHDRAWN: Words(
        "had a new digest that upstream took back while it was held",
        "had new digests that upstream took back while they were held",
        "The tag never served it. ECR goes on serving what was admitted before.",
        "If you pulled the digest from upstream elsewhere, find out why it was taken back.",
        AlertSeverity.NOTICE,
    ),
    AlertKind.RECOVERED: Words(
        "is fresh again",
        "are fresh again",
        "Checks continue as usual.",
        "Nothing.",
        AlertSeverity.RESOLVED,
    ),
    AlertKind.RULES_BROKEN: Words(
        "cannot be used",
        "cannot be used",
        "Pullahead keeps using the last valid version, and looks for a new one every few minutes.",
        "Fix the problems above and upload the file again; `pullahead validate` reports the same problems.",
        over_one="can be used again",
        over_many="can be used again",
    ),
    AlertKind.RULES_EMPTY: Words(
        "match none of the known mirrors",
        "match none of the known mirrors",
        "Nothing is checked or refreshed, and no record is deleted. What was copied stays in ECR, and gets older.",
        "If not intended, restore the rules. To stop mirroring for good, delete the stack.",
        over_one="match mirrors again",
        over_many="match mirrors again",
    ),
    AlertKind.RULES_SKIPPED: Words(
        "are skipped: Pullahead may not pull from their upstreams",
        "are skipped: Pullahead may not pull from their upstreams",
        "All other rules are followed. ECR keeps serving what it has.",
        "Do what the cause says. `pullahead validate` says what rules need before they are deployed.",
        AlertSeverity.NOTICE,
        over_one="are followed",
        over_many="are followed",
    ),
    AlertKind.NOT_CHECKED: Words(
        "are not checked: the schedule has sent no checks",
        "are not checked: the schedule has sent no checks",
        "What was copied stays in ECR, and gets older. Checks resume with the next run of schedule_checks.",
        "See the log of schedule_checks, and check that its EventBridge rule is enabled.",
        over_one="are checked again",
        over_many="are checked again",
    ),
    AlertKind.DEMAND_LIMIT: Words(
        "adds no more mirrors today: its daily_limit is reached",
        "add no more mirrors today: their daily_limit is reached",
        "Pullahead keeps existing mirrors fresh. First pulls of other tags are ignored until midnight UTC.",
        "If intended, raise daily_limit in the rules. Otherwise find out who pulls (CloudTrail, BatchGetImage), and "
        "narrow allow.",
        over_one="adds mirrors again",
        over_many="add mirrors again",
    ),
    AlertKind.RETIRED: Words(
        "is no longer in the rules",
        "are no longer in the rules",
        "What was copied stays in ECR, but is no longer refreshed. Pullahead deletes the history in 7 days.",
        "If intended, nothing. Otherwise add it back within 7 days; its history is kept.",
        AlertSeverity.NOTICE,
    ),
    AlertKind.RECORD_DAMAGED: Words(
        "had a record that could not be read",
        "had records that could not be read",
        "Pullahead has checked again and recorded what it found. The history is lost, and open alerts may be repeated.",
        "Find out who else writes into the table of records (its PutItem and UpdateItem in CloudTrail's data events).",
        AlertSeverity.NOTICE,
    ),
}


MAX_NAMED = 10
"""Mirrors that a message names; the others are counted."""

_MAX_SUBJECT = 100
"""Amazon SNS API reference, Publish, Subject: up to 100 characters, ASCII, no line breaks."""
_MAX_CAUSE, _MAX_CAUSE_OF_MANY, _MAX_CAUSE_LINES = 600, 240, 20
_LABEL_WIDTH = 15
_ABOUT_PULLAHEAD = frozenset(
    {AlertKind.RULES_BROKEN, AlertKind.RULES_EMPTY, AlertKind.RULES_SKIPPED, AlertKind.NOT_CHECKED}
)
"""Kinds that are about Pullahead itself, not about mirrors."""
_ABOUT_RULES = frozenset({AlertKind.UNLISTED, AlertKind.DEMAND_LIMIT})
"""Kinds that are about a rule that selects mirrors."""


class Notice(NamedTuple):
    """One message: what begins, or is over, for one mirror or for many of one upstream registry."""

    kind: AlertKind
    about: AlertKind  # what begins or, where `kind` is RECOVERED, is over
    incident: str
    members: tuple[Alert, ...]  # at most MAX_NAMED
    mirrors: int  # how many it is about
    still_open: int  # how many are open in the incident; these included, unless they are over
    at: datetime
    restored: bool = False  # DRIFT: all of them are restored
    rules: int = 0  # how many of them are listings of rules
    copied: int = 0  # how many mirrors of them ECR has a copy of
    uncopied: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it says that something is over."""
        return self.kind is AlertKind.RECOVERED

    @property
    def host(self) -> str:
        """The upstream registry; "" if it is about Pullahead itself."""
        return "" if self.about in _ABOUT_PULLAHEAD else self.members[0].host

    @property
    def mirror(self) -> str:
        """The mirror, if it is about one only."""
        return str(self.members[0].mirror) if self.mirrors == 1 and self.about not in _ABOUT_PULLAHEAD else ""

    @property
    def severity(self) -> AlertSeverity:
        """What the reader should do."""
        return AlertSeverity.RESOLVED if self.is_over else WORDS[self.about].severity

    @property
    def since(self) -> datetime:
        """When the first of them began."""
        return min(member.since for member in self.members)


def subject_of(notice: Notice) -> str:
    """Write the subject line: which mirror, or how many, and what happened."""
    text = f"Pullahead: {_who(notice)} {_what(notice)}".encode("ascii", "replace").decode()
    if len(text) <= _MAX_SUBJECT:
        return text
    tail = f"... {_what(notice)}"
    return text[: _MAX_SUBJECT - len(tail)] + tail


def headline_of(notice: Notice) -> str:
    """Write what happened as one sentence."""
    return f"{_who(notice)} {_what(notice)}."


def text_of(notice: Notice) -> str:
    """Write the message."""
    steps = [_labelled("Next", next_of(notice)), _labelled("To do", to_do_of(notice))]
    commands = [f"{'':{_LABEL_WIDTH}}{command}" for command in commands_of(notice)]
    return "\n".join([headline_of(notice), "", *_facts(notice), "", *steps, *commands])


def attributes_of(notice: Notice) -> dict[str, str]:
    """Return the message attributes, for subscription filters."""
    attributes = {
        "kind": notice.kind.value,
        "of": notice.about.value,
        "severity": notice.severity.value,
        "count": str(notice.mirrors),
        "upstream": notice.host,
        "mirror": notice.mirror,
    }
    return {name: value for name, value in attributes.items() if value}  # SNS accepts no empty ones


def next_of(notice: Notice) -> str:
    """Say what Pullahead does next."""
    if notice.is_over or notice.restored:
        return WORDS[AlertKind.RECOVERED].next
    return WORDS[notice.about].next.format(copies=_copies(notice)).rstrip()


def to_do_of(notice: Notice) -> str:
    """Say what the reader should do."""
    if notice.is_over:
        return "List the others:" if notice.still_open else WORDS[AlertKind.RECOVERED].to_do
    return WORDS[notice.about].to_do


def commands_of(notice: Notice) -> list[str]:
    """Write the commands that show more."""
    if notice.about in (AlertKind.RULES_BROKEN, AlertKind.RULES_SKIPPED):
        return [] if notice.is_over else ["pullahead validate FILE"]
    if notice.is_over:
        return ["pullahead status --stale"] if notice.still_open else []
    if notice.about in (AlertKind.RETIRED, AlertKind.NOT_CHECKED, AlertKind.RULES_EMPTY):
        return ["pullahead status"]
    if not notice.mirror:
        return ["pullahead status --stale"]
    commands = [f"pullahead why {shlex.quote(notice.mirror)}"]
    if notice.about is AlertKind.NOT_FOUND:
        commands.append(f"pullahead tags {parse_reference(notice.members[0].upstream).repository}")
    if notice.about in (AlertKind.ACCESS_DENIED, AlertKind.BLOCKED) and not _is_of_rules(notice):
        commands.append(f"pullahead refresh {shlex.quote(notice.mirror)}")
    return commands


def causes_of(notice: Notice) -> tuple[str, list[str]]:
    """Write the cause on one line: once if all that are named have the same but for their names, else for each."""
    alike = {member.detail.replace(member.upstream, "") for member in notice.members}
    if len(alike) == 1 and notice.mirrors > 1:
        return one_line(notice.members[0].detail, _MAX_CAUSE), [""] * len(notice.members)
    return "", [one_line(member.detail, _MAX_CAUSE_OF_MANY) for member in notice.members]


def when_of(notice: Notice) -> str:
    """Write since when it lasts, or from when to when it lasted."""
    until = f" to {moment_text(notice.at)}" if notice.is_over else ""
    return f"{moment_text(notice.since)}{until} ({span_text(notice.at - notice.since)})"


def was_of(notice: Notice) -> str:
    """Name what is over; "" if nothing is, or an older version did not record what it was."""
    return notice.about.value if notice.is_over and notice.about is not AlertKind.RECOVERED else ""


def others_of(notice: Notice) -> tuple[str, str]:
    """Label and count the open ones beside those that it is about; two "" if there are none."""
    if notice.is_over:
        return (
            ("Not recovered", f"{_number(notice, notice.still_open)} reported earlier")
            if notice.still_open
            else ("", "")
        )
    earlier = notice.still_open - notice.mirrors
    return ("Open", f"{_number(notice, notice.still_open)} ({earlier:,} reported earlier)") if earlier > 0 else ("", "")


def _facts(notice: Notice) -> list[str]:
    facts = [("Was", was_of(notice)), ("Lasted" if notice.is_over else "Since", when_of(notice))]
    others = [others_of(notice)]
    if notice.about in _ABOUT_PULLAHEAD:
        return [*_lines(facts), *_cause(notice.members[0])]
    if notice.mirrors == 1:
        (member,) = notice.members
        names = [
            ("Rule" if _is_of_rules(notice) else "Mirror", name_of(member.mirror)),
            ("Upstream", one_line(member.upstream, 500)),
        ]
        return [*_lines([*names, *facts]), *_cause(member), *_lines(others)]
    cause, _ = causes_of(notice)
    facts = [("Upstream", one_line(notice.host, 300)), *facts, ("Cause", without_links(cause)), *others]
    return [*_lines(facts), "", *_list(notice)]


def _lines(facts: Sequence[tuple[str, str]]) -> list[str]:
    return [_labelled(label, text) for label, text in facts if text]


def _labelled(label: str, text: str) -> str:
    return f"{f'{label}:':<{_LABEL_WIDTH}}{text}"


def _list(notice: Notice) -> list[str]:
    lines = []
    for member, cause in zip(notice.members, causes_of(notice)[1], strict=True):
        lines += [f"  {name_of(member.mirror)}", *([f"      {without_links(cause)}"] if cause else [])]
    more = notice.mirrors - len(notice.members)
    return [*lines, *([f"  and {more:,} more"] if more else [])]


def _cause(member: Alert) -> list[str]:
    """Write the cause: lines of Pullahead's own where it is about that, else one, without links, for it may quote."""
    if member.kind in _ABOUT_PULLAHEAD or member.of in _ABOUT_PULLAHEAD:
        written = [line for line in member.detail.split("\n") if line.strip()][:_MAX_CAUSE_LINES]
    else:
        written = [without_links(member.detail)] if member.detail.strip() else []
    lines = [one_line(line, _MAX_CAUSE) for line in written]
    return [f"{'' if number else 'Cause:':<{_LABEL_WIDTH}}{line}" for number, line in enumerate(lines)]


def name_of(subject: Subject) -> str:
    """Name what an alert is about."""
    if isinstance(subject, RuleKey):
        return one_line(f"rule {subject.rule} of {subject.repository}", 500)
    return one_line(str(subject), 500)


def _is_of_rules(notice: Notice) -> bool:
    return notice.about in _ABOUT_RULES or notice.rules == notice.mirrors


def _copies(notice: Notice) -> str:
    """Say what ECR serves while mirrors are not fresh."""
    copied, uncopied = notice.copied, notice.uncopied
    if copied and uncopied:
        rest = f"{uncopied:,} {'has' if uncopied == 1 else 'have'} no copy yet"
        return f"ECR serves the last copy of {copied:,} of them; {rest}."
    if copied:
        return "ECR serves the last copy meanwhile." if copied == 1 else "ECR serves the last copies meanwhile."
    if uncopied:
        return f"ECR has no {'copy' if uncopied == 1 else 'copies'} yet: there is nothing to pull."
    return ""


def _who(notice: Notice) -> str:
    if notice.mirrors == 1:
        return name_of(notice.members[0].mirror)
    return f"{_number(notice, notice.mirrors)} of {notice.host}"


def _what(notice: Notice) -> str:
    words, is_one = WORDS[notice.about], notice.mirrors == 1
    if notice.is_over and _is_of_rules(notice) and notice.about not in _ABOUT_RULES:
        words = WORDS[AlertKind.UNLISTED]
    if notice.is_over:
        return words.over_one if is_one else words.over_many
    if _is_of_rules(notice) and notice.about not in (*_ABOUT_RULES, AlertKind.RECORD_DAMAGED):
        return f"{WORDS[AlertKind.UNLISTED].one}: {words.one.partition(': ')[2]}"
    if notice.about is AlertKind.STALE and notice.uncopied == notice.mirrors:
        return "is missing in ECR: it is not copied yet" if is_one else "are missing in ECR: they are not copied yet"
    return (words.one if is_one else words.many) + (" and restored" if notice.restored else "")


def _number(notice: Notice, count: int) -> str:
    if _is_of_rules(notice):
        return _counted(count, "rule")
    if notice.rules and count == notice.mirrors:
        return f"{_counted(count - notice.rules, 'mirror')} and {_counted(notice.rules, 'rule')}"
    return f"{count:,} mirrors and rules" if notice.rules else _counted(count, "mirror")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + "s" * (count != 1)
