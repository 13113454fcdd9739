"""Pruning day by day, by the planner, records and tags: what goes, what is reported, and what stops it."""

from datetime import timedelta
from typing import Any

import pytest

from pullahead.errors import AccessDeniedError, PullaheadError, RegistryUnavailableError, Side, StorageError
from pullahead.mirrors.missing import Missing, PruneReason
from pullahead.mirrors.previous import KeptDigest
from pullahead.mirrors.record import MirrorRecord, RuleRecord, State
from pullahead.mirrors.retirement import FORGOTTEN_AFTER, NeedFinder, retired
from pullahead.mirrors.store import Heartbeat
from pullahead.oci.referrers import cosign_tags, fallback_tag
from pullahead.retention.plan import PlanPruning
from pullahead.retention.prune import Pruned, PrunePorts, PruneTags
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import KeepPrevious, Prune, Rule, Rules
from pullahead.rules.published_tags import previous_tag
from pullahead.rules.sources.state import BrokenRules, FollowedText, RulesState
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock, FakeRecords
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.samples import REPOSITORY, digest, failed, published, rule, rules
from tests.fakes.script import Script
from tests.fakes.sources import FakeRulesState
from tests.fakes.tags import FakeTags

TAGS = [f"1.{number}" for number in range(20)]
SELECTION = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),))
DELETES = Prune(deletes=True)


class World:
    """A rule that has published 20 tags into ECR, and prunes once a day."""

    def __init__(self, prune: Prune = DELETES, **more: Any) -> None:
        self.script, self.clock = Script(), FakeClock()
        self.records, self.tags = FakeRecords(self.script), FakeTags(self.script)
        self.outcomes, self.state = FakeOutcomes(self.script), FakeRulesState()
        self.state.save(RulesState())
        self.rule: Rule = rule(tags=SELECTION, prune=prune, **more)
        self.rules: Rules = rules([], "r", self.rule)
        self.key = RuleKey(REPOSITORY, "app")
        self.seconds = 900.0
        for tag in TAGS:
            self.publish(tag)
        self.follow(*TAGS)

    def publish(self, tag: str, **more: Any) -> None:
        """Let Pullahead have published a tag."""
        self.records.put(published(tag, self.clock(), **more))
        self.tags.served.setdefault(REPOSITORY, {})[tag] = digest(tag)

    def choose(self, changed: Rule) -> None:
        """Let the rules file say something else of the rule."""
        self.rule = changed
        self.rules = rules([], "r", changed)

    def follow(self, *tags: str) -> None:
        """Let a listing choose these tags."""
        known = self.records.of_rules.get(self.key)
        since = self.clock() - timedelta(days=2) if known is None else known.since
        version = 1 if known is None else known.version
        self.records.put(RuleRecord(self.key, "u", State.FRESH, since, followed=tags, version=version))

    def prune(self) -> Pruned:
        """Prune now."""
        self.records.heartbeat = self.records.heartbeat or Heartbeat(self.clock(), "r")
        plan = PlanPruning(lambda: self.rules, self.state, self.records, self.tags, self.clock)
        outbox = announcer(self.records, self.clock, self.outcomes)
        prune = PruneTags(plan, PrunePorts(self.records, self.tags, outbox, self.clock))
        return prune(lambda: self.seconds)

    def days(self, count: int) -> Pruned:
        """Prune once on each of some days, while checks are made, too."""
        for _ in range(count):
            self.clock.advance(days=1)
            self.records.heartbeat = Heartbeat(self.clock(), "r")
            done = self.prune()
        return done

    def record(self, tag: str) -> MirrorRecord:
        return self.records.stored[MirrorKey(REPOSITORY, tag)]

    @property
    def in_ecr(self) -> list[str]:
        return sorted(self.tags.served[REPOSITORY])


def test_unchosen_tag_goes_after_thirty_days_and_says_so() -> None:
    world = World()
    others = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "1.[1-9]*"),))
    world.choose(world.rule._replace(tags=others))
    world.follow(*TAGS[1:])
    assert world.days(30).rules[0].removed == ()
    assert "1.0" in world.in_ecr
    (done,) = world.days(1).rules
    assert (done.removed, done.errors) == (("1.0",), ())
    assert world.in_ecr == sorted(TAGS[1:])
    assert world.outcomes.kinds == ["Pruned"]
    detail = world.outcomes.published[0].detail
    assert (detail.reason, detail.tag, detail.previous_digest) == ("unchosen", "1.0", digest("1.0"))
    record = world.record("1.0")
    assert (record.published_digest, record.expires_at) == (None, world.clock() + FORGOTTEN_AFTER)
    assert record.outbox == ()


