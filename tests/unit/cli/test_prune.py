"""`pullahead prune --dry-run`: what it shows, that it writes nothing, and what `why` says of the same tags."""

import json
import re
from argparse import Namespace
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from pullahead.cli.main import parse_arguments
from pullahead.cli.prune import show_pruning
from pullahead.cli.stack import now
from pullahead.cli.why import show_why
from pullahead.errors import AccessDeniedError, ConfigError, Side
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.previous import KeptDigest
from pullahead.mirrors.record import RuleRecord, State
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import KeepPrevious, Prune
from pullahead.rules.published_tags import previous_tag
from pullahead.rules.sources.state import RulesState
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from pullahead.text import moment_text
from tests.fakes.samples import REPOSITORY, digest, failed, published, rule, rules
from tests.fakes.stack import FakeStack
from tests.fakes.tags import FakeTags

TAGS = [f"1.{number}" for number in range(20)]
NOW = now()
AGO = NOW - timedelta(days=40)
PREVIOUS = previous_tag("1.9", digest("old"))
Outputs = Callable[[], str]


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Outputs:
    return lambda: capsys.readouterr().out


def prune(*options: str) -> Namespace:
    return parse_arguments(["prune", "--dry-run", "--rules", "rules.yaml", *options])


def world(policy: Prune | None) -> tuple[FakeStack, FakeTags]:
    """Make a rule that has not chosen three of its 20 tags for long, one of them moved by hand, and a fourth lately."""
    selection = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.[4-9]*"), TagPattern(PatternKind.GLOB, "1.1?")))
    keeps = KeepPrevious(3, timedelta(days=10))
    stack, tags = FakeStack(rules([], "r", rule(tags=selection, prune=policy, keep_previous=keeps))), FakeTags()
    for number, tag in enumerate(TAGS):
        since = AGO + timedelta(hours=number) if number < 3 else NOW - timedelta(days=2)
        days = 39 if number < 3 else 2
        missing = Missing(PruneReason.UNCHOSEN, since, days, NOW - timedelta(hours=21)) if number < 4 else None
        kept = (KeptDigest(digest("old"), PREVIOUS, AGO),) if tag == "1.9" else ()
        stack.records.put(published(tag, AGO, missing=missing, kept=kept))
        tags.served.setdefault(REPOSITORY, {})[tag] = digest(tag)
    tags.served[REPOSITORY] |= {"1.1": digest("by hand"), PREVIOUS: digest("old")}
    stack.records.put(
        RuleRecord(RuleKey(REPOSITORY, "app"), "u", State.FRESH, AGO, followed=tuple(TAGS[4:]), version=1)
    )
    stack.records.heartbeat = Heartbeat(NOW, "r")
    stack.rules_state.save(RulesState())
    return stack, tags


def test_what_is_due_held_missing_and_expired_is_shown_and_nothing_is_written(out: Outputs) -> None:
    stack, tags = world(Prune(deletes=True, at_most=0.05))
    assert show_pruning(prune(), stack.deployed, tags) == 0
    lines = out().splitlines()
    assert lines[0] == "app (mirror/app): 20 tags, 1 due, 2 held; mode: delete"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["due", "1.0:"],
        ["held", "1.1:"],
        ["held", "1.2:"],
        ["missing", "1.3:"],
        ["expired", f"{PREVIOUS}:"],
    ]
    assert lines[2].endswith("Pullahead has not published what ECR serves")
    assert lines[3].endswith("at_most: no more than 5% of 20 tags go in a day")
    assert (stack.records.writes, tags.script.calls) == (0, ["list_tags"])


def test_documented_example_is_what_is_written_but_for_the_times(out: Outputs) -> None:
    stack, tags = world(Prune(deletes=True, at_most=0.05))
    show_pruning(prune(), stack.deployed, tags)
    time = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")
    documented = (Path(__file__).parents[3] / "docs/cli.md").read_text(encoding="utf-8")
    assert time.sub("TIME", f"```\n{out()}```") in time.sub("TIME", documented)


