"""The steps of `pullahead why` in each state, which must not contradict one another."""

from datetime import timedelta
from typing import Any

import pytest

from pullahead.admission.gates import HeldReason
from pullahead.checks.timetable import is_due, next_check
from pullahead.dashboard.explain import (
    ListedRule,
    MirrorFacts,
    Selection,
    explain,
    explain_image,
    explain_listing,
    explain_selection,
)
from pullahead.dashboard.find_subjects import parse_named_image
from pullahead.errors import AccessDeniedError, RegistryUnavailableError, Side
from pullahead.messages import ReferrersOutcome, Trouble
from pullahead.mirrors.alert import AlertKind, SentAlert
from pullahead.mirrors.judge import Observation
from pullahead.mirrors.record import (
    LastRefresh,
    MirrorRecord,
    Past,
    Published,
    Record,
    RefreshFailure,
    State,
    Trigger,
    WaitingDigest,
)
from pullahead.mirrors.referrers import KnownReferrers
from pullahead.oci import Digest
from pullahead.rules.mirror_key import RuleKey
from pullahead.rules.model import NO_REFERRERS, Mirror, Rule
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock
from tests.fakes.records import fresh, listing_record, unfresh
from tests.fakes.samples import KEY, UPSTREAM, digest, failed, mirror, root, rule, rules

NOW = FakeClock()()
FOLLOWED = mirror()
A, B = digest("a"), digest("b")
ARM = ("linux/arm64",)


def steps_of(record: MirrorRecord | None, *, followed: Mirror | None = FOLLOWED, **known: Any) -> dict[str, str]:
    steps = explain(KEY, MirrorFacts(followed, record, **known), rules(None, "r", rule("1.0")), NOW)
    assert len({step.about for step in steps}) == len(steps)
    return {step.about: step.text for step in steps}


def stale(state: State = State.STALE, **more: Any) -> MirrorRecord:
    return unfresh(KEY, state, NOW - timedelta(hours=3), **({"upstream_digest": A, "published_digest": B} | more))


def failure(*, blocking: bool, count: int = 1, hours: float = 5) -> RefreshFailure:
    return RefreshFailure(A, "TagImmutableError", "it is immutable", blocking, count, NOW + timedelta(hours=hours))


def test_rule_step_lists_its_options() -> None:
    followed = mirror(platforms=ARM, immutable=True)
    assert steps_of(stale(), followed=followed)["rule"] == (
        f"app (from file) follows {UPSTREAM}: every 15 min, alert after 1 h, only linux/arm64, immutable"
    )


def test_trigger_names_the_sender_of_a_webhook() -> None:
    moved = stale(trigger=Trigger.WEBHOOK, sender="quay")
    assert steps_of(moved)["trigger"] == "webhook (quay)"
    copied = moved.with_changes(state=State.FRESH, published_digest=A, trigger=Trigger.REFRESH)
    assert steps_of(copied)["trigger"] == "refresh, triggered by webhook (quay)"
    assert copied.past[-1] == Past(moved.since, State.STALE, Trigger.WEBHOOK, sender="quay")
    assert "trigger" not in steps_of(stale())


def test_fresh_mirror_is_explained() -> None:
    steps = steps_of(fresh(KEY, NOW - timedelta(days=2), upstream_digest=A, published_digest=A))
    assert steps["upstream"] == f"{UPSTREAM} serves {A}"
    assert steps["ECR"] == f"ECR serves {A}, which is the same digest"
    assert steps["verdict"] == "FRESH since 2026-11-22 09:00 UTC (2 d): ECR serves what upstream serves"
    assert steps["next"].endswith("a refresh when upstream moves")


@pytest.mark.parametrize("record", [None, unfresh(KEY, State.UNKNOWN, NOW - timedelta(hours=3))])
def test_skipped_rule_says_why_and_that_nothing_happens(record: MirrorRecord | None) -> None:
    steps = steps_of(record, skipped="the rules name no role for it.")
    assert steps["rule"].endswith("; skipped: the rules name no role for it.")
    assert steps["next"].startswith("nothing until its rule can be followed")


