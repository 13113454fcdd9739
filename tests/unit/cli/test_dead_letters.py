"""`pullahead dead-letters`: what is listed, redriven, deleted and refused."""

import json
from argparse import Namespace
from datetime import UTC, datetime, timedelta

import pytest

from pullahead.cli.dead_letters import ask_on_terminal, lines_of, list_dead_letters, redrive_or_drop
from pullahead.cli.main import parse_arguments
from pullahead.cli.options import UsageError
from pullahead.dead_letters import DeadLetter, DeadLetterQueues, SourceQueue, describe_request
from pullahead.errors import ConfigError, StorageError
from pullahead.messages import CheckRequest, ListRequest
from tests.fakes.dead_letters import FakeDeadLetters
from tests.fakes.pulls import ALPINE, Pulls
from tests.fakes.samples import REPOSITORY, rules
from tests.fakes.stack import FakeStack

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LIST = parse_arguments(["dead-letters", "list"])
REDRIVE = parse_arguments(["dead-letters", "redrive", "--all", "--yes"])
DROP = parse_arguments(["dead-letters", "drop", "--all", "--yes"])
INVALID = '{"reason": "hunch"}'


@pytest.fixture
def stack() -> FakeStack:
    return FakeStack(rules())


@pytest.fixture
def place(stack: FakeStack) -> FakeDeadLetters:
    return stack.dead_letters


def check(*tags: str) -> str:
    return CheckRequest(reason="schedule", repository=REPOSITORY, tags=tags or ("1.0",), asked_at=NOW).to_json()


def asked_by(body: str, queue: SourceQueue = "checks") -> str | None:
    return describe_request(DeadLetter("1234", "r", body, NOW, None, "", None, queue))


def changed(arguments: Namespace, **options: object) -> Namespace:
    """Copy parsed arguments with other options."""
    return Namespace(**{**vars(arguments), **options})


def never(_question: str) -> bool:
    raise AssertionError("no prompt was expected")


