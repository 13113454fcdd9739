"""`status`, `history`, `why`, `refresh`, `pause` and `resume`: output, writes and exit codes."""

import io
import json
import re
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from pullahead.cli.history import history_lines, show_history
from pullahead.cli.main import parse_arguments
from pullahead.cli.options import UsageError
from pullahead.cli.pause import set_paused
from pullahead.cli.refresh import request_refresh
from pullahead.cli.status import MirrorRow, read_status, show_status, status_lines, status_table, watch
from pullahead.cli.why import show_why
from pullahead.dashboard.mirror_rows import row_of
from pullahead.errors import ConfigError
from pullahead.messages import ReferrersOutcome
from pullahead.mirrors.record import Past, RefreshFailure, State, Transition, Trigger, transitions_of
from pullahead.mirrors.record_scan import RecordScan, ScanState
from pullahead.mirrors.referrers import KnownReferrers
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock
from tests.fakes.records import fresh, listing_record, unfresh
from tests.fakes.samples import KEY, REPOSITORY, digest, mirror, rule, rules
from tests.fakes.stack import FakeStack

NOW = FakeClock()()
UNKNOWN = f"{REPOSITORY}:9"
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


def status(*options: str) -> Namespace:
    return parse_arguments(["status", "--rules", "rules.yaml", *options])


