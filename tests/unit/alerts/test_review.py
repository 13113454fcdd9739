"""A review: alerts about Pullahead itself, and retirement of records that no rule needs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pullahead.alerts.plan import MAX_MESSAGES
from pullahead.alerts.review import MAX_OUTBOX, Lateness, Limit
from pullahead.errors import ConfigError, StorageError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.judge import Observation, judge
from pullahead.mirrors.outbox import with_outcome_events
from pullahead.mirrors.record import LastRefresh, MirrorRecord, RuleRecord, State, WaitingDigest
from pullahead.mirrors.rule_record import rule_key
from pullahead.mirrors.store import Heartbeat
from pullahead.rules.mirror_key import MirrorKey, RuleKey
from pullahead.rules.model import Rules
from pullahead.rules.sources.findings import Findings
from pullahead.rules.sources.state import BrokenRules, FollowedText, RulesState
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.alerts import ADDRESS, ReviewedService
from tests.fakes.records import fresh, listing_record, unfresh
from tests.fakes.samples import KEY, REPOSITORY, digest, mirror, root, rule, rules
from tests.fakes.sources import QUAY

NAMED = rules([mirror("1.0"), mirror("2.0")])
CHOOSING = rule("1.0", tags=TagSelection(names=("1.0",), patterns=(TagPattern(PatternKind.GLOB, "*"),)))


class KnownRules(ReviewedService):
    """Two mirrors that are fresh, and rules by which checks are sent."""

    def __init__(self, known: Rules = NAMED) -> None:
        super().__init__(lambda: self.rules)
        self.rules = known
        self.keep(*(fresh(f"{REPOSITORY}:{tag}", self.clock()) for tag in ("1.0", "2.0")))
        self.rules_state.save(RulesState())
        self.beat()

    def beat(self, **later: float) -> None:
        """Let the schedule send checks."""
        self.clock.advance(**later)
        self.records.heartbeat = Heartbeat(self.clock(), self.rules.digest)

    def follow(self, *tags: str, digest: str = "rules-2") -> None:
        """Deploy other rules, and let the schedule send checks by them."""
        self.rules = rules([mirror(tag) for tag in tags], digest)
        self.beat()

    def break_rules(self, broken: BrokenRules | None) -> None:
        self.rules_state.save(RulesState(text=FollowedText("good", "2", broken)))

    def leaving(self) -> list[str]:
        return sorted(str(record.key) for record in self.records.scan() if record.expires_at is not None)


def test_lateness_is_measured_by_the_index_and_not_by_a_scan() -> None:
    known = KnownRules()
    known.keep(unfresh(KEY, State.STALE, known.clock() - timedelta(hours=2)))
    assert known.review().lateness == Lateness(1, 7200.0)
    known.keep(unfresh(KEY, State.STALE, known.clock() - timedelta(hours=3)))
    assert known.review().lateness == Lateness(1, 10800.0)
    assert (known.script.count("to_review"), known.script.count("scan_after"), known.script.count("scan")) == (2, 1, 0)


@pytest.mark.parametrize("error", [ConfigError("no rules"), StorageError("no bucket")])
def test_alerts_are_sent_although_rules_are_not_known(error: Exception) -> None:
    known = KnownRules()
    known.rules = NAMED

    def no_rules() -> Rules:
        raise error

    known.use_case._rules = no_rules
    reviewed = known.review(hours=2)
    assert (reviewed.lateness, reviewed.errors) == (None, (error,))
    assert known.alerts.kinds == ["NOT_CHECKED"]


class TestNotChecked:
    def test_missing_checks_are_reported_once_and_recover_once(self) -> None:
        known = KnownRules()
        assert known.sent_alerts(minutes=29) == []
        assert known.sent_alerts(minutes=1) == ["mirrors are not checked"]
        assert known.sent_alerts(minutes=5) == known.sent_alerts(days=3) == []
        known.beat(minutes=5)
        assert known.sent_alerts() == ["mirrors are checked again"]
        assert known.sent_alerts(minutes=5) == []

    def test_checks_missing_again_within_a_day_are_not_reported(self) -> None:
        known = KnownRules()
        sent = []
        for _ in range(10):
            sent += known.sent_alerts(hours=1)
            known.beat()
            sent += known.sent_alerts()
        assert len(sent) == 2
        assert known.sent_alerts(hours=24) == ["mirrors are not checked"]

    def test_schedule_that_never_ran_is_reported_half_an_hour_after_the_first_review(self) -> None:
        known = KnownRules()
        known.records.heartbeat = None
        assert known.sent_alerts() == known.sent_alerts(minutes=29) == []
        assert known.sent_alerts(minutes=1) == ["mirrors are not checked"]
        assert known.alerts.published[0].members[0].detail == "no checks were ever sent"
        known.beat()
        assert known.sent_alerts() == ["mirrors are checked again"]

    def test_message_whose_incident_was_not_stored_is_repeated(self) -> None:
        known = KnownRules()
        known.script.fail("save_incident", StorageError("no"))
        assert len(known.sent_alerts(hours=1)) == 1
        assert len(known.sent_alerts(minutes=5)) == 1
        assert known.sent_alerts(minutes=5) == []


class TestBrokenRules:
    def test_broken_rules_are_reported_once_and_recover_once(self) -> None:
        known = KnownRules()
        known.break_rules(BrokenRules(known.clock(), "line 3: 'mirors' is not known"))
        assert known.sent_alerts(minutes=5) == [f"rules {ADDRESS} cannot be used"]
        assert known.alerts.published[0].members[0].detail == "line 3: 'mirors' is not known"
        known.beat(minutes=5)
        assert known.sent_alerts() == []
        known.break_rules(None)
        assert known.sent_alerts() == ["the rules can be used again"]
        assert known.sent_alerts() == []

    def test_another_problem_is_reported_after_an_hour(self) -> None:
        known = KnownRules()
        for number in range(6):
            known.break_rules(BrokenRules(known.clock(), f"mistake {number}"))
            known.beat(minutes=10)
            known.review()
        assert known.alerts.kinds == ["RULES_BROKEN"]
        known.beat(minutes=10)
        assert len(known.sent_alerts()) == 1
        assert known.alerts.published[-1].members[0].detail == "mistake 5"

    def test_flapping_unreadable_file_is_reported_once_a_day(self) -> None:
        known = KnownRules()
        for number in range(10):
            known.break_rules(BrokenRules(known.clock(), f"request {number} failed", unreadable=True))
            known.beat(minutes=5)
            known.review()
            known.break_rules(None)
            known.review()
        assert known.alerts.kinds == ["RULES_BROKEN", "RECOVERED"]

    def test_missing_state_reports_nothing_about_the_rules(self) -> None:
        known = KnownRules()
        known.break_rules(BrokenRules(known.clock(), "no"))
        known.review()
        known.rules_state.content = None
        assert known.sent_alerts() == []


class TestSkippedRules:
    def skip(self, known: KnownRules, reason: str = "no role for it") -> None:
        known.rules = replace(
            rules([mirror("1.0"), mirror("2.0")], "rules-1", rule("1.0", "2.0")), skipped={"app": reason}
        )

    def test_skipped_rules_are_reported_once_and_recover_once(self) -> None:
        known = KnownRules()
        self.skip(known)
        known.beat(minutes=5)
        assert known.sent_alerts() == ["some rules are skipped"]
        assert known.alerts.published[0].members[0].detail == "skipped: app: no role for it"
        known.beat(days=40)
        assert known.sent_alerts() == []
        known.rules = NAMED
        known.beat()
        assert known.sent_alerts() == ["all rules are followed"]

    def test_mirror_of_a_skipped_rule_is_neither_late_nor_retired(self) -> None:
        known = KnownRules()
        known.keep(unfresh(KEY, State.UNKNOWN, known.clock() - timedelta(hours=9)))
        self.skip(known)
        known.beat(minutes=5)
        reviewed = known.review()
        assert (reviewed.lateness, reviewed.scan.retired) == (Lateness(0, 0.0), 0)


class TestRetirement:
    def test_mirror_without_a_rule_expires_in_a_week_and_is_reported_once(self) -> None:
        known = KnownRules()
        known.follow("1.0")
        assert known.review().scan.retired == 1
        gone = known.records.stored[MirrorKey(REPOSITORY, "2.0")]
        assert gone.expires_at == known.clock() + timedelta(days=7)
        assert known.sent_alerts() == [f"{REPOSITORY}:2.0 is no longer in the rules"]
        known.beat(minutes=5)
        assert (known.sent_alerts(), known.review().scan.retired) == ([], 0)
        assert known.leaving() == [f"{REPOSITORY}:2.0"]

    def test_many_retired_mirrors_are_one_message(self) -> None:
        known = KnownRules()
        known.keep(*(fresh(f"{REPOSITORY}:3.{number}", known.clock()) for number in range(50)))
        known.follow("1.0", "2.0")
        known.review()
        assert known.sent_alerts() == ["50 mirrors of ghcr.io are no longer in the rules"]

    def test_open_alerts_of_a_retired_mirror_are_closed_silently(self) -> None:
        known = KnownRules()
        late = unfresh(f"{REPOSITORY}:2.0", State.STALE, known.clock() - timedelta(hours=9))
        known.keep(late.with_changes(alerted=("STALE",)))
        known.follow("1.0")
        known.review()
        leaving = known.records.stored[late.key]
        assert (leaving.alerted, [alert.kind for alert in leaving.pending]) == ((), ["RETIRED"])
        assert known.review().lateness == Lateness(0, 0.0)

    def test_mirror_that_is_added_back_is_kept_by_its_next_check(self) -> None:
        known = KnownRules()
        known.follow("1.0")
        known.review()
        retired = known.records.stored[MirrorKey(REPOSITORY, "2.0")]
        served = root("new")
        again = judge(Observation(served, served.digest), retired, mirror("2.0"), known.clock()).record
        assert (again.expires_at, again.pending) == (None, ())

    def test_at_most_a_thousand_records_are_retired_at_once(self) -> None:
        known = KnownRules()
        known.keep(*(fresh(f"{REPOSITORY}:3.{number}", known.clock()) for number in range(1500)))
        assert [known.review().scan.retired for _ in range(3)] == [1000, 500, 0]

    def test_retirement_is_left_to_the_next_review_when_time_runs_out(self) -> None:
        known = KnownRules()
        known.follow("1.0")
        assert known.review(left=5.0).scan.retired == 0
        assert known.review().scan.retired == 1

    def test_record_changed_meanwhile_is_retired_with_its_change(self) -> None:
        known = KnownRules()
        known.follow("1.0")
        key = MirrorKey(REPOSITORY, "2.0")

        def move() -> None:
            stored = known.records.stored[key]
            known.records.stored[key] = stored.with_changes(version=stored.version + 1, state=State.STALE)

        known.script.before("save", move)
        assert known.review().scan.retired == 1
        assert known.records.stored[key].state is State.STALE


class TestNothingIsRetiredByMistake:
    def test_rules_that_match_nothing_are_reported_and_retire_nothing(self) -> None:
        known = KnownRules()
        known.keep(listing_record(rule_key(CHOOSING), known.clock()))
        known.follow(digest="empty")
        assert known.sent_alerts() == []  # the scan that finds it out comes after the alerts
        assert known.sent_alerts() == ["the rules match none of the known mirrors"]
        assert "2 mirrors have records" in known.alerts.published[0].members[0].detail
        known.beat(minutes=5)
        assert (known.sent_alerts(), known.leaving()) == ([], [])
        known.follow("1.0", digest="good")
        assert [*known.sent_alerts(), *known.sent_alerts()] == [
            "the rules match mirrors again",
            f"{REPOSITORY}:2.0 is no longer in the rules",
        ]

    def test_rules_that_the_schedule_has_not_used_retire_nothing(self) -> None:
        known = KnownRules()
        known.rules = rules([mirror("1.0")], "newer")
        known.review()
        assert known.leaving() == []

    def test_last_valid_version_of_broken_rules_retires_nothing(self) -> None:
        known = KnownRules()
        known.follow("1.0")
        known.break_rules(BrokenRules(known.clock(), "no"))
        known.review()
        assert known.leaving() == []

    def test_unreadable_state_retires_nothing(self) -> None:
        """Without it, rules that were found by ECR's pull through cache or by tags are missing."""
        known = KnownRules()
        known.follow("1.0")
        known.rules_state.content = None
        known.review()
        assert known.leaving() == []

    def test_paused_rule_retires_nothing(self) -> None:
        known = KnownRules(replace(NAMED, paused=frozenset({"app"})))
        known.review()
        assert known.leaving() == []


