"""Text from outside, at its source and at every output: it forges no line, steers no terminal, and makes no link."""

import argparse
import io
import json
from datetime import UTC, datetime

import pytest

from local.images import make_image, make_index
from pullahead.alerts.chatbot import chatbot_json
from pullahead.alerts.text import Notice, subject_of, text_of
from pullahead.cli.output import write_result
from pullahead.cli.why import Explanation, _document, steps_text
from pullahead.dashboard.explain import MirrorFacts, Step, explain
from pullahead.dashboard.mirror_rows import row_of
from pullahead.errors import ConfigError, RegistryUnavailableError
from pullahead.lambdas.log_lines import new_logger
from pullahead.messages import Failure
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.refresh_outcome import after_failure
from pullahead.mirrors.rule_record import ListingOutcome, judge_listing
from pullahead.oci import RawManifest, describe, media_types
from pullahead.oci.platforms import select_platforms
from pullahead.registry.request import Inquiry
from pullahead.text import escaped_json, one_line, printable
from tests.fakes.samples import KEY, failed, mirror, rule, rules

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
STEERING = {
    "escape": "\x1b[2J\x1b[31mred",
    "one-byte escape": "\x9b31mred",
    "title of the terminal": "\x1b]0;title\x07",
    "carriage return": "all is well\rforged",
    "forged line": "cause\nalert_after: FRESH since now",
    "line separator": "cause\u2028forged\u2029forged",
    "right to left": "\u202egnp.exe\u202c",
    "isolate": "\u2066hidden\u2069",
    "zero width": "ad\u200bmin",
    "backspace": "denied\x08\x08\x08\x08\x08\x08granted",
    "nothing": "a\x00b\x7f",
}
LINKS = {
    "address": "see http://evil.example/login",
    "address over TLS": "see https://evil.example",
    "address without a scheme": "see www.evil.example",
    "markdown": "[click](http://evil.example)",
    "image": "![x](https://evil.example/pixel)",
    "link of Slack": "<http://evil.example|AWS console>",
}
MENTIONS = {
    "channel": "<!channel>",
    "here": "@here",
    "everyone": "@everyone",
    "user": "<@U0123>",
    "team": "<!subteam^S1>",
}

attacks = pytest.mark.parametrize("attack", STEERING.values(), ids=STEERING)


def is_clean(text: str) -> bool:
    return text.isprintable()


class TestAtItsSource:
    @attacks
    def test_cause_of_a_registrys_error(self, attack: str) -> None:
        error = Inquiry("HEAD manifest", "evil.example/app:1").error(RegistryUnavailableError, attack)
        assert is_clean(str(error))

    def test_cause_of_a_registrys_error_is_cut(self) -> None:
        assert len(str(Inquiry("HEAD manifest", "a/b").error(RegistryUnavailableError, "x" * 100_000))) < 1200

    @attacks
    def test_platforms_of_an_index(self, attack: str) -> None:
        index = make_index([make_image(seed=1), make_image(seed=2)])
        document = json.loads(index.root.content)
        for entry in document["manifests"]:
            entry["platform"] = {"os": attack, "architecture": attack}
        content = json.dumps(document).encode()
        root = RawManifest(describe(content, media_types.OCI_INDEX), content)
        with pytest.raises(ConfigError) as caught:
            select_platforms(root, ["linux/amd64"], "evil.example/app:1")
        assert is_clean(str(caught.value))

    def test_platforms_of_an_index_are_cut(self) -> None:
        index = make_index([make_image(seed=1), make_image(seed=2)])
        document = json.loads(index.root.content)
        one = document["manifests"][0]
        names = ({"os": "x" * 1000, "architecture": str(number)} for number in range(2000))
        document["manifests"] = [{**one, "platform": platform} for platform in names]
        content = json.dumps(document).encode()
        with pytest.raises(ConfigError, match=r"and [0-9]+ more") as caught:
            select_platforms(
                RawManifest(describe(content, media_types.OCI_INDEX), content), ["linux/amd64"], "evil.example/app:1"
            )
        assert len(str(caught.value)) < 3000

    @attacks
    def test_error_that_step_functions_passes_on(self, attack: str) -> None:
        for cause in (attack, json.dumps({"errorMessage": attack})):
            assert is_clean(Failure("ConfigError", cause).text)

    @attacks
    def test_records_of_mirrors_and_rules(self, attack: str) -> None:
        error = failed(RegistryUnavailableError, attack)
        record = judge(Observation(error, None), None, mirror(), NOW).record
        assert record.error is not None
        assert is_clean(record.error)
        listed = judge_listing(ListingOutcome(None, error), None, rule(), NOW)
        assert listed.error is not None
        assert is_clean(listed.error)