def drawn(*mirrors: MirrorRow, width: int = 200, checked_at: datetime | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(status_table(mirrors, checked_at, NOW))
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue().splitlines()


def copied(count: int, failed: int = 0) -> KnownReferrers:
    return KnownReferrers(digest("a"), NOW, ReferrersOutcome("f", count, 500, failed=failed))


class TestStatus:
    def test_stale_mirror_is_exit_code_three_with_check_and_zero_without(self, stack: FakeStack, out: Outputs) -> None:
        assert show_status(status("--check"), stack.deployed) == 3
        shown = out()
        assert shown.index("▲ STALE") < shown.index("● FRESH")
        assert "1 STALE, 1 FRESH; no checks sent yet" in shown
        assert show_status(status(), stack.deployed) == 0

    def test_fresh_mirrors_are_exit_code_zero_with_check(self, stack: FakeStack, out: Outputs) -> None:
        assert show_status(status("--check", "--prefix", f"{REPOSITORY}:2"), stack.deployed) == 0
        assert str(KEY) not in out()

    def test_stale_shows_only_mirrors_that_are_not_fresh(self, stack: FakeStack, out: Outputs) -> None:
        assert show_status(status("--stale", "--check", "--json"), stack.deployed) == 3
        assert [each["mirror"] for each in json.loads(out())["mirrors"]] == [str(KEY)]
        del stack.records.stored[KEY]
        assert show_status(status("--stale", "--check"), stack.deployed) == 0

    def test_stale_shows_fresh_mirrors_whose_referrers_failed(self, stack: FakeStack, out: Outputs) -> None:
        stack.records.stored = {KEY: fresh(KEY, NOW, referrers=copied(1, failed=1))}
        assert show_status(status("--stale", "--check", "--json"), stack.deployed) == 0
        (mirror,) = json.loads(out())["mirrors"]
        assert (mirror["state"], mirror["referrers"], mirror["referrers_failed"]) == ("FRESH", 1, 1)

    def test_expiring_record_is_not_shown(self, stack: FakeStack, out: Outputs) -> None:
        stack.records.stored[KEY] = stack.records.stored[KEY].with_changes(expires_at=NOW)
        assert show_status(status("--check"), stack.deployed) == 0
        assert str(KEY) not in out()

    def test_quiet_writes_nothing(self, stack: FakeStack, out: Outputs) -> None:
        assert show_status(status("--check", "--quiet"), stack.deployed) == 3
        assert out() == ""

    @pytest.mark.parametrize("options", [("--stale",), ("--check", "--quiet")])
    def test_what_is_not_fresh_is_read_by_the_index_once_a_scan_has_ended(
        self, stack: FakeStack, options: tuple[str, ...]
    ) -> None:
        stack.records.unindexed = {*stack.records.stored}  # by an older version
        before = show_status(status(*options, "--check"), stack.deployed)
        stack.records.unindexed.clear()
        stack.records.scan_state = ScanState(last=RecordScan(NOW, ended_at=NOW))
        assert (before, show_status(status(*options, "--check"), stack.deployed)) == (3, 3)
        assert (stack.records.script.count("scan"), stack.records.script.count("to_review")) == (1, 1)

    def test_json_has_every_mirror_with_figures(self, stack: FakeStack, out: Outputs) -> None:
        stack.records.heartbeat = Heartbeat(NOW, "rules-1")
        show_status(status("--json"), stack.deployed)
        document = json.loads(out())
        assert document["counts"]["STALE"] == document["counts"]["FRESH"] == 1
        assert document["checked_at"] == "2026-11-24T09:00:00Z"
        stale = document["mirrors"][0]
        assert 2 * 86400 <= stale["unfresh_seconds"] < 2 * 86400 + 60
        assert (stale["state"], stale["paused"], stale["cause"]) == ("STALE", False, None)

    def test_paused_mirrors_are_marked_and_rules_are_read_only_for_them(self, stack: FakeStack) -> None:
        assert [each.paused for each in read_status(status(), stack.deployed).mirrors] == [False, False]
        assert stack.script.count("rules rules.yaml") == 0
        stack.pauses.pause("app")
        assert [each.paused for each in read_status(status(), stack.deployed).mirrors] == [True, True]

    def test_watch_redraws_until_it_is_stopped(self, stack: FakeStack) -> None:
        waits = iter([False, False, True])
        asked: list[float] = []

        def wait(seconds: float) -> bool:
            asked.append(seconds)
            return next(waits)

        watch(lambda: read_status(status(), stack.deployed), wait)
        assert asked == [5.0] * 3
        assert stack.script.count("scan") == 3

    def test_watch_without_a_terminal_is_refused(self, stack: FakeStack) -> None:
        with pytest.raises(UsageError, match="--watch needs a terminal"):
            show_status(status("--watch"), stack.deployed)


class TestTable:
    def test_blocked_mirror_shows_its_cause_and_next_retry(self) -> None:
        failure = RefreshFailure(digest("a"), "TagImmutableError", "immutable.", True, 1, NOW + timedelta(hours=5))
        record = unfresh(KEY, State.BLOCKED, NOW - timedelta(hours=3), failure=failure)
        _, row, summary = drawn(MirrorRow(row_of(record, NOW)))
        blocked = ["■", "BLOCKED", str(KEY), "3", "h", "-", "-", "immutable;", "next", "retry", "in", "5", "h"]
        assert row.split() == blocked
        assert summary.rstrip() == "1 BLOCKED; no checks sent yet, 2026-11-24 09:00 UTC"

    def test_referrers_are_counted_and_those_that_failed_are_named(self) -> None:
        records = (
            fresh(KEY, NOW, referrers=copied(3)),
            fresh(f"{REPOSITORY}:2", NOW, referrers=copied(1, failed=2)),
            fresh(f"{REPOSITORY}:3", NOW),
        )
        _, *rows, summary = drawn(*(MirrorRow(row_of(record, NOW)) for record in records))
        assert [row.split()[5:] for row in rows] == [["3"], ["1", "2", "referrers", "failed"], ["-"]]
        assert "4 referrers, 2 failed; " in summary

    def test_markup_in_names_is_not_interpreted(self) -> None:
        record = unfresh("mirror/[red]x:1", State.UNKNOWN, NOW, error="[link=http://a]b", error_kind="E")
        shown = "\n".join(drawn(MirrorRow(row_of(record, NOW))))
        assert "mirror/[red]x:1" in shown
        assert "[link=http://a]b" in shown

    def test_narrow_terminal_shows_the_whole_name(self) -> None:
        key = f"mirror/{'a' * 60}:1"
        lines = drawn(MirrorRow(row_of(fresh(key, NOW), NOW)), width=60)
        assert "".join("".join(line.split()) for line in lines).count("a" * 20) >= 1
        assert sum(line.count("a") for line in lines[1:-1]) == 60

    def test_terminal_of_80_columns_shows_every_value_in_full(self) -> None:
        error = "HEAD manifest of quay.io/team/app:1 at the upstream failed: connection refused; tried 3 times."
        down = unfresh("mirror/some/longer/name:1.2.3", State.UNKNOWN, NOW - timedelta(days=2), error=error)
        lines = drawn(MirrorRow(row_of(down, NOW, None)), MirrorRow(row_of(fresh(KEY, NOW), NOW)), width=80)
        assert max(map(len, lines)) <= 80
        assert lines[0].split() == ["State", "Mirror", "Not", "fresh", "for", "Copied"]
        assert lines[1].split()[:5] == ["□", "UNKNOWN", "mirror/some/longer/name:1.2.3", "2", "d"]
        assert " ".join(" ".join(lines[2:4]).split()) == error.rstrip(".")
        assert lines[4].startswith("● FRESH")

    def test_pipe_gets_one_whole_line_for_each_mirror(self) -> None:
        error = f"line\tone\nwith {'many ' * 100}words"
        down = unfresh(KEY, State.UNKNOWN, NOW - timedelta(hours=3, minutes=5), error=error)
        rows = [MirrorRow(row_of(down, NOW, None)), MirrorRow(row_of(fresh(f"{KEY}-{'x' * 100}", NOW), NOW))]
        head, first, second, summary = status_lines(rows, None, NOW)
        assert re.split("  +", head) == ["State", "Mirror", "Not fresh for", "Copied", "Referrers", "Why"]
        assert re.split("  +", first) == [
            "□ UNKNOWN",
            str(KEY),
            "3 h 5 min",
            "-",
            "-",
            f"line one with {'many ' * 100}words".replace("  ", " "),
        ]
        assert re.split("  +", second) == ["● FRESH", f"{KEY}-{'x' * 100}", "-", "-", "-"]
        assert summary.startswith("1 UNKNOWN, 1 FRESH")
        assert "\t" not in first
        assert "\x1b" not in first

    def test_terminal_shows_the_worst_thousand_and_counts_all(self) -> None:
        rows = [MirrorRow(row_of(unfresh(f"{REPOSITORY}:{number}", State.STALE, NOW), NOW)) for number in range(1003)]
        *_, last, more, summary = drawn(*rows)
        assert f"{REPOSITORY}:999 " in last
        assert more == "3 more are not shown; use --stale or --prefix, or write to a file or pipe"
        assert summary.startswith("1003 STALE;")
        assert "more are not shown" not in " ".join(drawn(*rows[:1000]))

    def test_no_mirrors_are_one_line(self) -> None:
        assert drawn() == ["no mirrors; no checks sent yet, 2026-11-24 09:00 UTC"]

    def test_every_state_has_its_own_symbol(self) -> None:
        rows = drawn(*(MirrorRow(row_of(unfresh(KEY, state, NOW), NOW)) for state in State))[1:-1]
        assert len({row[0] for row in rows}) == len(State)


class TestHistory:
    STORED = (
        Transition(NOW - timedelta(hours=30), KEY, State.MISSING),
        Transition(NOW - timedelta(hours=29), KEY, State.FRESH),
        Transition(NOW - timedelta(hours=1), KEY, State.STALE),
    )

    def test_states_are_shown_with_their_durations(self) -> None:
        assert history_lines(self.STORED, NOW) == [
            "2026-11-23 03:00 UTC  MISSING  1 h",
            "2026-11-23 04:00 UTC  FRESH    1 d 4 h",
            "2026-11-24 08:00 UTC  STALE    1 h so far",
        ]

    CAUSED = (
        Transition(NOW - timedelta(hours=3), KEY, State.STALE, Trigger.WEBHOOK, "upstream moved", "quay"),
        Transition(NOW - timedelta(hours=2), KEY, State.FRESH, Trigger.REFRESH, "3.5 MiB copied in 4 s"),
        Transition(NOW - timedelta(minutes=5), KEY, State.UNKNOWN, Trigger.SCHEDULE, "connection\nrefused"),
    )

    def test_states_have_their_triggers_and_causes(self) -> None:
        assert history_lines(self.CAUSED, NOW) == [
            "2026-11-24 06:00 UTC  STALE    1 h           webhook (quay): upstream moved",
            "2026-11-24 07:00 UTC  FRESH    1 h 55 min    refresh: 3.5 MiB copied in 4 s",
            "2026-11-24 08:55 UTC  UNKNOWN  5 min so far  schedule: connection refused",
        ]

    def test_cause_that_is_too_long_for_the_terminal_has_lines_of_its_own(self) -> None:
        long = self.CAUSED[0]._replace(cause="it is down " * 20)
        lines = history_lines([long], NOW, 80)
        assert max(map(len, lines)) <= 80
        assert lines[1].startswith("      webhook (quay): it is down")
        assert " ".join(lines).count("down") == 20

    def test_only_transitions_of_the_requested_days_are_shown(self) -> None:
        past = tuple(Past(each.at, each.state) for each in self.STORED[:-1])
        record = unfresh(KEY, State.STALE, self.STORED[-1].at).with_changes(past=past)
        assert transitions_of(record, NOW - timedelta(hours=2)) == list(self.STORED[1:])

    def test_mirror_without_transitions_is_shown_and_unknown_mirror_is_refused(
        self, stack: FakeStack, out: Outputs
    ) -> None:
        assert show_history(parse_arguments(["history", str(KEY)]), stack.deployed) == 0
        (line,) = out().splitlines()
        assert line.endswith(" so far")
        assert stack.script.calls == ["load"], "one record is read, not all of them"
        with pytest.raises(ConfigError, match="mirror/app:9 has no record"):
            show_history(parse_arguments(["history", UNKNOWN]), stack.deployed)


class TestWhy:
    SELECTING = rule(tags=TagSelection(patterns=(TagPattern(PatternKind.SEMVER, ">=1"),), newest=2), name="newest")
    ADDRESS = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"

    def why(self, stack: FakeStack, *arguments: str) -> int:
        return show_why(parse_arguments(["why", *arguments]), stack.deployed)

    @pytest.fixture
    def selecting(self) -> FakeStack:
        made = FakeStack(rules([], "r", self.SELECTING))
        listing = listing_record(RuleKey(REPOSITORY, "newest"), NOW, followed=("2.0.0", "1.10.1"))
        made.records.put(listing)
        return made

    def test_steps_are_shown_below_each_other(self, stack: FakeStack, out: Outputs) -> None:
        assert self.why(stack, str(KEY)) == 0
        lines = out().splitlines()
        assert lines[0] == str(KEY)
        assert [line.split()[0] for line in lines[1:]] == ["rule", "upstream", "ECR", "verdict", "next"]

    def test_unknown_mirror_is_refused(self, stack: FakeStack) -> None:
        with pytest.raises(ConfigError, match=r"no rule selects mirror/app:9, .*rule app selects 1.0, 2.0"):
            self.why(stack, UNKNOWN)
        with pytest.raises(ConfigError, match=r"no rule selects quay\.io/other/app:1, and it has no record"):
            self.why(stack, "quay.io/other/app:1")

    def test_tag_that_newest_did_not_choose_is_explained(self, selecting: FakeStack, out: Outputs) -> None:
        for name in (f"{REPOSITORY}:1.9.0", f"{self.ADDRESS}/{REPOSITORY}:1.9.0", "ghcr.io/team/app:1.9.0"):
            assert self.why(selecting, name) == 0
            shown = out()
            assert "1.9.0 fits, but newest: 2 chose 2.0.0 and 1.10.1" in shown
            assert "is due" not in shown

    def test_skipped_rule_says_why(self, out: Outputs) -> None:
        skipped = FakeStack(
            replace(rules([mirror("1.0")], "rules-1", rule("1.0"), self.SELECTING), skipped={"app": "no role for it."})
        )
        assert self.why(skipped, str(KEY)) == 0
        assert "skipped: no role for it." in out()
        with pytest.raises(ConfigError, match="rule app is skipped: no role for it"):
            request_refresh(parse_arguments(["refresh", str(KEY)]), skipped.deployed)
        assert skipped.queue.sent == []

    def test_listing_of_a_skipped_rule_says_why(self, selecting: FakeStack, out: Outputs) -> None:
        skipped = FakeStack(replace(rules([], "r", self.SELECTING), skipped={"newest": "no role for it."}))
        skipped.records.stored = selecting.records.stored
        assert self.why(skipped, str(RuleKey(REPOSITORY, "newest"))) == 0
        assert "skipped: no role for it." in (shown := out())
        assert "nothing until its rule can be followed" in shown

    def test_listing_is_explained_by_its_row_in_status(self, selecting: FakeStack, out: Outputs) -> None:
        show_status(status("--json"), selecting.deployed)
        (row,) = json.loads(out())["mirrors"]
        assert self.why(selecting, row["mirror"]) == 0
        assert "2 selected: 2.0.0 and 1.10.1" in out()

    def test_digest_of_a_pod_is_explained(self, stack: FakeStack, out: Outputs) -> None:
        stack.records.stored[KEY] = fresh(KEY, NOW, published_digest=digest("a"), previous_digest=digest("b"))
        assert self.why(stack, f"{self.ADDRESS}/{REPOSITORY}@{digest('b')}") == 0
        shown = out()
        assert shown.startswith(f"{KEY}\n")
        assert "is what ECR served before" in shown
        with pytest.raises(ConfigError, match="known to have served"):
            self.why(stack, f"{self.ADDRESS}/{REPOSITORY}@{digest('c')}")

    def test_json_of_several_subjects_has_the_others(self, out: Outputs) -> None:
        two = [rule("1.0", name=name, repository=f"mirror/{name}") for name in ("a", "b")]
        stack = FakeStack(rules([each.mirror("1.0") for each in two], "r", *two))
        assert self.why(stack, "ghcr.io/team/app:1.0", "--json") == 0
        document = json.loads(out())
        assert (document["mirror"], [each["mirror"] for each in document["others"]]) == (
            "mirror/a:1.0",
            ["mirror/b:1.0"],
        )


class TestPause:
    def pause(self, stack: FakeStack, rule: str = "app", *, paused: bool = True) -> int:
        return set_paused(parse_arguments(["pause" if paused else "resume", rule, "--json"]), stack.deployed)

    def test_pause_and_resume_report_whether_anything_changed(self, stack: FakeStack, out: Outputs) -> None:
        assert [self.pause(stack), self.pause(stack)] == [0, 0]
        assert stack.pauses.rules == {"app"}
        assert [self.pause(stack, paused=False), self.pause(stack, paused=False)] == [0, 0]
        assert stack.pauses.rules == set()
        assert out().count('"changed": true') == 2

    def test_unknown_rule_is_refused(self, stack: FakeStack) -> None:
        with pytest.raises(ConfigError, match="no rule is named 'ap'"):
            self.pause(stack, "ap")
        assert stack.pauses.rules == set()

    def test_deleted_rule_can_still_be_resumed(self, stack: FakeStack) -> None:
        stack.pauses.pause("gone")
        assert self.pause(stack, "gone", paused=False) == 0


class TestArguments:
    def test_each_command_is_parsed(self) -> None:
        parsed = parse_arguments(["status", "--stack", "other", "--stale", "--prefix", "a/"])
        assert (parsed.stack, parsed.table, parsed.stale, parsed.prefix) == ("other", None, True, "a/")
        assert (parsed.check, parsed.watch, parsed.rules) == (False, False, "layers/rules/rules.yaml")
        history = parse_arguments(["history", str(KEY), "--days", "30"])
        assert (history.stack, history.mirror, history.days) == ("pullahead", MirrorKey(REPOSITORY, "1.0"), 30)
        resume = parse_arguments(["resume", "a", "--rules", "r"])
        assert (resume.command, resume.rule, resume.rules) == ("resume", "a", "r")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["history", "mirror/app"],
            ["history", f"{KEY}@sha256:{'0' * 64}"],
            ["history", str(KEY), "--days", "31"],
            ["why", "UPPER/app:1.0"],
            ["why", "mirror/app:1.0:2"],
            ["refresh", "docker.io/library/alpine:3.20:1"],
            ["status", "--stack", "a", "--table", "b"],
            ["status", "--watch", "--check"],
            ["pause"],
        ],
    )
    def test_invalid_arguments_are_wrong_usage(self, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            parse_arguments(arguments)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