def test_tag_that_ecr_has_kept_for_an_index_says_so(out: Outputs) -> None:
    stack, tags = world(Prune(deletes=True))
    record = stack.records.stored[MirrorKey(REPOSITORY, "1.0")]
    assert record.missing is not None
    stack.records.put(record.with_changes(missing=structs.replace(record.missing, left_at=AGO)))
    show_pruning(prune(), stack.deployed, tags)
    (line,) = (line for line in out().splitlines() if " 1.0: " in line)
    assert line.endswith(f"not removed on {moment_text(AGO)}, since an index needs it, or it had moved")


def test_json_has_every_missing_tag_with_what_holds_it(out: Outputs) -> None:
    stack, tags = world(Prune())
    assert show_pruning(prune("--json"), stack.deployed, tags) == 0
    (found,) = json.loads(out())["rules"]
    assert (found["rule"], found["mode"], found["tags"], found["expired"]) == ("app", "report", 20, [PREVIOUS])
    shown = {each["tag"]: (each["due"], each["held"]) for each in found["missing"]}
    assert shown == {
        "1.0": (True, None),
        "1.1": (False, "Pullahead has not published what ECR serves"),
        "1.2": (True, None),
        "1.3": (False, None),
    }


def test_listing_that_proves_nothing_is_told(out: Outputs) -> None:
    stack, tags = world(Prune())
    listing = stack.records.of_rules[RuleKey(REPOSITORY, "app")]
    stack.records.put(listing.with_changes(state=State.UNKNOWN))
    show_pruning(prune(), stack.deployed, tags)
    assert "nothing goes, and no day counts: the last listing failed, or there is none" in out()


def test_without_a_rule_that_prunes_it_says_so_and_asks_ecr_nothing(out: Outputs) -> None:
    stack, tags = world(None)
    assert show_pruning(prune(), stack.deployed, tags) == 0
    assert out() == "no rule has `prune`: no tag is ever removed\n"
    assert tags.script.calls == []


def test_paused_rule_is_shown_as_held(out: Outputs) -> None:
    stack, tags = world(Prune())
    stack.pauses.pause("app")
    show_pruning(prune(), stack.deployed, tags)
    assert "0 due, 3 held" in out()


def test_failure_of_one_rule_is_exit_code_one(capsys: pytest.CaptureFixture[str]) -> None:
    stack, tags = world(Prune())
    tags.script.fail("list_tags", failed(AccessDeniedError, side=Side.TARGET))
    assert show_pruning(prune(), stack.deployed, tags) == 1
    assert "app: " in capsys.readouterr().err


def test_rules_that_are_not_in_force_are_an_error() -> None:
    stack, tags = world(Prune())
    stack.records.heartbeat = Heartbeat(NOW, "others")
    with pytest.raises(ConfigError, match="nothing would be pruned"):
        show_pruning(prune(), stack.deployed, tags)


def test_unknown_rule_is_an_error() -> None:
    stack, tags = world(Prune())
    with pytest.raises(ConfigError, match="no rule is named 'ap'"):
        show_pruning(prune("ap"), stack.deployed, tags)


def test_command_without_dry_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(["prune"])
    assert ended.value.code == 2
    assert "--dry-run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Prune(deletes=True), "removed from ECR after 30 d"),
        (Prune(), "reported, not removed (mode: report), after 30 d"),
        (Prune(unchosen=None), "never removed"),
        (None, "no rule prunes it any more"),
    ],
)
def test_why_says_since_when_a_tag_is_missing_and_what_follows(policy: Prune | None, text: str, out: Outputs) -> None:
    stack, _ = world(policy)
    show_why(parse_arguments(["why", f"{REPOSITORY}:1.0", "--rules", "rules.yaml"]), stack.deployed)
    (line,) = (line for line in out().splitlines() if line.startswith("  pruning"))
    assert "not chosen by its rule since" in line
    assert text in line


def test_why_says_that_a_tag_was_removed(out: Outputs) -> None:
    stack, _ = world(Prune(deletes=True))
    record = stack.records.stored[MirrorKey(REPOSITORY, "1.0")]
    missing = Missing(PruneReason.GONE, AGO, 39, NOW, removed_at=NOW)
    stack.records.put(record.with_changes(missing=missing, published_digest=None, expires_at=NOW + timedelta(days=7)))
    show_why(parse_arguments(["why", f"{REPOSITORY}:1.0", "--rules", "rules.yaml"]), stack.deployed)
    assert "removed from ECR by its rule's `prune` at" in out()