class TestChosenTags:
    def known(self, listing: RuleRecord | None) -> KnownRules:
        known = KnownRules(rules([mirror("1.0")], "rules-1", CHOOSING))
        known.keep(fresh(f"{REPOSITORY}:3.0", known.clock()), *([listing] if listing is not None else []))
        return known

    def listing(self, state: State = State.FRESH, *followed: str) -> RuleRecord:
        record = listing_record(rule_key(CHOOSING), KnownRules().clock(), followed=followed)
        return record.with_changes(state=state)

    def test_tag_that_is_no_longer_selected_is_retired_silently(self) -> None:
        known = self.known(self.listing(State.FRESH, "3.0"))
        assert known.review().scan.retired == 1
        assert known.leaving() == [f"{REPOSITORY}:2.0"]
        assert known.sent_alerts(minutes=5) == []

    @pytest.mark.parametrize("state", [State.UNKNOWN, State.BLOCKED, State.GONE])
    def test_failed_listing_retires_nothing(self, state: State) -> None:
        known = self.known(self.listing(state, "3.0"))
        known.review()
        assert known.leaving() == []

    @pytest.mark.parametrize("listing", [None, listing_record(rule_key(CHOOSING), KnownRules().clock())])
    def test_unknown_listing_retires_nothing(self, listing: RuleRecord | None) -> None:
        known = self.known(listing)
        known.review()
        assert known.leaving() == []

    def test_listing_without_a_rule_is_retired(self) -> None:
        known = self.known(self.listing(State.FRESH, "3.0"))
        known.rules = rules([mirror("1.0"), mirror("2.0"), mirror("3.0")], "rules-2")
        known.beat()
        known.review()
        assert known.leaving() == [str(rule_key(CHOOSING))]
        assert known.sent_alerts() == []  # it is no mirror

    def test_listings_of_a_namespace_are_kept_with_their_rule(self) -> None:
        namespace = rule(upstream="quay.io/prom/*", repository="quay/{name}", name="prom", tags=CHOOSING.tags)
        known = KnownRules(rules([mirror("1.0"), mirror("2.0")], "rules-1", namespace))
        for key in (rule_key(namespace), RuleKey("quay/node", "prom"), RuleKey("else/node", "prom")):
            known.keep(listing_record(key, known.clock()))
        known.review()
        assert known.leaving() == ["else/node (prom):*"]