def test_gone_tag_says_that_it_is_gone_upstream() -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(31)
    assert [event.detail.reason for event in world.outcomes.published] == ["gone-upstream"]


def test_report_removes_nothing_and_reports_each_tag_once() -> None:
    world = World(Prune())
    world.follow(*TAGS[6:])
    done = world.days(40).rules[0]
    assert (done.due, done.removed) == (tuple(TAGS[:6]), ())
    assert world.in_ecr == sorted(TAGS)
    assert sorted(event.detail.tag for event in world.outcomes.published) == TAGS[:6]
    assert set(world.outcomes.kinds) == {"Prune Due"}
    assert world.script.count("remove") == 0


def test_no_more_than_the_share_goes_in_a_day_however_often_it_runs() -> None:
    world = World()
    world.follow(*TAGS[6:])
    world.days(31)
    assert len(world.in_ecr) == 18
    for _ in range(5):
        assert world.prune().rules[0].removed == ()
    assert len(world.in_ecr) == 18
    world.days(1)
    assert len(world.in_ecr) == 17  # a tenth of 18 tags


def test_run_that_dies_after_it_has_counted_removes_no_more_than_the_share() -> None:
    world = World()
    world.follow(*TAGS[6:])
    world.days(30)
    world.script.fail("remove", failed(RegistryUnavailableError, side=Side.TARGET), times=2)
    assert len(world.days(1).errors) == 2
    assert world.prune().rules[0].removed == ()
    assert world.in_ecr == sorted(TAGS)
    assert len(world.days(1).rules[0].removed) == 2


def test_retired_record_is_kept_while_its_tag_is_missing() -> None:
    """The scan of records retires what a rule no longer chooses: they would be deleted after 7 days."""
    world = World()
    world.follow(*TAGS[1:])
    key = MirrorKey(REPOSITORY, "1.0")
    (need,) = NeedFinder(world.rules, world.records.load_listings)([world.record("1.0")])
    assert need.value == "unused"
    world.records.put(retired(world.record("1.0"), world.clock(), alerted=False))
    for _ in range(31):
        expires_at = world.record("1.0").expires_at
        assert expires_at is not None
        assert expires_at - world.clock() >= timedelta(days=6)
        world.days(1)
    assert key.tag not in world.in_ecr


def test_tag_whose_record_is_gone_is_kept_for_ever() -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(10)
    del world.records.stored[MirrorKey(REPOSITORY, "1.0")]
    world.days(60)
    assert "1.0" in world.in_ecr


def test_signatures_go_with_the_last_tag_of_a_digest() -> None:
    world = World()
    served, signature = digest("1.0"), cosign_tags(digest("1.0"))[0]
    world.tags.served[REPOSITORY] |= {
        signature: digest("signature"),
        fallback_tag(served): digest("referrers"),
        "other-name": served,
        cosign_tags(digest("1.1"))[0]: digest("another signature"),
    }
    world.tags.referrers[served] = [digest("sbom")]
    world.follow(*TAGS[1:])
    world.days(31)
    assert signature in world.in_ecr  # another tag serves what it signs
    assert world.tags.referrers[served] == [digest("sbom")]
    world = World()
    world.tags.served[REPOSITORY] |= {signature: digest("signature"), fallback_tag(served): digest("referrers")}
    world.tags.referrers[served] = [digest("sbom")]
    world.follow(*TAGS[1:])
    world.days(31)
    assert world.in_ecr == sorted(TAGS[1:])
    assert world.tags.referrers == {}


def test_signatures_of_an_indexs_children_go_with_it() -> None:
    world = World()
    child, shared = digest("child"), digest("shared")
    signatures = [cosign_tags(each)[0] for each in (child, shared)]
    world.tags.children = {digest("1.0"): [child, shared], digest("1.1"): [shared]}
    world.tags.served[REPOSITORY] |= dict.fromkeys(signatures, digest("signature"))
    world.follow(*TAGS[1:])
    assert world.days(31).errors == ()
    assert world.in_ecr == sorted([*TAGS[1:], signatures[1]])


