"""`pullahead held`, `admit` and `reject`, on a stack in memory."""

import json
from datetime import timedelta

import pytest

from pullahead.admission.gates import HeldReason
from pullahead.cli.admission import decide, list_held, parse_held_digest
from pullahead.cli.main import parse_arguments
from pullahead.errors import ConfigError
from pullahead.mirrors.record import MirrorRecord, State, WaitingDigest
from pullahead.oci.reference import InvalidReferenceError
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.samples import KEY, UPSTREAM, digest, rules
from tests.fakes.stack import FakeStack
from tests.unit.admission.stories import after, at

B = digest("B")
WAITING = WaitingDigest(B, at(100), at(172))


@pytest.fixture
def stack() -> FakeStack:
    made = FakeStack(rules())
    seen = after("0 A, 0 +A, 100 B")
    record = MirrorRecord(KEY, UPSTREAM, State.COOLING, at(100), admission=seen, waiting=WAITING)
    made.records.put(record)
    return made


def run(stack: FakeStack, *words: str) -> int:
    arguments = parse_arguments(words)
    return list_held(arguments, stack.deployed) if words[0] == "held" else decide(arguments, stack.deployed)


def known(stack: FakeStack) -> MirrorRecord:
    found = stack.records.stored[KEY]
    assert isinstance(found, MirrorRecord)
    return found


@pytest.mark.parametrize(("command", "admits"), [("admit", True), ("reject", False)])
def test_decision_is_written_with_who_and_why_and_a_check_is_queued(
    stack: FakeStack, command: str, admits: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(stack, command, f"{KEY}@{B}", "--reason", "because") == 0
    seen = known(stack).admission
    assert seen is not None
    made = seen.decision_of(B)
    assert made is not None
    assert (made.admits, made.by, made.reason) == (admits, stack.caller, "because")
    (request,) = stack.queue.sent
    assert (request.reason, request.repository, request.tags) == ("manual", KEY.repository, (KEY.tag,))
    assert f"{command}{'ted' if admits else 'ed'} {B} for {KEY} as {stack.caller}" in capsys.readouterr().out


def test_later_decision_takes_the_place_of_the_earlier_one(stack: FakeStack) -> None:
    run(stack, "reject", f"{KEY}@{B}")
    run(stack, "admit", f"{KEY}@{B}")
    seen = known(stack).admission
    assert seen is not None
    assert [each.admits for each in seen.decisions] == [True]


def test_digest_that_is_not_held_is_not_admitted(stack: FakeStack) -> None:
    with pytest.raises(ConfigError, match=f"{digest('C')} is not held for {KEY}: held are {B}"):
        run(stack, "admit", f"{KEY}@{digest('C')}")
    assert stack.queue.sent == []


def test_digest_that_upstream_has_not_served_yet_may_be_rejected(stack: FakeStack) -> None:
    assert run(stack, "reject", f"{KEY}@{digest('C')}") == 0


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (None, "has no record"),
        (MirrorRecord(KEY, UPSTREAM, State.FRESH, at(0)), "has no `admit`"),
    ],
)
def test_mirror_of_which_nothing_is_held_is_refused(record: MirrorRecord | None, text: str) -> None:
    stack = FakeStack(rules())
    if record is not None:
        stack.records.put(record)
    with pytest.raises(ConfigError, match=text):
        run(stack, "admit", f"{KEY}@{B}")


@pytest.mark.parametrize("text", [str(KEY), f"mirror/app@{B}", "mirror/app"])
def test_name_without_a_tag_or_a_digest_is_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError, match="names no digest under a tag"):
        parse_held_digest(text)


def test_address_in_ecr_names_a_digest_too() -> None:
    host = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    assert parse_held_digest(f"{host}/mirror/app:1.0@{B}") == (KEY, B)


def test_what_waits_is_listed_the_longest_first(stack: FakeStack, capsys: pytest.CaptureFixture[str]) -> None:
    other, reported = MirrorKey("mirror/app", "2.0"), MirrorKey("mirror/app", "3.0")
    held = WaitingDigest(digest("C"), at(50), because=HeldReason.WAITING_APPROVAL)
    would = WaitingDigest(digest("D"), at(120), at(192), reported=True)
    stack.records.put(MirrorRecord(other, UPSTREAM, State.HELD, at(50), waiting=held))
    stack.records.put(MirrorRecord(reported, UPSTREAM, State.FRESH, at(120), waiting=would))
    assert run(stack, "held") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0].split()[0] for line in lines] == ["HELD", "COOLING", "would"]
    assert f"HELD     {other}@{digest('C')}  WAITING_APPROVAL; first seen" in lines[0]
    assert f"COOLING  {KEY}@{B}  until 2026-03-08 04:00 UTC" in lines[1]
    assert run(stack, "held", "--json") == 0
    document = json.loads(capsys.readouterr().out)["held"]
    assert [(each["mirror"], each["state"], each["reported"]) for each in document] == [
        (str(other), "HELD", False),
        (str(KEY), "COOLING", False),
        (str(reported), "FRESH", True),
    ]
    assert document[1]["until"] == (at(100) + timedelta(hours=72)).isoformat().replace("+00:00", "Z")


def test_nothing_that_waits_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(FakeStack(rules()), "held") == 0
    assert capsys.readouterr().out == "nothing is held\n"
