"""`status`, `history`, `why`, `refresh`, `pause`, `resume`: what is shown, what is written, and the exit codes."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from pullahead.cli.arguments import parse_arguments
from pullahead.cli.exits import NOT_FRESH
from pullahead.cli.history import history_lines, run_history
from pullahead.cli.pausing import run_pause
from pullahead.cli.refreshing import run_refresh
from pullahead.cli.stack_arguments import (
    HistoryArguments,
    PauseArguments,
    Place,
    RefreshArguments,
    StatusArguments,
    WhyArguments,
)
from pullahead.cli.status import read_status, run_status, watch
from pullahead.cli.status_table import Standing, status_table
from pullahead.cli.why import run_why
from pullahead.dashboard.mirror_rows import row_of
from pullahead.errors import ConfigError
from pullahead.mirrors.record import Past, RefreshFailure, State, Transition, transitions_of
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.memory import FakeClock
from tests.fakes.samples import KEY, REPOSITORY, digest, mirror, rule, rules
from tests.fakes.stack import FakeStack
from tests.fakes.standing import fresh, unfresh

NOW = FakeClock()()
PLACE = Place("pullahead", None)
NAME = MirrorKey(REPOSITORY, "1.0")
Outputs = Callable[[], str]


@pytest.fixture
def stack() -> FakeStack:
    made = FakeStack(rules([mirror("1.0"), mirror("2.0")], "rules-1", rule("1.0", "2.0")))
    long_ago = datetime.now(UTC) - timedelta(days=2)
    made.records.stored = {
        KEY: unfresh(KEY, State.STALE, long_ago, upstream_digest=digest("a")),
        MirrorKey(REPOSITORY, "2.0"): fresh(f"{REPOSITORY}:2.0", long_ago),
    }
    return made


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Outputs:
    return lambda: capsys.readouterr().out


def status(**changes: Any) -> StatusArguments:
    return StatusArguments(PLACE, False, "", False, "rules.yaml", False, False)._replace(**changes)


def drawn(*standings: Standing, width: int = 200, checked_at: datetime | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(status_table(standings, checked_at, NOW))
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue().splitlines()


class TestStatus:
    def test_something_that_is_not_fresh_is_exit_code_three(self, stack: FakeStack, out: Outputs) -> None:
        assert run_status(status(), stack.deployed) == NOT_FRESH == 3
        shown = out()
        assert shown.index("▲ STALE") < shown.index("● FRESH")
        assert "1 STALE, 1 FRESH; no check was sent yet" in shown

    def test_all_fresh_is_exit_code_zero(self, stack: FakeStack, out: Outputs) -> None:
        assert run_status(status(prefix=f"{REPOSITORY}:2"), stack.deployed) == 0
        assert str(KEY) not in out()

    def test_stale_shows_only_what_is_not_fresh(self, stack: FakeStack, out: Outputs) -> None:
        assert run_status(status(stale=True, json=True), stack.deployed) == NOT_FRESH
        assert [each["mirror"] for each in json.loads(out())["mirrors"]] == [str(KEY)]
        del stack.records.stored[KEY]
        assert run_status(status(stale=True), stack.deployed) == 0

    def test_mirror_that_is_to_be_forgotten_is_not_shown(self, stack: FakeStack, out: Outputs) -> None:
        stack.records.stored[KEY] = stack.records.stored[KEY].with_changes(expires_at=NOW)
        assert run_status(status(), stack.deployed) == 0
        assert str(KEY) not in out()

    def test_quiet_writes_nothing(self, stack: FakeStack, out: Outputs) -> None:
        assert run_status(status(quiet=True), stack.deployed) == NOT_FRESH
        assert out() == ""

    def test_json_has_every_row_with_what_a_script_wants(self, stack: FakeStack, out: Outputs) -> None:
        stack.records.heartbeat = Heartbeat(NOW, "rules-1")
        run_status(status(json=True), stack.deployed)
        document = json.loads(out())
        assert document["counts"]["STALE"] == document["counts"]["FRESH"] == 1
        assert document["checked_at"] == "2026-11-24T09:00:00Z"
        stale = document["mirrors"][0]
        assert 2 * 86400 <= stale["unfresh_seconds"] < 2 * 86400 + 60
        assert (stale["state"], stale["paused"], stale["cause"]) == ("STALE", False, None)

    def test_paused_mirrors_say_so_and_rules_are_read_only_for_them(self, stack: FakeStack) -> None:
        assert [each.paused for each in read_status(status(), stack.deployed).standings] == [False, False]
        assert stack.script.count("rules rules.yaml") == 0
        stack.pauses.pause("app")
        assert [each.paused for each in read_status(status(), stack.deployed).standings] == [True, True]

    def test_watch_draws_until_it_is_told_to_stop(self, stack: FakeStack) -> None:
        waits = iter([False, False, True])
        asked: list[float] = []

        def wait(seconds: float) -> bool:
            asked.append(seconds)
            return next(waits)

        assert watch(lambda: read_status(status(), stack.deployed), wait) == NOT_FRESH
        assert asked == [5.0] * 3
        assert stack.script.count("scan") == 3

    def test_watch_wants_a_terminal(self, stack: FakeStack) -> None:
        with pytest.raises(ConfigError, match="--watch draws on a terminal"):
            run_status(status(watch=True), stack.deployed)


class TestTable:
    def test_blocked_mirror_says_why_and_when_it_is_tried_again(self) -> None:
        failure = RefreshFailure(digest("a"), "TagImmutableError", "immutable.", True, 1, NOW + timedelta(hours=5))
        record = unfresh(KEY, State.BLOCKED, NOW - timedelta(hours=3), failure=failure)
        _, row, summary = drawn(Standing(row_of(record, NOW)))
        assert row.split() == ["■", "BLOCKED", str(KEY), "3", "h", "-", *["immutable;", "next", "try", "in", "5", "h"]]
        assert summary.rstrip() == "1 BLOCKED; no check was sent yet, 2026-11-24 09:00 UTC"

    def test_names_like_markup_are_shown_as_they_are(self) -> None:
        record = unfresh("mirror/[red]x:1", State.UNKNOWN, NOW, error="[link=http://a]b", error_kind="E")
        shown = "\n".join(drawn(Standing(row_of(record, NOW))))
        assert "mirror/[red]x:1" in shown
        assert "[link=http://a]b" in shown

    def test_narrow_terminal_loses_nothing(self) -> None:
        key = f"mirror/{'a' * 60}:1"
        lines = drawn(Standing(row_of(fresh(key, NOW), NOW)), width=60)
        assert "".join("".join(line.split()) for line in lines).count("a" * 20) >= 1
        assert sum(line.count("a") for line in lines[1:-1]) == 60

    def test_nothing_at_all(self) -> None:
        assert drawn() == ["no mirrors; no check was sent yet, 2026-11-24 09:00 UTC"]

    def test_every_state_has_a_shape_of_its_own(self) -> None:
        rows = drawn(*(Standing(row_of(unfresh(KEY, state, NOW), NOW)) for state in State))[1:-1]
        assert len({row[0] for row in rows}) == len(State)


class TestHistory:
    STORED = (
        Transition(NOW - timedelta(hours=30), KEY, State.MISSING),
        Transition(NOW - timedelta(hours=29), KEY, State.FRESH),
        Transition(NOW - timedelta(hours=1), KEY, State.STALE),
    )

    def test_states_are_shown_with_how_long_they_lasted(self) -> None:
        assert history_lines(self.STORED, NOW) == [
            "2026-11-23 03:00 UTC  MISSING  1 h",
            "2026-11-23 04:00 UTC  FRESH    1 d 4 h",
            "2026-11-24 08:00 UTC  STALE    1 h until now",
        ]

    def test_only_the_mirror_and_the_time_that_was_asked_for(self) -> None:
        past = tuple(Past(each.at, each.state) for each in self.STORED[:-1])
        record = unfresh(KEY, State.STALE, self.STORED[-1].at).with_changes(past=past)
        assert transitions_of(record, NOW - timedelta(hours=2)) == list(self.STORED[1:])

    def test_known_mirror_without_transitions_and_unknown_one(self, stack: FakeStack, out: Outputs) -> None:
        assert run_history(HistoryArguments(PLACE, NAME, 7, False, False), stack.deployed) == 0
        (line,) = out().splitlines()
        assert line.endswith(" until now")
        assert stack.script.calls == ["load"], "one record is read, not all of them"
        with pytest.raises(ConfigError, match="nothing is known of mirror/app:9"):
            run_history(HistoryArguments(PLACE, MirrorKey(REPOSITORY, "9"), 7, False, False), stack.deployed)


class TestWhy:
    def test_steps_below_each_other(self, stack: FakeStack, out: Outputs) -> None:
        assert run_why(WhyArguments(PLACE, NAME, False, frozenset(), "r", False, False), stack.deployed) == 0
        lines = out().splitlines()
        assert lines[0] == str(KEY)
        assert [line.split()[0] for line in lines[1:]] == ["rule", "upstream", "ECR", "verdict", "next"]

    def test_mirror_that_nobody_knows_is_an_error(self, stack: FakeStack) -> None:
        unknown = WhyArguments(PLACE, MirrorKey(REPOSITORY, "9"), False, frozenset(), "r", False, False)
        with pytest.raises(ConfigError, match="no rule follows mirror/app:9"):
            run_why(unknown, stack.deployed)


class TestRefresh:
    def test_check_is_queued_as_a_humans(self, stack: FakeStack, out: Outputs) -> None:
        assert run_refresh(RefreshArguments(PLACE, NAME, "r", False, False), stack.deployed) == 0
        (request,) = stack.queue.sent
        assert (request.reason, request.repository, request.tags) == ("manual", REPOSITORY, ("1.0",))
        assert out() == f"{KEY} will be checked now, and refreshed from ghcr.io/team/app:1.0 unless it is fresh\n"

    def test_mirror_of_a_paused_rule_is_refused(self, stack: FakeStack) -> None:
        stack.pauses.pause("app")
        with pytest.raises(ConfigError, match="pullahead resume app"):
            run_refresh(RefreshArguments(PLACE, NAME, "r", False, False), stack.deployed)
        assert stack.queue.sent == []

    def test_mirror_that_no_rule_follows_is_refused(self, stack: FakeStack) -> None:
        with pytest.raises(ConfigError, match="no rule follows mirror/app:9"):
            run_refresh(RefreshArguments(PLACE, MirrorKey(REPOSITORY, "9"), "r", False, False), stack.deployed)


class TestPause:
    def pause(self, stack: FakeStack, rule: str = "app", *, paused: bool = True) -> int:
        return run_pause(PauseArguments(PLACE, rule, paused, "r", True, False), stack.deployed)

    def test_pausing_and_resuming_say_whether_anything_changed(self, stack: FakeStack, out: Outputs) -> None:
        assert [self.pause(stack), self.pause(stack)] == [0, 3]
        assert stack.pauses.rules == {"app"}
        assert [self.pause(stack, paused=False), self.pause(stack, paused=False)] == [0, 3]
        assert stack.pauses.rules == set()
        assert out().count('"changed": true') == 2

    def test_rule_that_is_not_there_is_refused_with_the_one_that_was_meant(self, stack: FakeStack) -> None:
        with pytest.raises(ConfigError, match="no rule is called 'ap'"):
            self.pause(stack, "ap")
        assert stack.pauses.rules == set()

    def test_rule_that_is_gone_can_still_be_resumed(self, stack: FakeStack) -> None:
        stack.pauses.pause("gone")
        assert self.pause(stack, "gone", paused=False) == 0


class TestArguments:
    def test_each_command_is_parsed(self) -> None:
        parsed = parse_arguments(["status", "--stack", "other", "--stale", "--prefix", "a/"])
        assert parsed == StatusArguments(
            Place("other", None), True, "a/", False, "layers/rules/rules.yaml", False, False
        )
        assert parse_arguments(["history", str(KEY), "--days", "30"]) == HistoryArguments(PLACE, NAME, 30, False, False)
        assert parse_arguments(["resume", "a", "--rules", "r"]) == PauseArguments(PLACE, "a", False, "r", False, False)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["history", "mirror/app"],
            ["history", f"{KEY}@sha256:{'0' * 64}"],
            ["history", str(KEY), "--days", "31"],
            ["why", "UPPER/app:1.0"],
            ["refresh", "docker.io/library/alpine:3.20:1"],
            ["status", "--stack", "a", "--table", "b"],
            ["pause"],
        ],
    )
    def test_nonsense_is_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            parse_arguments(arguments)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
