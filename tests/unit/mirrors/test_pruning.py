"""What may be removed: after 200 faulty listings nothing, and never what a rule, a pin or keep_previous names."""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.images import make_image
from pullahead.checks.listing import ListTags
from pullahead.errors import (
    AccessDeniedError,
    ListingRefusedError,
    NotFoundError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from pullahead.messages import ListRequest
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.previous import KeptDigest
from pullahead.mirrors.pruning import PrunePlan, PublishedTag, expired_previous, plan_pruning
from pullahead.mirrors.record import Record, RuleRecord, State
from pullahead.oci import Digest, parse_digest
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import KeepPrevious, Prune, Rule, Rules
from pullahead.rules.published_tags import NamedTag, previous_tag
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords
from tests.fakes.samples import REPOSITORY, digest, failed, rule, rules
from tests.fakes.samples import published as published_record
from tests.fakes.upstream import FakeUpstream

ALL = TagPattern(PatternKind.GLOB, "*")
TAGS = [f"1.{number}" for number in range(20)]
IMAGE = make_image(seed=1)
BEGAN = FakeClock()()
POLICY = Prune(deletes=True, at_most=0.2)


def published(tag: str, missing: Missing | None = None, serves: Digest | None = None, **more: Any) -> PublishedTag:
    return PublishedTag(published_record(tag, BEGAN, missing=missing, **more), serves or digest(tag))


class Days:
    """A rule that has published 20 tags, and is listed and pruned once a day."""

    def __init__(self, chosen: Rule | None = None, policy: Prune = POLICY) -> None:
        self.rule = chosen or rule(tags=TagSelection(patterns=(ALL,)))
        self.rules: Rules = rules(self.rule.named_mirrors, "r", self.rule)
        self.policy = policy
        self.upstream, self.records, self.clock = FakeUpstream(), FakeRecords(), FakeClock()
        self.list = ListTags(lambda: self.rules, self.upstream, self.records, FakeCheckQueue(), self.clock)
        self.tags = {tag: published(tag) for tag in TAGS}
        self.pruned: list[str] = []
        for tag in TAGS:
            self.upstream.serve(IMAGE, f"ghcr.io/team/app:{tag}")

    def remove(self, *tags: str) -> None:
        for tag in tags:
            self.upstream.remove(f"ghcr.io/team/app:{tag}")

    def day(self, fault: Exception | None = None, *, days: float = 1) -> PrunePlan:
        """List, or fail to, and prune."""
        self.clock.advance(days=days)
        if fault is not None:
            self.upstream.script.fail("list_tags", fault)
        self.list(ListRequest(rule=self.rule.name, asked_at=self.clock()))
        return self.prune()

    def prune(self) -> PrunePlan:
        listing = self.records.of_rules.get(RuleKey(REPOSITORY, self.rule.name))
        plan = plan_pruning(self.rule, self.policy, listing, list(self.tags.values()), self.rules, self.clock())
        for key, missing in plan.missing.items():
            known = self.tags[key.tag]
            self.tags[key.tag] = known._replace(record=known.record.with_changes(missing=missing))
        for key in plan.due:
            self.pruned.append(key.tag)
            del self.tags[key.tag]
        return plan


def test_removed_tag_goes_after_thirty_days_of_sound_listings_and_no_sooner() -> None:
    days = Days()
    days.day()
    days.remove("1.3")
    for _ in range(30):
        assert days.day().due == ()
    assert days.day().due == (MirrorKey(REPOSITORY, "1.3"),)
    assert days.pruned == ["1.3"]


def test_tag_that_comes_back_begins_anew() -> None:
    days = Days()
    days.day()
    days.remove("1.3")
    for _ in range(29):
        days.day()
    days.upstream.serve(IMAGE, "ghcr.io/team/app:1.3")
    days.day()
    days.remove("1.3")
    for _ in range(30):
        days.day()
    assert days.pruned == []


def test_no_more_than_the_share_goes_in_a_day_the_longest_missing_first() -> None:
    days = Days()
    days.day()
    days.remove("1.9")
    days.day()
    days.remove(*TAGS[:6])
    while not days.pruned:
        days.day()
    assert days.pruned == ["1.9"]
    plan = days.day()
    assert len(plan.due) == int(19 * 0.2)
    assert set(plan.held.values()) == {"at_most: no more than 20% of 19 tags go in a day"}


def test_share_that_is_less_than_a_tag_removes_none_and_says_so() -> None:
    days = Days(policy=Prune(deletes=True, at_most=0.04))
    days.day()
    days.remove("1.3")
    for _ in range(40):
        plan = days.day()
    assert (plan.due, list(plan.held.values())) == ((), ["at_most: no more than 4% of 20 tags go in a day"])


def found_missing(selection: TagSelection, followed: Sequence[str], **more: Any) -> dict[str, PruneReason]:
    """Plan by one listing of 20 tags that ECR has, and return which are missing, and why."""
    declared = rule(tags=selection)
    listing = RuleRecord(RuleKey(REPOSITORY, "app"), "u", State.FRESH, BEGAN, followed=tuple(followed))
    tags = [published(tag, **more) for tag in TAGS]
    now = BEGAN + timedelta(days=2)
    plan = plan_pruning(declared, POLICY, listing, tags, rules([], "r", declared), now)
    assert plan.doubt is None
    return {key.tag: missing.reason for key, missing in plan.missing.items() if missing is not None}


def test_tag_that_the_rule_would_choose_is_gone_upstream() -> None:
    assert found_missing(TagSelection(patterns=(ALL,)), TAGS[1:]) == {"1.0": PruneReason.GONE}


def test_tag_that_no_pattern_matches_any_more_is_unchosen_however_many_there_are() -> None:
    ones = TagPattern(PatternKind.GLOB, "1.1?")
    missing = found_missing(TagSelection(patterns=(ones,)), TAGS[10:])
    assert missing == dict.fromkeys(TAGS[:10], PruneReason.UNCHOSEN)
    missing = found_missing(TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.19"),)), TAGS[19:])
    assert missing == dict.fromkeys(TAGS[:19], PruneReason.UNCHOSEN)


def test_tag_that_newer_ones_replace_is_unchosen_and_one_of_the_newest_is_gone() -> None:
    newest = TagSelection(patterns=(ALL,), newest=3)
    missing = found_missing(newest, ["1.19", "1.17", "1.16"])
    assert missing == {**dict.fromkeys(TAGS[:16], PruneReason.UNCHOSEN), "1.18": PruneReason.GONE}


def test_tag_that_a_check_has_found_gone_is_gone_whatever_the_patterns() -> None:
    ones = TagPattern(PatternKind.GLOB, "1.1?")
    missing = found_missing(TagSelection(patterns=(ones,)), TAGS[10:], state=State.GONE)
    assert set(missing.values()) == {PruneReason.GONE}


def test_tag_that_is_unchosen_after_it_was_gone_begins_anew() -> None:
    ones = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.1?"),))
    declared, now = rule(tags=ones), BEGAN + timedelta(days=2)
    gone = Missing(PruneReason.GONE, BEGAN - timedelta(days=40), 40, BEGAN)
    listing = RuleRecord(RuleKey(REPOSITORY, "app"), "u", State.FRESH, BEGAN, followed=tuple(TAGS[10:]))
    tags = [published(tag, gone if tag == "1.0" else None) for tag in TAGS]
    plan = plan_pruning(declared, POLICY, listing, tags, rules([], "r", declared), now)
    assert plan.missing[MirrorKey(REPOSITORY, "1.0")] == Missing(PruneReason.UNCHOSEN, now, 1, now)
    assert plan.due == ()


@pytest.mark.parametrize(("gone", "unchosen", "due"), [(None, 7, ["1.0"]), (7, None, ["1.19"]), (None, None, [])])
def test_each_reason_has_its_time(gone: int | None, unchosen: int | None, due: list[str]) -> None:
    after_gone, after_unchosen = (timedelta(days=each) if each is not None else None for each in (gone, unchosen))
    newest = rule(tags=TagSelection(patterns=(ALL,), newest=19))
    days = Days(newest, Prune(after_gone, after_unchosen, deletes=True, at_most=0.2))
    days.day()  # 1.0 is not among the newest 19
    days.tags["1.20"] = published("1.20")
    days.upstream.serve(IMAGE, "ghcr.io/team/app:1.20")
    days.upstream.serve(IMAGE, "ghcr.io/team/app:1.21")
    days.tags["1.21"] = published("1.21")
    days.remove("1.19")
    for _ in range(9):
        days.day()
    assert days.pruned[: len(due)] == due
    assert ("1.0" in days.pruned, "1.19" in days.pruned) == ("1.0" in due, "1.19" in due)


def test_listing_that_loses_most_tags_at_once_counts_no_day_and_says_so() -> None:
    days = Days()
    days.day()
    days.remove(*TAGS[:11])
    for _ in range(60):
        plan = days.day()
    assert plan.doubt == "11 of 20 tags are missing upstream all at once, which is suspicious"
    assert set(plan.missing.values()) == {None}
    assert days.pruned == []


FAULTS: Sequence[Exception | None] = [
    failed(NotFoundError, status=404),
    failed(AccessDeniedError, status=401),
    failed(AccessDeniedError, status=403),
    failed(RegistryUnavailableError, status=500),
    failed(RegistryUnavailableError, status=503),
    failed(RegistryTimeoutError),
    failed(ResponseTooLargeError),
    failed(ListingRefusedError),
]


SOON = Prune(timedelta(days=7), timedelta(days=7), deletes=True, at_most=0.5)
"""What a mistake would show first with."""


@pytest.mark.parametrize("seed", range(100))
def test_faulty_listings_prune_nothing_of_what_is_a_day_short(seed: int) -> None:
    """Failed, refused and empty listings, those of another repository or without most tags, and clocks that jump."""
    chance = random.Random(seed)  # noqa: S311 - the same each time
    days = Days(policy=SOON)
    for _ in range(3):
        days.day()
    days.remove("1.3")
    now = days.clock()
    days.tags["1.3"] = published("1.3", Missing(PruneReason.GONE, now - timedelta(days=9), 6, now))
    for _ in range(chance.randint(1, 12)):
        kind = chance.choice(["error", "empty", "other", "most", "truncated", "jump"])
        lost = [tag for tag in TAGS if tag != "1.3"]
        if kind == "most":  # and of the others another part each time
            lost = chance.sample(lost, chance.randint(12, 18))
        elif kind == "truncated":
            lost = lost[chance.randint(1, 7) :]
        elif kind in ("error", "jump"):
            lost = []
        fault = chance.choice(FAULTS) if kind == "error" else None
        faulty_day(days, lost, others=30 if kind == "other" else 0, fault=fault, jump=kind == "jump")
    assert days.pruned == []


@pytest.mark.parametrize("seed", range(100))
def test_listings_that_are_short_of_other_tags_each_time_prune_nothing(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the same each time
    days = Days(policy=SOON)
    for _ in range(3):
        days.day()
    for _ in range(12):
        sample = chance.sample(TAGS, chance.randint(1, 9))
        faulty_day(days, chance.choice([sample, sample, TAGS[chance.randint(11, 19) :], []]))
    assert days.pruned == []


def faulty_day(
    days: Days, lost: Sequence[str], others: int = 0, fault: Exception | None = None, *, jump: bool = False
) -> None:
    """List what lacks some tags, and has those of another repository, for one day."""
    foreign = [f"ghcr.io/team/app:other-{number}" for number in range(others)]
    days.remove(*lost)
    for each in foreign:
        days.upstream.serve(IMAGE, each)
    days.day(fault, days=400 if jump else 1)
    for each in foreign:
        days.upstream.remove(each)
    for tag in lost:
        days.upstream.serve(IMAGE, f"ghcr.io/team/app:{tag}")


@pytest.mark.parametrize("fault", FAULTS)
def test_listing_that_fails_for_months_prunes_nothing_of_what_was_missing_before(fault: Exception) -> None:
    days = Days()
    days.day()
    days.remove("1.3")
    for _ in range(29):
        days.day()
    for _ in range(90):
        plan = days.day(fault)
        assert plan.due == ()
    assert days.day().due == ()  # it has only just recovered
    assert days.day().due == ()
    found = days.tags["1.3"].missing
    assert found is not None
    assert found.days == 1  # nobody has looked for a week


def due_of(declared: Rule, *others: Rule, **more: Any) -> PrunePlan:
    """Plan where the tag 1.3 has been missing for longer than needed, on as many days as needed."""
    reason = more.pop("reason", PruneReason.GONE)
    evidence = Missing(reason, BEGAN - timedelta(days=50), more.pop("days", 30), BEGAN)
    keeper = {"kept": more.pop("kept", ())}
    followed = more.pop("followed", tuple(tag for tag in TAGS if tag != "1.3"))
    found = [published("1.3", evidence, **more), *(published(tag, **keeper) for tag in TAGS if tag != "1.3")]
    listing = RuleRecord(RuleKey(REPOSITORY, "app"), "u", State.FRESH, BEGAN, followed=followed)
    known = rules(declared.named_mirrors, "r", declared, *others)
    return plan_pruning(declared, POLICY, listing, found, known, BEGAN + timedelta(hours=25))


CHOOSES_ALL = rule(tags=TagSelection(patterns=(ALL,)))


def test_tag_that_was_missing_for_long_on_fewer_days_stays() -> None:
    assert due_of(CHOOSES_ALL, days=28).due == ()
    assert due_of(CHOOSES_ALL, days=29).due == (MirrorKey(REPOSITORY, "1.3"),)


OTHER = rule(name="other", tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.3"),)))
PINNED = NamedTag("1.99", "pin", digest("1.3"))
KEEPS = rule(tags=TagSelection(patterns=(ALL,)), keep_previous=KeepPrevious())
KEPT_BY_ANOTHER = KeptDigest(digest("1.3"), previous_tag("1.4", digest("1.3")), BEGAN)


@pytest.mark.parametrize(
    ("declared", "others", "more", "why"),
    [
        (CHOOSES_ALL, [rule("1.3", name="other")], {}, "a rule names it"),
        (
            CHOOSES_ALL._replace(tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.[04-9]*"),))),
            [OTHER],
            {"reason": PruneReason.UNCHOSEN},
            "the rule other may choose it",
        ),
        (rule(tags=TagSelection(patterns=(ALL,), renamed=(PINNED,))), [], {}, "a rule pins its digest"),
        (
            CHOOSES_ALL,
            [rule(name="lock", tags=TagSelection(renamed=(PINNED,)))],
            {},
            "a rule pins its digest",
        ),
        (KEEPS, [], {"kept": (KEPT_BY_ANOTHER,)}, "keep_previous names its digest"),
        (CHOOSES_ALL, [], {"published_digest": digest("foreign")}, "Pullahead has not published what ECR serves"),
        (CHOOSES_ALL, [], {"last_refresh": None}, "Pullahead has not published what ECR serves"),
    ],
)
def test_tag_that_is_due_is_held_by(declared: Rule, others: list[Rule], more: dict[str, Any], why: str) -> None:
    plan = due_of(declared, *others, **more)
    assert (plan.due, plan.held.get(MirrorKey(REPOSITORY, "1.3"))) == ((), why)


def test_several_runs_of_one_day_count_one_day() -> None:
    days = Days(policy=SOON)
    for _ in range(2):
        days.day()
    days.remove("1.3")
    for _ in range(19):
        days.day(days=1 / 24)
    found = days.tags["1.3"].missing
    assert found is not None
    assert found.days == 1


def test_listing_whose_choice_is_not_known_counts_no_day() -> None:
    plan = due_of(CHOOSES_ALL, followed=())
    assert (plan.due, plan.doubt) == ((), "the last listing chose nothing, or too much to be kept")


def test_clock_that_goes_back_or_leaps_ahead_adds_no_day() -> None:
    days = Days()
    days.day()
    days.remove("1.3")
    for _ in range(5):
        days.day()
    days.clock.advance(days=400)
    for _ in range(20):
        days.day()
    assert days.pruned == []
    days.clock.now -= timedelta(days=200)
    days.day()
    assert days.pruned == []
    assert days.tags["1.3"].missing == Missing(PruneReason.GONE, days.clock(), 1, days.clock())


KEPT = KeepPrevious()
T = TypeVar("T")


@st.composite
def situations(draw: st.DrawFn) -> tuple[Rule, list[PublishedTag], RuleRecord, datetime]:
    """Draw a rule that names, pins and keeps, its tags with any evidence, a listing, and a time.

    Most is so that tags go but for one thing: else little would ever be due.
    """

    def mostly(usual: T, *others: T) -> T:
        return others[draw(st.integers(0, len(others) - 1))] if draw(st.integers(0, 9)) == 0 else usual

    tags = draw(st.lists(st.sampled_from(TAGS), min_size=3, unique=True))
    names, pins = (draw(st.lists(st.sampled_from(TAGS), max_size=3, unique=True)) for _ in range(2))
    renamed = tuple(NamedTag(tag, f"pin-{tag}", digest(tag)) for tag in pins)
    selection = TagSelection(names=tuple(names), patterns=(ALL,), renamed=renamed)
    declared = rule(tags=selection, keep_previous=draw(st.sampled_from([None, KEPT])))
    now = BEGAN + timedelta(days=mostly(draw(st.integers(1, 60)), -400, 0, 400), hours=draw(st.integers(0, 23)))
    found = []
    for tag in tags:
        since = now - timedelta(days=mostly(draw(st.integers(28, 40)), -20, 1, 400))
        last = now - timedelta(days=mostly(draw(st.integers(0, 8)), -3, 50), hours=draw(st.integers(0, 23)))
        days = draw(st.integers(27, 33))
        missing = mostly(Missing(mostly(PruneReason.GONE, PruneReason.UNCHOSEN), since, days, last), None)
        kept = draw(st.lists(st.sampled_from(TAGS), max_size=2, unique=True))
        moved = now - timedelta(days=draw(st.integers(60, 120)))
        keeps = tuple(KeptDigest(digest(each), previous_tag(tag, digest(each)), moved) for each in kept)
        served = mostly(digest(tag), digest("foreign"), None)
        found.append(published(tag, missing, kept=keeps, published_digest=served))
    followed = tuple(draw(st.lists(st.sampled_from(TAGS), unique=True)))
    state = mostly(State.FRESH, State.UNKNOWN, State.GONE)
    listing = RuleRecord(RuleKey(REPOSITORY, "app"), "ghcr.io/team/app", state, BEGAN, followed=followed)
    return declared, found, listing, now


@settings(max_examples=150, deadline=None)
@given(situations(), st.integers(0, 9).map(lambda number: number == 0), st.integers(0, 3))
def test_nothing_goes_that_a_rule_a_pin_or_keep_previous_names(
    drawn: tuple[Rule, list[PublishedTag], RuleRecord, datetime], paused: bool, pruned_today: int
) -> None:
    declared, found, listing, now = drawn
    known = rules(declared.named_mirrors, "r", declared)
    if paused:
        known = replace(known, paused=frozenset({declared.name}))
    policy = Prune(deletes=True, at_most=0.5)
    plan = plan_pruning(declared, policy, listing, found, known, now, pruned_today)
    by_key: dict[MirrorKey, PublishedTag] = {each.record.key: each for each in found}
    pins = {named.digest for named in declared.tags.renamed}
    kept: set[Digest] = set()
    for each in found:
        keeps = each.record.kept[-KEPT.most :] if declared.keep_previous is not None else ()
        named = {old.digest for old in keeps if now - old.at < KEPT.keep_for}
        expired = {old.digest for old in expired_previous(each.record, declared, known, now)}
        assert not expired & (pins | named)
        assert not expired or (declared.keep_previous is not None and not paused)
        kept |= named
    assert len(plan.due) + pruned_today <= max(pruned_today, int(len(found) * policy.at_most))
    for key in plan.due:
        record, missing = by_key[key].record, plan.missing[key]
        assert not paused
        assert key.tag not in declared.tags.names
        assert record.published_digest is not None
        assert parse_digest(record.published_digest) not in pins | kept
        assert record.last_refresh is not None
        assert record.last_refresh.digest == record.published_digest
        assert missing is not None
        assert (missing.days >= 30, now - missing.since >= timedelta(days=30)) == (True, True)
        assert (listing.state, key.tag in listing.followed, bool(listing.followed)) == (State.FRESH, False, True)


def test_some_situation_prunes() -> None:
    """Or else the property above would say nothing."""
    missing = Missing(PruneReason.GONE, BEGAN - timedelta(days=40), 40, BEGAN)
    found = [published(tag, missing if tag == "1.3" else None) for tag in TAGS]
    declared = rule(tags=TagSelection(patterns=(ALL,)))
    listing: Record = RuleRecord(
        RuleKey(REPOSITORY, "app"), "u", State.FRESH, BEGAN, followed=tuple(tag for tag in TAGS if tag != "1.3")
    )
    known = rules([], "r", declared)
    plan = plan_pruning(declared, POLICY, listing, found, known, BEGAN + timedelta(days=2))
    assert plan.due == (MirrorKey(REPOSITORY, "1.3"),)