def test_stale_mirror_waits_for_its_refresh() -> None:
    steps = steps_of(stale())
    assert steps["ECR"] == f"ECR serves {B}, which is another digest"
    assert steps["next"].startswith("a refresh is running, is waiting, or starts with the next check")
    assert "failed refresh" not in steps


def test_failed_refresh_says_when_it_is_retried() -> None:
    steps = steps_of(stale(failure=failure(blocking=False, count=3)))
    assert steps["failed refresh"] == "TagImmutableError, 3 in a row: it is immutable"
    assert steps["next"] == (
        "retried after 2026-11-24 14:00 UTC, or at once when upstream moves; `pullahead refresh` does not wait"
    )
    assert steps_of(stale(failure=failure(blocking=False, hours=-1)))["next"].startswith("retried at the next check")


def test_blocked_mirror_says_to_fix_the_cause() -> None:
    record = stale(State.BLOCKED, failure=failure(blocking=True), alerted=(AlertKind.BLOCKED,))
    steps = steps_of(record)
    assert "fix the cause first" in steps["next"]
    assert steps["verdict"].endswith("(3 h): it is immutable")
    assert steps["alerts"] == "BLOCKED, not sent yet"


def test_last_alerts_have_their_time_and_whether_they_are_over() -> None:
    last = (SentAlert(AlertKind.STALE, "i", NOW - timedelta(days=2)), SentAlert(AlertKind.BLOCKED, "i", NOW))
    record = stale(State.BLOCKED, failure=failure(blocking=True), alerted=(AlertKind.BLOCKED,), told=last)
    when = [f"{moment.strftime('%Y-%m-%d %H:%M')} UTC" for moment in (NOW - timedelta(days=2), NOW)]
    assert steps_of(record)["alerts"] == f"STALE, {when[0]} (over); BLOCKED, {when[1]}"


def test_expiring_mirror_says_when_its_record_is_deleted() -> None:
    steps = steps_of(stale(expires_at=NOW), followed=None)
    assert f"its record is deleted after {NOW.strftime('%Y-%m-%d %H:%M')} UTC" in steps["next"]


def test_gone_mirror_keeps_its_copy() -> None:
    steps = steps_of(stale(State.GONE, published_digest=A))
    assert steps["upstream"] == f"{UPSTREAM} no longer has the tag; it last served {A}"
    assert "the copy in ECR stays" in steps["next"]


def test_rejected_digest_that_ecr_still_serves_says_how_to_stop_that() -> None:
    waiting = WaitingDigest(A, NOW, because=HeldReason.REJECTED)
    serves = steps_of(stale(State.HELD, published_digest=A, waiting=waiting))["next"]
    assert "ECR keeps serving it, as there is no other that the tag may serve: to stop that, delete the tag" in serves
    other = steps_of(stale(State.HELD, upstream_digest=B, published_digest=B, waiting=waiting))["next"]
    assert "; ECR keeps serving the last copy; " in other


def test_unknown_state_shows_the_error_of_upstream() -> None:
    steps = steps_of(stale(State.UNKNOWN, error="no answer.", error_kind="RegistryTimeoutError"))
    assert steps["upstream"] == f"no answer; it last served {A}"
    assert steps["verdict"].endswith("upstream could not be checked")


def test_mirror_without_a_record_has_its_first_check_next() -> None:
    assert steps_of(None)["next"].endswith(", the first one")
    assert set(steps_of(None)) == {"rule", "next"}
    steps = steps_of(stale(State.MISSING, upstream_digest=None, published_digest=None))
    assert steps["upstream"] == f"{UPSTREAM} has not been checked yet"
    assert steps["ECR"] == "ECR does not have the tag"