def test_events_left_in_the_outbox_are_sent() -> None:
    known = KnownRules()
    before = known.records.stored[KEY]
    refresh = LastRefresh(known.clock(), 1.0, 2.0, 3, "arn:1", root("new").digest)
    known.keep(with_outcome_events(before, before.with_changes(last_refresh=refresh), "app", known.clock()))
    known.review()
    assert known.outcomes.kinds == []  # perhaps it is under way
    known.beat(minutes=10)
    known.review(left=59.0)
    assert known.outcomes.kinds == []  # a thousand of them would take the review's last minute
    known.review()
    known.review()
    assert known.outcomes.kinds == ["Refreshed"]


def test_more_events_in_the_outbox_than_one_review_sends_are_a_limit_that_the_next_ones_work_off() -> None:
    known = KnownRules()
    before = known.records.stored[KEY]
    refresh = LastRefresh(known.clock(), 1.0, 2.0, 3, "arn:1", root("new").digest)
    announced = with_outcome_events(before, before.with_changes(last_refresh=refresh), "app", known.clock())
    for number in range(MAX_OUTBOX + 5):
        known.keep(announced.with_changes(key=MirrorKey("other", f"{number}")))
    known.beat(minutes=10)
    limits = [known.review().limits, known.review().limits]
    assert limits == [(Limit.OUTBOX,), ()]
    assert known.outcomes.kinds == ["Refreshed"] * (MAX_OUTBOX + 5)


