"""Alerts as custom notifications of Amazon Q Developer in chat applications (AWS Chatbot), for Slack and Teams.

Amazon Q Developer in chat applications Administrator Guide, "Custom notifications".
"""

import hashlib
import re

import msgspec

from pullahead.alerts.text import (
    Notice,
    causes_of,
    commands_of,
    headline_of,
    name_of,
    next_of,
    others_of,
    subject_of,
    to_do_of,
    was_of,
    when_of,
)
from pullahead.text import without_links

_MAX_DESCRIPTION = 7_500  # the guide allows 8,000 characters
_MAX_TITLE, _MAX_STEP, _MAX_KEYWORD = 250, 350, 75
_ICONS = {"action": ":rotating_light:", "notice": ":information_source:", "resolved": ":white_check_mark:"}
_MARKUP = re.compile(r"[\\`*_~|\[\]()!#]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class _Content(msgspec.Struct, rename="camel"):
    text_type: str
    title: str
    description: str
    next_steps: list[str]
    keywords: list[str]


class _Metadata(msgspec.Struct, rename="camel"):
    thread_id: str
    summary: str
    event_type: str
    related_resources: list[str]
    additional_context: dict[str, str]


class _Notification(msgspec.Struct, rename="camel"):
    version: str
    source: str
    id: str
    content: _Content
    metadata: _Metadata


def chatbot_json(notice: Notice) -> str:
    """Write a message as JSON."""
    identity = f"{notice.incident} {notice.kind} {notice.at.isoformat()}"
    notification = _Notification(
        "1.0", "custom", hashlib.sha256(identity.encode()).hexdigest()[:32], _content(notice), _metadata(notice)
    )
    return msgspec.json.encode(notification).decode()


def escaped(text: str) -> str:
    """Escape text from outside: it makes no link, no emphasis and mentions nobody."""
    plain = "".join(_ENTITIES.get(letter, letter) for letter in without_links(text))
    return _MARKUP.sub(lambda found: f"\\{found[0]}", plain).replace("@", "@\N{ZERO WIDTH SPACE}")


def code(text: str) -> str:
    """Write text as code, within backticks that it cannot close."""
    plain = "".join(_ENTITIES.get(letter, letter) for letter in text.replace("`", "'"))
    return f"`{plain}`"


def _content(notice: Notice) -> _Content:
    steps = [to_do_of(notice), *(f"Run {code(command)}" for command in commands_of(notice))]
    keywords = ["Pullahead", notice.about.value, *([notice.host] if notice.host else [])]
    return _Content(
        "client-markdown",
        f"{_ICONS[notice.severity.value]} {escaped(headline_of(notice))}"[:_MAX_TITLE],
        _description(notice),
        [step[:_MAX_STEP] for step in steps],
        [keyword[:_MAX_KEYWORD] for keyword in keywords],
    )


def _metadata(notice: Notice) -> _Metadata:
    context = {"kind": notice.kind.value, "severity": notice.severity.value, "count": str(notice.mirrors)}
    return _Metadata(
        hashlib.sha256(notice.incident.encode()).hexdigest()[:32],
        subject_of(notice),
        notice.about.value,
        [str(member.mirror) for member in notice.members],
        context | ({"upstream": notice.host} if notice.host else {}),
    )


def _description(notice: Notice) -> str:
    common, causes = causes_of(notice)
    labelled = [
        ("Was", was_of(notice)),
        ("Lasted" if notice.is_over else "Since", when_of(notice)),
        others_of(notice),
        ("Cause", escaped(common)),
    ]
    facts = [f"*{label}* {text}" for label, text in labelled if text]
    lines = [
        f"• {code(name_of(member.mirror))}" + (f" {escaped(cause)}" if cause else "")
        for member, cause in zip(notice.members, causes, strict=True)
    ]
    more = notice.mirrors - len(notice.members)
    lines += [f"… and {more:,} more"] if more else []
    text = "\n".join([*facts, *lines, "", next_of(notice)])
    return text if len(text) <= _MAX_DESCRIPTION else f"{text[: _MAX_DESCRIPTION - 1]}…"