def test_selected_platforms_have_their_own_digest() -> None:
    record = fresh(KEY, NOW, upstream_digest=A, published_digest=B, platforms=ARM, filtered=Published(A, ARM, B))
    assert steps_of(record)["ECR"] == f"ECR serves {B}, upstream's index filtered to linux/arm64"


def test_last_refresh_is_explained() -> None:
    last = LastRefresh(NOW - timedelta(days=1), 42.5, 312.0, 123_456, "arn:1")
    assert steps_of(fresh(KEY, NOW, last_refresh=last))["last refresh"] == (
        "2026-11-23 09:00 UTC, 123,456 bytes in 42 s, 5 min after it became stale; arn:1"
    )


def test_paused_rule_does_nothing_next() -> None:
    steps = steps_of(stale(), is_paused=True)
    assert steps["rule"].endswith("; paused")
    assert steps["next"].startswith("nothing until `pullahead resume app`")
    assert steps_of(None, is_paused=True)["next"] == "nothing until the rule is resumed"


def test_mirror_without_a_rule_keeps_its_copy() -> None:
    steps = steps_of(stale(), followed=None)
    assert steps["rule"] == f"no rule follows {KEY}"
    assert steps["next"].startswith("nothing: no rule follows it any more")
    assert steps_of(None, followed=None)["next"].startswith("nothing: add the tag to the rules")


def test_observation_wins_over_the_record() -> None:
    known = fresh(KEY, NOW - timedelta(days=1), upstream_digest=A, published_digest=A)
    steps = steps_of(known, seen=Observation(root("b"), A))
    assert steps["upstream"] == f"{UPSTREAM} serves {B}"
    assert steps["verdict"] == "STALE since 2026-11-24 09:00 UTC (0 s): upstream moved"
    refused = steps_of(known, seen=Observation(root("a"), failed(AccessDeniedError, "no", Side.TARGET)))
    assert refused["verdict"].startswith("BLOCKED")
    silent = steps_of(known, seen=Observation(failed(RegistryUnavailableError, "down"), A))
    assert "down" in silent["upstream"]


@pytest.mark.parametrize("minutes", [0, 7, 14.5, 60])
def test_next_check_is_the_first_one_due(minutes: float) -> None:
    at = NOW + timedelta(minutes=minutes)
    moment = next_check(mirror(), at)
    assert at < moment <= at + timedelta(minutes=15)
    assert is_due(mirror(), at, moment)
    assert not is_due(mirror(), at, moment - timedelta(seconds=1))