@pytest.mark.parametrize("keeps", [None, KeepPrevious(3, timedelta(days=10))])
def test_expired_previous_digests_go_where_the_rule_says_for_how_long(keeps: KeepPrevious | None) -> None:
    world = World(keep_previous=keeps)
    old, young = digest("old"), digest("young")
    names = [previous_tag("1.5", each) for each in (old, young)]
    at = world.clock()
    kept = (KeptDigest(old, names[0], at - timedelta(days=9)), KeptDigest(young, names[1], at - timedelta(days=1)))
    world.publish("1.5", kept=kept)
    world.tags.served[REPOSITORY] |= dict(zip(names, (old, young), strict=True))
    done = world.days(1).rules[0]
    assert done.previous_removed == (0 if keeps is None else 1)
    assert [name in world.in_ecr for name in names] == [keeps is None, True]
    assert world.record("1.5").kept == (kept if keeps is None else kept[1:])


def test_previous_tag_that_serves_something_else_is_left_alone() -> None:
    world = World(keep_previous=KeepPrevious(3, timedelta(days=10)))
    name = previous_tag("1.5", digest("old"))
    world.publish("1.5", kept=(KeptDigest(digest("old"), name, world.clock() - timedelta(days=90)),))
    world.tags.served[REPOSITORY][name] = digest("pushed by hand")
    world.days(3)
    assert name in world.in_ecr


def test_previous_digests_of_a_tag_that_went_go_the_next_day_where_no_rule_keeps_any() -> None:
    world = World()
    name = previous_tag("1.0", digest("old"))
    world.publish("1.0", kept=(KeptDigest(digest("old"), name, world.clock()),))
    world.tags.served[REPOSITORY][name] = digest("old")
    world.follow(*TAGS[1:])
    world.days(31)
    assert [tag in world.in_ecr for tag in ("1.0", name)] == [False, True]
    assert world.days(1).rules[0].previous_removed == 1
    assert world.in_ecr == sorted(TAGS[1:])


def test_previous_digests_of_a_tag_that_went_are_kept_until_they_expire() -> None:
    world = World(keep_previous=KeepPrevious(3, timedelta(days=60)))
    name = previous_tag("1.0", digest("old"))
    world.publish("1.0", kept=(KeptDigest(digest("old"), name, world.clock()),))
    world.tags.served[REPOSITORY][name] = digest("old")
    world.follow(*TAGS[1:])
    world.days(59)
    assert [each in world.in_ecr for each in ("1.0", name)] == [False, True]
    world.days(2)
    assert name not in world.in_ecr


def test_tag_that_somebody_else_has_moved_or_pushed_is_held() -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(30)
    world.tags.served[REPOSITORY]["1.0"] = digest("pushed by hand")
    world.tags.served[REPOSITORY]["by-hand"] = digest("by-hand")
    done = world.days(20).rules[0]
    assert (done.held, done.why_held) == (1, "Pullahead has not published what ECR serves")
    assert {"1.0", "by-hand"} < set(world.in_ecr)


def test_tag_that_an_index_needs_does_not_take_the_share_of_others_every_day() -> None:
    world = World()
    world.tags.children = {digest("all platforms"): [digest("1.0"), digest("1.1")]}
    world.follow(*TAGS[4:])
    assert world.days(31).rules[0].removed == ()
    missing = world.record("1.0").missing
    assert missing is not None
    assert (missing.removed_at, missing.left_at) == (None, world.clock())
    assert world.days(1).rules[0].removed == ("1.2", "1.3")
    world.tags.children.clear()
    assert world.days(1).rules[0].removed == ("1.0",)  # a tenth of 18


def test_tag_that_moves_between_plan_and_removal_is_left_alone_and_not_taken_for_removed() -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(30)
    moved = digest("moved meanwhile")
    world.script.before("remove", lambda: world.tags.served[REPOSITORY].update({"1.0": moved}))
    done = world.days(1).rules[0]
    assert (done.removed, world.outcomes.kinds) == ((), [])
    missing = world.record("1.0").missing
    assert missing is not None
    assert missing.removed_at is None


def test_tag_of_another_rule_is_held() -> None:
    world = World()
    other = rule(tags=SELECTION, name="zebra")
    world.rules = rules([], "r", other, world.rule)
    world.follow(*TAGS[1:])
    world.days(60)
    assert world.in_ecr == sorted(TAGS)