def test_more_messages_than_one_review_sends_are_a_limit_that_the_next_ones_work_off() -> None:
    known = KnownRules()
    known.records.heartbeat = Heartbeat(known.clock(), "others")  # by these rules nothing is retired
    for number in range(2 * MAX_MESSAGES + 5):
        key, since = MirrorKey(f"mirror/{number}", "1.0"), known.clock()
        alert = Alert(AlertKind.STALE, key, f"registry-{number}.example/app:1.0", since, since)
        known.keep(unfresh(key, State.STALE, since, alerted=(AlertKind.STALE,), pending=(alert,)))
    reviews = [known.review() for _ in range(4)]
    assert [len(each.notifications.sent) for each in reviews] == [MAX_MESSAGES, MAX_MESSAGES, 5, 0]
    assert [each.limits for each in reviews] == [(Limit.MESSAGES,), (Limit.MESSAGES,), (), ()]


def test_newly_cached_mirror_is_not_retired_before_the_schedule_finds_it() -> None:
    known = KnownRules()
    known.rules_state.save(RulesState(findings=Findings(cache_rules=(QUAY,), within=("quay/*",))))
    known.keep(*(fresh(f"{repository}:1", known.clock()) for repository in ("quay/new", "quayside/new")))
    known.review()
    assert known.leaving() == ["quayside/new:1"]
    known.beat(minutes=14, seconds=59)
    known.review()
    assert known.leaving() == ["quayside/new:1"]
    known.beat(minutes=45, seconds=1)  # an hour after the scan that found it too new
    known.review()
    assert known.leaving() == ["quay/new:1", "quayside/new:1"]