class TestCommandLine:
    @attacks
    def test_text(self, attack: str, capsys: pytest.CaptureFixture[str]) -> None:
        write_result(argparse.Namespace(json=False, quiet=False), f"first\n{one_line(attack)} {attack}", None)
        written = capsys.readouterr().out
        assert is_clean(written.replace("\n", ""))

    @attacks
    def test_json_is_escaped_and_keeps_its_values(self, attack: str, capsys: pytest.CaptureFixture[str]) -> None:
        document = {attack: [attack, {"a": attack}]}
        write_result(argparse.Namespace(json=True, quiet=False), "", document)
        written = capsys.readouterr().out
        assert is_clean(written.replace("\n", ""))
        assert json.loads(written) == document

    @attacks
    def test_why_forges_no_step(self, attack: str) -> None:
        record = judge(Observation(make_image(seed=1).root.descriptor, None), None, mirror(), NOW).record
        assert record.upstream_digest is not None
        record = after_failure(record, record.upstream_digest, "ConfigError", attack, NOW)
        steps = explain(KEY, MirrorFacts(mirror(), record), rules(), NOW)
        explanation = Explanation(str(KEY), steps)
        assert len(steps_text(explanation).splitlines()) == 1 + len(steps)
        assert all(is_clean(step["text"]) for step in _document(explanation)["steps"])

    def test_lines_that_are_ours_stay(self) -> None:
        assert printable("one\n  two · …") == "one\n  two · …"
        assert escaped_json('{\n  "a": "ä…"\n}') == '{\n  "a": "ä…"\n}'
        assert steps_text(Explanation("a:1", [Step("rule", "text")])) == "a:1\n  rule  text"


def notice_of(detail: str, *, many: bool = False, upstream: str = "evil.example/app:1") -> Notice:
    keys = [KEY, *([type(KEY)("mirror/other", "2.0")] if many else [])]
    members = tuple(
        Alert(AlertKind.BLOCKED, key, upstream, NOW, NOW, f"{detail}{number if many else ''}")
        for number, key in enumerate(keys)
    )
    return Notice(AlertKind.BLOCKED, AlertKind.BLOCKED, "i", members, len(members), len(members), NOW)


class TestAlerts:
    @attacks
    @pytest.mark.parametrize("many", [False, True])
    def test_forges_no_line_of_a_mail(self, attack: str, many: bool) -> None:
        usual = text_of(notice_of("a cause", many=many))
        text = text_of(notice_of(attack.replace("\n", " "), many=many, upstream=f"evil.example/{attack}"))
        assert is_clean(text.replace("\n", ""))
        assert len(text.splitlines()) == len(usual.splitlines())
        assert is_clean(subject_of(notice_of(attack)))

    @pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
    @pytest.mark.parametrize("many", [False, True])
    def test_makes_no_link_in_a_mail(self, link: str, many: bool) -> None:
        text = text_of(notice_of(link, many=many))
        assert "evil.example" in text
        assert not any(begin in text for begin in ("http://evil", "https://evil", "www.evil"))

    @pytest.mark.parametrize("text", [*LINKS.values(), *MENTIONS.values()], ids=[*LINKS, *MENTIONS])
    @pytest.mark.parametrize("many", [False, True])
    def test_makes_no_link_and_no_mention_in_a_chat(self, text: str, many: bool) -> None:
        description = json.loads(chatbot_json(notice_of(text, many=many)))["content"]["description"]
        forbidden = ("http://", "https://", "www.", "](", "<", "@here", "@everyone", "@U0", "<!channel>")
        assert [each for each in forbidden if each in description] == []

    @attacks
    def test_steers_no_chat(self, attack: str) -> None:
        content = json.loads(chatbot_json(notice_of(attack)))["content"]
        assert is_clean(content["description"].replace("\n", "").replace("\N{ZERO WIDTH SPACE}", ""))


class TestOtherOutputs:
    @attacks
    def test_forges_no_log_line(self, attack: str) -> None:
        stream = io.StringIO()
        new_logger(service=attack, stream=stream).info(attack, extra={"error": attack})
        written = stream.getvalue()
        assert is_clean(written.removesuffix("\n"))
        assert json.loads(written)["error"] == attack

    @attacks
    def test_forges_no_row_of_the_table_of_mirrors(self, attack: str) -> None:
        record = judge(Observation(failed(RegistryUnavailableError, "down"), None), None, mirror(), NOW).record
        row = row_of(record.with_changes(error=attack, upstream=f"evil.example/{attack}"), NOW)
        assert is_clean(row.cause)
        assert is_clean(row.upstream)
