"""Alert texts: valid for SNS and chats, and they say what to do."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pullahead.alerts.chatbot import chatbot_json, code, escaped
from pullahead.alerts.text import WORDS, AlertSeverity, Notice, attributes_of, next_of, subject_of, text_of
from pullahead.mirrors.alert import AlertKind
from tests.unit.alerts.every_alert import OF_PULLAHEAD, alert, every_notice, every_text, notice

APPROVED = Path(__file__).parent / "every_alert.txt"
KINDS = [kind for kind in AlertKind if kind is not AlertKind.RECOVERED]
OF_MIRRORS = [kind for kind in KINDS if kind not in OF_PULLAHEAD]


def about(mirror: str, detail: str = "", kind: AlertKind = AlertKind.STALE) -> Notice:
    from msgspec import structs

    member = structs.replace(alert(kind), mirror=mirror, detail=detail)
    return notice(kind)._replace(members=(member,))


def test_texts_are_the_approved_ones() -> None:
    assert every_text() == APPROVED.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_next_and_to_do(kind: AlertKind) -> None:
    text = text_of(notice(kind))
    assert f"Next:          {next_of(notice(kind))}\nTo do:         {WORDS[kind].to_do}" in text
    assert "{" not in text
    assert max(len(line) for line in text.splitlines() if not line.startswith("Cause:")) <= 170


@pytest.mark.parametrize("kind", OF_MIRRORS)
def test_text_of_many_names_ten_and_counts_the_rest(kind: AlertKind) -> None:
    text = text_of(notice(kind, 12_345))
    assert sum(line.startswith("  ") and "mirror/alpine" in line for line in text.splitlines()) == 10
    assert "  and 12,335 more" in text


WITH_COPIES = [kind for kind in KINDS if "{copies}" in WORDS[kind].next]


@pytest.mark.parametrize("kind", WITH_COPIES)
def test_text_says_which_mirrors_ecr_has_a_copy_of(kind: AlertKind) -> None:
    one, many = notice(kind), notice(kind, 500)
    assert "ECR serves the last copy meanwhile." in next_of(one)
    assert "ECR has no copy yet: there is nothing to pull." in next_of(one._replace(copied=0, uncopied=1))
    assert "ECR serves the last copies meanwhile." in next_of(many)
    assert "ECR has no copies yet" in next_of(many._replace(copied=0, uncopied=500))
    mixed = next_of(many._replace(copied=497, uncopied=3))
    assert "the last copy of 497 of them; 3 have no copy yet." in mixed


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_never_copied_is_never_said_to_be_served(kind: AlertKind) -> None:
    text = text_of(notice(kind)._replace(copied=0, uncopied=1, rules=0))
    assert "last copy" not in text
    assert "last copies" not in text


def test_trouble_of_a_registry_counts_mirrors_and_rules() -> None:
    both = notice(AlertKind.UPSTREAM_UNREACHABLE, 12)._replace(rules=2, copied=10)
    assert text_of(both).startswith("10 mirrors and 2 rules of docker.io cannot be checked")


def test_shared_cause_is_written_once() -> None:
    assert text_of(notice(AlertKind.STALE, 10)).count("the connection broke") == 1
    mixed = notice(AlertKind.STALE, 10)
    others = (*mixed.members[:9], alert(AlertKind.GONE, 9))
    assert text_of(mixed._replace(members=others)).count("the connection broke") == 9


@pytest.mark.parametrize(
    ("lasted", "span"),
    [
        (timedelta(), "(0 s)"),
        (timedelta(seconds=59), "(59 s)"),
        (timedelta(minutes=59, seconds=59), "(59 min)"),
        (timedelta(hours=1), "(1 h)"),
        (timedelta(days=1, minutes=30), "(1 d)"),
        (timedelta(days=30, hours=1), "(30 d 1 h)"),
        (timedelta(minutes=-5), "(0 s)"),  # the clock of another machine
    ],
)
def test_duration_is_readable(lasted: timedelta, span: str) -> None:
    member = alert(AlertKind.STALE, lasted=lasted)
    assert span in text_of(notice(AlertKind.STALE)._replace(members=(member,)))


def test_cause_cannot_add_a_line() -> None:
    text = text_of(about("mirror/a:1", "it is\x1b[2J down\r\nNext:          send us money"))
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("Next:")] == [
        f"Next:          {next_of(notice(AlertKind.STALE))}"
    ]


def test_long_cause_is_cut() -> None:
    assert len(text_of(about("mirror/a:1", "x" * 100_000))) < 2_000
    assert len(text_of(about("mirror/a:1", "x\n" * 100_000))) < 2_000


names = st.text("abz09/._-", min_size=1, max_size=150)


@given(st.sampled_from(OF_MIRRORS), st.builds("m{}:{}".format, names, names))
def test_subject_is_valid_for_sns_and_says_what_happened(kind: AlertKind, mirror: str) -> None:
    subject = subject_of(about(mirror, kind=kind))
    assert len(subject) <= 100
    assert subject.isascii()
    assert subject.isprintable()
    assert subject.startswith(f"Pullahead: {mirror}"[:24])
    assert subject.endswith(WORDS[kind].one)


@pytest.mark.parametrize("each", list(every_notice()), ids=lambda each: f"{each.kind}-{each.about}-{each.mirrors}")
def test_attributes_are_never_empty_and_every_subject_fits(each: Notice) -> None:
    attributes = attributes_of(each)
    assert all(attributes.values())
    assert ("mirror" in attributes) is (each.mirrors == 1 and each.about not in OF_PULLAHEAD)
    assert ("upstream" in attributes) is (each.about not in OF_PULLAHEAD)
    assert (attributes["severity"] == AlertSeverity.RESOLVED) is (attributes["kind"] == "RECOVERED")
    assert len(subject_of(each)) <= 100


class TestChat:
    """Amazon Q Developer in chat applications Administrator Guide, "Custom notifications"."""

    @pytest.mark.parametrize("each", list(every_notice()), ids=lambda each: f"{each.kind}-{each.about}-{each.mirrors}")
    def test_notification_has_the_documented_format(self, each: Notice) -> None:
        sent = json.loads(chatbot_json(each))
        assert (sent["version"], sent["source"]) == ("1.0", "custom")
        content, metadata = sent["content"], sent["metadata"]
        assert content.keys() == {"textType", "title", "description", "nextSteps", "keywords"}
        assert content["textType"] == "client-markdown"
        assert metadata.keys() == {"threadId", "summary", "eventType", "relatedResources", "additionalContext"}
        assert metadata["summary"] == subject_of(each)
        assert all(isinstance(value, str) for value in metadata["additionalContext"].values())
        assert len(content["description"]) < 8_000
        assert len(content["title"]) <= 250
        assert 1 <= len(content["nextSteps"]) <= 5

    def test_alert_and_recovery_share_a_thread(self) -> None:
        began, over = notice(AlertKind.STALE), notice(AlertKind.STALE, over=True)
        first, second = json.loads(chatbot_json(began)), json.loads(chatbot_json(over))
        assert first["metadata"]["threadId"] == second["metadata"]["threadId"]
        assert first["id"] != second["id"]

    def test_description_with_longest_causes_fits(self) -> None:
        crowded = notice(AlertKind.STALE, 10)
        members = tuple(
            structs.replace(member, mirror=f"{'m' * 255}:{'t' * 127}{number}", detail=f"{number} {'*<' * 5_000}")
            for number, member in enumerate(crowded.members)
        )
        assert len(json.loads(chatbot_json(crowded._replace(members=members)))["content"]["description"]) < 8_000

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("<!channel> <https://evil.example|click>", "&lt;!channel&gt; &lt;https\\[:\\]//evil.example\\|click&gt;"),
            ("*bold* _it_ ~no~", "\\*bold\\* \\_it\\_ \\~no\\~"),
            ("[text](https://evil.example)", "\\[text\\]\\(https\\[:\\]//evil.example\\)"),
            ("`code`", "\\`code\\`"),
            ("a & b", "a &amp; b"),
        ],
    )
    def test_markup_in_text_from_outside_is_escaped(self, text: str, shown: str) -> None:
        assert escaped(text).replace("\\!", "!") == shown

    def test_mention_in_text_is_escaped(self) -> None:
        assert "@here" not in escaped("@here")
        assert "@channel" not in json.loads(chatbot_json(about("m:1", "@channel")))["content"]["description"]

    def test_code_cannot_be_closed(self) -> None:
        assert code("a`b <c>") == "`a'b &lt;c&gt;`"