class TestCooledDigests:
    """Checks of what is old enough: queued for the moment when it is."""

    def cooling(self, key: MirrorKey, known: KnownRules, **later: float) -> MirrorRecord:
        until = known.clock() + timedelta(**later)
        waiting = WaitingDigest(digest("new"), known.clock(), until)
        return fresh(str(key), known.clock()).with_changes(state=State.COOLING, waiting=waiting)

    def test_check_is_queued_for_the_moment_at_which_a_digest_is_old_enough(self) -> None:
        known = KnownRules()
        known.keep(self.cooling(KEY, known, minutes=14), self.cooling(MirrorKey(REPOSITORY, "2.0"), known, minutes=16))
        known.review()
        ((request, delay),) = known.woken
        assert (request.reason, request.repository, request.tags, delay) == ("schedule", REPOSITORY, ("1.0",), 840)
        known.review(minutes=1, seconds=0.5)
        assert [(request.tags, delay) for request, delay in known.woken[1:]] == [(("2.0",), 900)]

    def test_check_is_queued_once_before_the_moment_and_again_where_that_has_not_helped(self) -> None:
        known = KnownRules()
        known.keep(self.cooling(KEY, known, minutes=14))
        for _ in range(3):
            known.review(minutes=4)
        assert len(known.woken) == 1
        known.review(minutes=4)
        assert [delay for _, delay in known.woken] == [600, 0]

    def test_moment_that_has_moved_is_another_one(self) -> None:
        known = KnownRules()
        known.keep(self.cooling(KEY, known, minutes=14))
        known.review()
        known.keep(self.cooling(KEY, known, minutes=10))
        known.review()
        assert [delay for _, delay in known.woken] == [840, 600]

    def test_record_is_not_read_before_its_digest_is_nearly_old_enough(self) -> None:
        known = KnownRules()
        known.keep(self.cooling(KEY, known, days=3))
        assert known.review().records == 0
        assert known.review(days=2, hours=23, minutes=50).records == 1

    def test_cooling_mirror_is_not_late(self) -> None:
        known = KnownRules()
        known.keep(self.cooling(KEY, known, minutes=5))
        assert known.review(minutes=4).lateness == Lateness(0, 0.0)

    def test_rule_that_is_paused_or_gone_wakes_nothing(self) -> None:
        known = KnownRules()
        known.keep(self.cooling(KEY, known, minutes=5))
        known.rules = replace(NAMED, paused=frozenset({"app"}))
        known.review()
        known.rules = rules([mirror("2.0")])
        known.review()
        assert known.woken == []

    def test_check_that_does_not_help_is_left_to_the_schedule_after_an_hour(self) -> None:
        known = KnownRules()
        known.keep(self.cooling(KEY, known, minutes=5))
        known.review(minutes=64)
        assert len(known.woken) == 1
        known.review(minutes=2)
        assert len(known.woken) == 1

    def test_queue_that_fails_stops_nothing_else(self) -> None:
        known = KnownRules()
        known.keep(
            self.cooling(KEY, known, minutes=5), unfresh(MirrorKey(REPOSITORY, "2.0"), State.STALE, known.clock())
        )
        error = StorageError("no queue")

        def refuse(_requests: object, _delay: int) -> None:
            raise error

        known.use_case._queue_checks = refuse
        reviewed = known.review(minutes=1)
        assert (reviewed.errors, reviewed.lateness) == ((error,), Lateness(1, 60.0))