class TestList:
    def test_each_message_shows_its_request_and_reason(
        self, stack: FakeStack, place: FakeDeadLetters, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place.keep(check(), "StorageError", "the table is busy", tries=5)
        assert list_dead_letters(LIST, stack.deployed.dead_letters) == 0
        first, asks, why, summary = capsys.readouterr().out.splitlines()
        assert first.startswith("00000001  checks, ")
        assert first.endswith(" ago, tries: 5")
        assert (asks, why) == ("  request  mirror/app:1.0", "  reason   StorageError: the table is busy")
        assert summary == "1 message"

    def test_listed_messages_are_released(self, stack: FakeStack, place: FakeDeadLetters) -> None:
        place.keep(check())
        list_dead_letters(LIST, stack.deployed.dead_letters)
        assert (len(place.letters), place.in_flight, place.queued) == (1, set(), [])

    def test_a_hundred_are_shown_and_the_rest_is_counted(
        self, stack: FakeStack, place: FakeDeadLetters, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(103):
            place.keep(check())
        list_dead_letters(LIST, stack.deployed.dead_letters)
        assert capsys.readouterr().out.endswith("\n100 messages, about 3 more in the queues\n")

    def test_json_has_every_field(
        self, stack: FakeStack, place: FakeDeadLetters, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place.keep(INVALID, "InvalidEventError", "hunch", NOW, 1)
        assert list_dead_letters(changed(LIST, json=True), stack.deployed.dead_letters) == 0
        document = json.loads(capsys.readouterr().out)
        (letter,) = document["dead_letters"]
        assert letter.pop("age_seconds") > 0
        assert letter == {
            "id": "00000001-0000-4000-8000-000000000000",
            "queue": "checks",
            "since": "2026-11-24T09:00:00Z",
            "tries": 1,
            "reason": "InvalidEventError",
            "text": "hunch",
            "asks": None,
            "body": INVALID,
        }
        assert document["more"] == 0

    def test_unreadable_message_without_a_reason_is_cut(self) -> None:
        letter = DeadLetter("1234567890", "r", "{\x1b[31m" + "x" * 100, NOW - timedelta(hours=3), None, "", None)
        assert lines_of(letter, NOW) == [
            "12345678  checks, 3 h ago",
            f"  request  unreadable: {{ [31m{'x' * 53}…",
            "  reason   unknown: the function ended before it could report one (timeout or out of memory); see its log",
        ]


class TestWhatItAsks:
    def test_checks_name_three_tags_and_count_the_rest(self) -> None:
        assert asked_by(check("1", "2", "3")) == "mirror/app:1,2,3"
        assert asked_by(check(*"12345")) == "mirror/app:1,2,3 and 2 more"

    def test_listing_names_its_rule(self) -> None:
        assert asked_by(ListRequest(rule="app", asked_at=NOW).to_json()) == "the listing of rule app"

    @pytest.mark.parametrize(
        ("tag", "asked"), [("3.20", "mirror/alpine:3.20"), ("", "nothing (untagged)"), (7, None), ("\ud800", None)]
    )
    def test_event_of_ecr_is_read_as_the_function_reads_it(self, tag: object, asked: str | None) -> None:
        event = {
            "source": "aws.ecr",
            "detail-type": "ECR Image Action",
            "account": "123456789012",
            "region": "eu-west-1",
            "time": "2026-11-24T09:00:00Z",
            "detail": {
                "result": "SUCCESS",
                "repository-name": "mirror/alpine",
                "image-digest": "sha256:" + "0" * 64,
                "action-type": "PUSH",
                "image-tag": tag,
            },
        }
        assert asked_by(json.dumps(event)) == asked

    @pytest.mark.parametrize("body", ["", "{", "null", INVALID, '{"kind": "list"}'])
    def test_unreadable_message_has_no_request(self, body: str) -> None:
        assert asked_by(body) is None

    def test_pull_is_read_as_notice_pulls_reads_it(self) -> None:
        pull = Pulls().message(str(ALPINE))
        assert asked_by(pull, "pulls") == str(ALPINE)
        assert str(asked_by("{", "pulls")).startswith("nothing (not a pull")
        assert asked_by(pull) == "nothing (unknown)"  # what check_freshness would do with it


class TestRedrive:
    def test_all_are_redriven_unchanged(self, place: FakeDeadLetters, capsys: pytest.CaptureFixture[str]) -> None:
        bodies = [place.keep(check(tag)).body for tag in "123"]
        assert redrive_or_drop(REDRIVE, place, never) == 0
        assert (place.queued, place.letters) == (bodies, {})
        assert capsys.readouterr().out == "3 messages redriven\n"

    def test_only_named_messages_are_redriven(self, place: FakeDeadLetters) -> None:
        letters = [place.keep(check(tag)) for tag in "123"]
        assert redrive_or_drop(changed(REDRIVE, ids=("00000002", letters[2].id, "00000003")), place, never) == 0
        assert place.queued == [letters[1].body, letters[2].body]
        assert list(place.letters) == [letters[0].id]
        assert letters[0].id not in place.in_flight

    @pytest.mark.parametrize(
        ("name", "expected"), [("0000", "2 dead letters begin with 0000"), ("ffff", "no dead letter")]
    )
    def test_id_that_fits_none_or_several_is_refused_and_nothing_is_redriven(
        self, place: FakeDeadLetters, name: str, expected: str
    ) -> None:
        place.keep(check())
        place.keep(check())
        with pytest.raises(ConfigError, match=expected):
            redrive_or_drop(changed(REDRIVE, ids=("00000001", name)), place, never)
        assert (len(place.letters), place.in_flight, place.queued) == (2, set(), [])

    def test_unreadable_message_is_redriven_only_by_force(
        self, place: FakeDeadLetters, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place.keep(INVALID)
        good = place.keep(check())
        assert redrive_or_drop(REDRIVE, place, never) == 1
        assert place.queued == [good.body]
        assert "00000001 skipped" in capsys.readouterr().err
        assert place.in_flight == {good.id}
        assert redrive_or_drop(REDRIVE, place, never) == 1
        assert redrive_or_drop(changed(REDRIVE, force=True), place, never) == 0
        assert place.queued == [good.body, INVALID]

    def test_failure_in_the_middle_releases_the_rest(self, place: FakeDeadLetters) -> None:
        letters = [place.keep(check(tag)) for tag in "123"]
        place.script.fail("put_back", StorageError("no"), passing=1)
        with pytest.raises(StorageError):
            redrive_or_drop(REDRIVE, place, never)
        assert (place.queued, list(place.letters)) == ([letters[0].body], [letters[1].id, letters[2].id])
        assert place.in_flight.isdisjoint(place.letters)

    def test_crash_between_queueing_and_deleting_repeats_and_loses_nothing(self, place: FakeDeadLetters) -> None:
        letter = place.keep(check())
        place.script.fail("drop", StorageError("no"))
        with pytest.raises(StorageError):
            redrive_or_drop(REDRIVE, place, never)
        assert redrive_or_drop(REDRIVE, place, never) == 0
        assert (place.queued, place.letters) == ([letter.body] * 2, {})

    def test_empty_queue_is_exit_code_zero(self, place: FakeDeadLetters, capsys: pytest.CaptureFixture[str]) -> None:
        assert redrive_or_drop(changed(REDRIVE, json=True), place, never) == 0
        assert json.loads(capsys.readouterr().out) == {"action": "redrive", "ids": [], "more": 0}


class TestTwoQueues:
    @pytest.fixture
    def pulls(self, place: FakeDeadLetters) -> FakeDeadLetters:
        """The pulls' place beside the checks', of one script."""
        return FakeDeadLetters(place.script, first_number=0x100)

    @pytest.fixture
    def both(self, place: FakeDeadLetters, pulls: FakeDeadLetters) -> DeadLetterQueues:
        return DeadLetterQueues({"checks": place, "pulls": pulls})

    def test_each_message_is_shown_with_its_queue(
        self,
        stack: FakeStack,
        both: DeadLetterQueues,
        place: FakeDeadLetters,
        pulls: FakeDeadLetters,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        vars(stack)["dead_letters"] = both
        place.keep(check(), "StorageError", "no")
        pulls.keep(Pulls().message(str(ALPINE)), "StorageError", "no")
        assert list_dead_letters(LIST, stack.deployed.dead_letters) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split(",")[0] for line in lines[::3]] == [
            "00000001  checks",
            "00000100  pulls",
            "2 messages",
        ]
        assert lines[4] == f"  request  {ALPINE}"
        assert (place.in_flight, pulls.in_flight) == (set(), set())

    def test_each_message_is_redriven_to_its_own_queue(
        self, both: DeadLetterQueues, place: FakeDeadLetters, pulls: FakeDeadLetters
    ) -> None:
        of_checks, of_pulls = place.keep(check()), pulls.keep(Pulls().message(str(ALPINE)))
        assert redrive_or_drop(REDRIVE, both, never) == 0
        assert (place.queued, pulls.queued) == ([of_checks.body], [of_pulls.body])

    def test_drop_deletes_the_named_message_only(
        self, both: DeadLetterQueues, place: FakeDeadLetters, pulls: FakeDeadLetters
    ) -> None:
        kept, _ = place.keep(check()), pulls.keep("{")
        assert redrive_or_drop(changed(DROP, ids=("00000100",)), both, never) == 0
        assert (list(place.letters), pulls.letters, place.in_flight) == ([kept.id], {}, set())
        assert place.script.count("release") == 1  # nothing of the one place is released in the other

    def test_full_queue_does_not_hide_the_other_and_the_rest_is_summed(
        self, both: DeadLetterQueues, place: FakeDeadLetters, pulls: FakeDeadLetters
    ) -> None:
        for _ in range(5):
            place.keep(check())
            pulls.keep("{")
        found = both.take(3)
        assert ([letter.queue for letter in found.letters].count("pulls"), found.more) == (3, 4)

    def test_failure_to_read_one_queue_releases_the_other(self, both: DeadLetterQueues, place: FakeDeadLetters) -> None:
        place.keep(check())
        place.script.fail("take", StorageError("no"), passing=1)
        with pytest.raises(StorageError):
            redrive_or_drop(REDRIVE, both, never)
        assert (len(place.letters), place.in_flight) == (1, set())


class TestDrop:
    def test_unreadable_message_is_deleted(self, place: FakeDeadLetters) -> None:
        place.keep(INVALID)
        assert redrive_or_drop(DROP, place, never) == 0
        assert (place.letters, place.queued) == ({}, [])


class TestAsking:
    @pytest.mark.parametrize(("answer", "left"), [(True, 0), (False, 2)])
    def test_nothing_is_redriven_before_it_is_confirmed(
        self, place: FakeDeadLetters, *, answer: bool, left: int
    ) -> None:
        asked: list[str] = []

        def confirm(question: str) -> bool:
            asked.append(question)
            assert (len(place.letters), place.queued) == (2, [])
            return answer

        place.keep(check())
        place.keep(check())
        assert redrive_or_drop(changed(REDRIVE, yes=False), place, confirm) == (0 if answer else 1)
        assert asked == ["2 messages will be redriven. Continue?"]
        assert len(place.letters) == left
        assert place.in_flight.isdisjoint(place.letters)

    def test_confirmation_without_a_terminal_is_refused(self) -> None:
        with pytest.raises(UsageError, match="--yes"):
            ask_on_terminal("Go on?")


class TestArguments:
    def test_each_action_is_parsed(self) -> None:
        assert parse_arguments(["dead-letters", "list", "--stack", "other"]).stack == "other"
        assert parse_arguments(["dead-letters", "list", "--json"]).json
        redrive = parse_arguments(["dead-letters", "redrive", "--all"])
        assert (redrive.stack, redrive.ids, redrive.yes, redrive.force) == ("pullahead", [], False, False)
        drop = parse_arguments(["dead-letters", "drop", "--yes", "0a1b", "cdef-"])
        assert (drop.action, drop.ids, drop.yes) == ("drop", ["0a1b", "cdef-"], True)

    @pytest.mark.parametrize(
        "arguments",
        [
            [],
            ["redrive"],
            ["drop", "--yes"],
            ["redrive", "--all", "0a1b"],
            ["redrive", "0a"],
            ["redrive", "zzzz"],
            ["list", "0a1b"],
            ["drop", "--all", "--force"],
        ],
    )
    def test_invalid_arguments_are_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            parse_arguments(["dead-letters", *arguments])
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