class TestSelection:
    """Why a rule that selects tags selects one, or does not."""

    RULE = rule(
        tags=TagSelection(
            patterns=(TagPattern(PatternKind.SEMVER, ">=1"), TagPattern(PatternKind.GLOB, "edge*")),
            exclude=(TagPattern(PatternKind.GLOB, "*-slim"),),
            newest=2,
        )
    )
    LISTING = listing_record(RuleKey("mirror/app", "app"), NOW, followed=("2.0.0", "1.10.1"))

    def selection(self, tag: str, listing: Record | None = LISTING, **more: Any) -> Selection:
        declared = self.RULE._replace(tags=self.RULE.tags._replace(**more))
        return explain_selection(tag, [ListedRule(declared, listing)], NOW)

    def test_selected_tag_needs_no_words(self) -> None:
        assert self.selection("2.0.0") == Selection(True)

    def test_older_tag_names_the_newer_ones(self) -> None:
        assert self.selection("1.9.0") == Selection(
            False, "1.9.0 fits, but newest: 2 chose 2.0.0 and 1.10.1 (rule app)"
        )

    @pytest.mark.parametrize(
        ("tag", "why"),
        [
            ("1.9.0-slim", 'excluded by "*-slim"'),
            ("1.9.0-rc1", "left out as a prerelease, since the rule has no `prereleases: true`"),
            (
                "0.9",
                'matched by nothing in the rule, which selects semver: ">=1", "edge*"; without "*-slim"; newest: 2',
            ),
        ],
    )
    def test_tag_that_does_not_fit_names_the_reason(self, tag: str, why: str) -> None:
        assert self.selection(tag) == Selection(False, f"{tag} is {why} (rule app)")

    def test_tag_that_upstream_did_not_list_is_told(self) -> None:
        assert "upstream did not list it" in self.selection("1.9.0", newest=None).text

    def test_listing_that_failed_or_was_not_made_leaves_it_open(self) -> None:
        failing = self.LISTING.with_changes(state=State.UNKNOWN, error="it is down.")
        assert self.selection("1.9.0", failing, newest=None) == Selection(
            None, "1.9.0 fits rule app, but the tags could not be listed: it is down"
        )
        assert self.selection("1.9.0", failing).text.endswith("; since then, the tags could not be listed: it is down")
        never = self.selection("1.9.0", None)
        assert (never.is_selected, "its tags are listed first after 2026-11-24 09:" in never.text) == (None, True)

    def test_selection_too_large_to_keep_is_told(self) -> None:
        assert "too much to be kept" in self.selection("1.9.0", self.LISTING.with_changes(followed=())).text

    def test_one_rule_of_several_that_selects_is_enough(self) -> None:
        listed = [
            ListedRule(self.RULE._replace(name=name), self.LISTING.with_changes(followed=(tag,)))
            for name, tag in (("a", "3.0.0"), ("b", "1.9.0"))
        ]
        assert explain_selection("1.9.0", listed, NOW) == Selection(True)
        assert explain_selection("1.8.0", listed, NOW).text.count("fits, but newest: 2 chose") == 2

    def test_named_tags_take_no_listing(self) -> None:
        assert explain_selection("1.0", [ListedRule(rule("1.0"))], NOW) == Selection()

    def test_mirror_that_is_not_selected_has_no_check_next(self) -> None:
        selection = self.selection("1.0")
        steps = steps_of(None, selection=selection)
        assert steps["selection"] == selection.text
        assert steps["next"].startswith("nothing: no rule selects it")
        assert "selects tags of ghcr.io/team/app" in steps["rule"]
        steps = steps_of(stale(), selection=selection)
        assert steps["next"] == "nothing: no rule selects it any more; its copy stays in ECR"


class TestListing:
    LISTED = TestSelection.RULE

    def steps(self, listing: Record | None, declared: Rule = LISTED, *, is_paused: bool = False) -> dict[str, str]:
        return {
            step.about: step.text for step in explain_listing(ListedRule(declared, listing), NOW, is_paused=is_paused)
        }

    def test_listing_shows_what_it_selected(self) -> None:
        steps = self.steps(TestSelection.LISTING)
        assert steps["tags"] == "2 selected: 2.0.0 and 1.10.1"
        assert steps["verdict"] == "FRESH since 2026-11-24 09:00 UTC (0 s): the tags are listed"
        assert steps["next"].startswith("the next listing is due at 2026-11-24 09:")

    def test_failed_listing_shows_its_cause_and_alert(self) -> None:
        failing = TestSelection.LISTING.with_changes(
            state=State.UNKNOWN, since=NOW, error="it is down", alerted=(AlertKind.UPSTREAM_UNREACHABLE,)
        )
        steps = self.steps(failing)
        assert steps["verdict"].endswith("the tags could not be listed: it is down")
        assert steps["alerts"] == "UPSTREAM_UNREACHABLE, not sent yet"
        assert "2.0.0" in steps["tags"]

    def test_rule_that_names_its_tags_lists_nothing(self) -> None:
        steps = self.steps(None, rule("1.0", "2.0"))
        assert steps["selects"] == "1.0, 2.0"
        assert "nothing is listed" in steps["next"]

    def test_paused_rule_lists_nothing_next(self) -> None:
        assert self.steps(None, is_paused=True)["next"] == "nothing until `pullahead resume app`"