@pytest.mark.parametrize("why", ["heartbeat", "old heartbeat", "other rules", "broken rules"])
def test_nothing_is_even_listed_by_rules_that_are_not_in_force(why: str) -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(30)
    world.clock.advance(days=1)
    world.records.heartbeat = Heartbeat(world.clock(), "r")
    if why == "old heartbeat":
        world.records.heartbeat = Heartbeat(world.clock() - timedelta(days=2), "r")
    elif why == "other rules":
        world.records.heartbeat = Heartbeat(world.clock(), "others")
    elif why == "broken rules":
        world.state.save(RulesState(text=FollowedText(broken=BrokenRules(world.clock(), "wrong"))))
    before = world.script.count("list_tags")
    if why == "heartbeat":
        world.records.heartbeat = None
        plan = PlanPruning(lambda: world.rules, world.state, world.records, world.tags, world.clock)
        assert "last checks" in str(plan.rules_that_prune())
        return
    assert world.prune().why_not
    assert world.script.count("list_tags") == before
    assert "1.0" in world.in_ecr


@pytest.mark.parametrize(
    ("operation", "error", "times"),
    [
        ("list_tags", failed(AccessDeniedError, side=Side.TARGET), 1),
        ("load", StorageError("throttled"), 1),
        ("save", StorageError("throttled"), 3),
    ],
)
def test_failure_is_reported_removes_nothing_and_is_over_the_next_day(
    operation: str, error: PullaheadError, times: int
) -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(30)
    world.script.fail(operation, error, times=times)
    world.clock.advance(days=1)
    world.records.heartbeat = Heartbeat(world.clock(), "r")
    done = world.prune()
    assert done.errors
    assert "1.0" in world.in_ecr
    world.days(2)
    assert "1.0" not in world.in_ecr


def test_without_time_no_rule_is_begun_and_it_is_said() -> None:
    world = World()
    world.seconds = 100.0
    assert world.days(1) == Pruned((), left=1)
    assert world.script.count("list_tags") == 0


def test_rules_that_do_not_prune_cost_a_look_at_the_rules() -> None:
    world = World()
    world.rules = rules([], "r", rule(tags=SELECTION))
    assert world.prune() == Pruned()
    assert world.script.calls == []


def test_quiet_day_writes_nothing() -> None:
    world = World()
    world.days(3)
    assert world.records.writes == 0
    assert world.script.count("list_tags") == 3


def test_day_on_which_one_tag_is_missing_writes_one_record() -> None:
    world = World()
    world.follow(*TAGS[1:])
    before = world.records.writes
    world.days(1)
    assert world.records.writes - before == 1
    assert world.record("1.0").missing == Missing(PruneReason.GONE, world.clock(), 1, world.clock())


def test_pruning_that_was_off_for_more_than_a_week_begins_anew() -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(29)
    off = world.rule
    world.choose(off._replace(prune=None))
    world.days(60)
    world.choose(off)
    world.days(30)
    assert "1.0" in world.in_ecr
    world.days(1)
    assert "1.0" not in world.in_ecr


def test_listing_that_lost_most_tags_removes_nothing_of_what_was_nearly_due_and_says_so() -> None:
    world = World()
    world.follow(*TAGS[1:])
    world.days(30)
    world.follow(*TAGS[15:])
    done = world.days(1).rules[0]
    assert "suspicious" in done.doubt
    assert world.in_ecr == sorted(TAGS)


def test_expired_previous_digests_stay_while_the_listing_is_in_doubt() -> None:
    world = World(keep_previous=KeepPrevious(3, timedelta(days=10)))
    name = previous_tag("1.5", digest("old"))
    world.publish("1.5", kept=(KeptDigest(digest("old"), name, world.clock() - timedelta(days=90)),))
    world.tags.served[REPOSITORY][name] = digest("old")
    listing = world.records.of_rules[world.key]
    world.records.put(listing.with_changes(state=State.UNKNOWN))
    assert world.days(1).rules[0].previous_removed == 0
    world.records.put(listing)
    assert world.days(1).rules[0].previous_removed == 1


def test_signature_tag_that_is_a_mirror_of_its_own_stays() -> None:
    world = World()
    signature = cosign_tags(digest("1.0"))[0]
    world.publish(signature)
    world.follow(*TAGS[1:], signature)
    world.days(31)
    assert [each in world.in_ecr for each in ("1.0", signature)] == [False, True]