class TestImage:
    """What an image's address says beside the mirror."""

    HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    RECORD = fresh(KEY, NOW, upstream_digest=A, published_digest=B, previous_digest=digest("c"))

    @pytest.mark.parametrize(
        ("seed", "text"),
        [
            ("b", "is what ECR serves now"),
            ("c", "is what ECR served before"),
            ("a", "is what upstream served"),
            ("d", "is not recorded"),
        ],
    )
    def test_digest_is_placed(self, seed: str, text: str) -> None:
        named = parse_named_image(f"{self.HOST}/{KEY}@{digest(seed)}")
        (step,) = explain_image(named, "123456789012 eu-west-1", self.RECORD)
        assert step.text.startswith(f"{digest(seed)} {text}")

    def test_registry_of_another_region_is_told(self) -> None:
        named = parse_named_image(f"{self.HOST}/{KEY}")
        (step,) = explain_image(named, "123456789012 us-east-1", self.RECORD)
        assert "Region eu-west-1" in step.text
        assert explain_image(named, "", self.RECORD) == []


class TestNeverCopied:
    def test_missing_tag_is_explained_by_its_spelling(self) -> None:
        never = stale(State.GONE, upstream_digest=None, published_digest=None, error="not found.", error_kind="E")
        steps = steps_of(never)
        assert steps["upstream"] == "ghcr.io/team/app has no tag `1.0`; check its spelling"
        assert steps["verdict"].endswith("upstream has no tag `1.0`; check its spelling (not found)")
        assert "there is nothing to pull" in steps["next"]

    @pytest.mark.parametrize("state", list(State))
    @pytest.mark.parametrize("is_paused", [False, True])
    def test_no_step_says_that_ecr_serves_a_copy(self, state: State, is_paused: bool) -> None:
        steps = steps_of(stale(state, upstream_digest=None, published_digest=None), is_paused=is_paused)
        assert not any("last copy" in text or "copy in ECR stays" in text for text in steps.values())


class TestReferrers:
    def steps(self, outcome: ReferrersOutcome | None, *, of: Digest = A, **more: Any) -> dict[str, str]:
        known = None if outcome is None else KnownReferrers(of, NOW, outcome, **more)
        record = fresh(KEY, NOW, upstream_digest=A, published_digest=A, referrers=known)
        return steps_of(record, followed=more.pop("followed", FOLLOWED))

    def test_they_are_counted(self) -> None:
        outcome = ReferrersOutcome("f", 3, 20_480, 1, 2, limits=("it has more than 1000 referrers",))
        assert self.steps(outcome)["referrers"] == (
            "3 in ECR (20.0 KiB), 1 left out by type, 2 of upstream's whole index, not applicable to the platforms; "
            "it has more than 1000 referrers"
        )

    def test_failures_say_why_and_when_they_are_retried(self) -> None:
        trouble = Trouble("ManifestRefusedError", "ECR refuses it.")
        outcome = ReferrersOutcome("f", 1, 500, failed=1, troubles=(trouble,))
        steps = self.steps(outcome, retry_at=NOW + timedelta(hours=5), alerted=True)
        assert steps["referrers"] == "1 in ECR (500 B), 1 failed"
        assert steps["failed referrers"] == ("ManifestRefusedError: ECR refuses it; retried after 2026-11-24 14:00 UTC")
        assert steps["alerts"] == "REFERRERS_FAILED, not sent yet"

    def test_what_is_not_known_is_said(self) -> None:
        assert self.steps(None)["referrers"] == "not looked for yet"
        assert self.steps(ReferrersOutcome("f", 3), of=B)["referrers"] == (
            "those of upstream's new digest are copied with it"
        )

    def test_rule_that_copies_none_is_said(self) -> None:
        record = fresh(KEY, NOW, upstream_digest=A, published_digest=A)
        steps = steps_of(record, followed=mirror()._replace(referrers=NO_REFERRERS))
        assert steps["referrers"] == "not copied: the rule says so"
