"""Alerts are sent by incident: one message for all its mirrors, at intervals."""

import pytest

from pullahead.alerts.chatbot import chatbot_json
from pullahead.alerts.text import text_of
from pullahead.errors import AccessDeniedError, PullaheadError, RegistryTimeoutError, RegistryUnavailableError
from pullahead.mirrors.alert import MAX_PENDING, Alert, AlertKind
from pullahead.mirrors.judge import Observation
from pullahead.mirrors.rule_record import ListingOutcome, judge_listing, rule_key
from pullahead.mirrors.stored_record import encode_record
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.reviewed_mirrors import DOWN, DRIFTED, FRESH, NEW, OLD, OTHER, STALE, ReviewedMirrors
from tests.fakes.samples import failed, rule


def test_alert_is_sent_once_by_the_next_review() -> None:
    service = ReviewedMirrors()
    service.stale()
    assert service.sent_alerts() == ["mirror/a:1.0 is stale"]
    assert service.pending == []
    assert [sent.kind for sent in service.record().told] == [AlertKind.STALE]
    assert service.sent_alerts(minutes=5) == service.sent_alerts(hours=90) == []


def test_review_without_alerts_writes_nothing() -> None:
    service = ReviewedMirrors("a", "b")
    service.review()  # the first one scans all records
    service.script.resume()
    assert service.sent_alerts(minutes=5) == []
    assert set(service.script.calls) == {
        *("to_review", "load_scan_state", "load_heartbeat", "load_rules_state", "load_incidents")
    }
    assert service.script.calls.count("load_incidents") == 1


def test_two_thousand_alerts_are_one_message_and_their_recovery_another() -> None:
    service = ReviewedMirrors(*(f"m{number:05}" for number in range(2_000)))
    service.stale()
    assert service.sent_alerts() == ["2,000 mirrors of ghcr.io are stale"]
    (notice,) = service.alerts.published
    assert ([str(member.mirror) for member in notice.members], notice.mirrors) == (
        [f"mirror/m{number:05}:1.0" for number in range(10)],
        2_000,
    )
    assert service.pending == []
    service.check(FRESH, minutes=5)
    assert service.sent_alerts() == ["2,000 mirrors of ghcr.io are fresh again"]
    assert service.sent_alerts(hours=30) == []


def test_alerts_are_grouped_by_registry_and_cause() -> None:
    service = ReviewedMirrors("a", "b")
    service.mirrors["c"] = service.mirror("c", "quay.io")
    service.check(FRESH, "c")
    service.check(STALE, "a", "c")
    service.check(DOWN, "b")
    service.check(STALE, "a", "c", hours=2)
    service.check(DOWN, "b")
    assert sorted(service.sent_alerts()) == [
        "mirror/a:1.0 is stale",
        "mirror/b:1.0 cannot be checked",
        "mirror/c:1.0 is stale",
    ]


DENIED = failed(AccessDeniedError, "access denied", status=401)
DENIED.sent = "sent as user robot of the secret pullahead/ghcr"


def list_tags(service: ReviewedMirrors, error: PullaheadError | None, repository: str = "mirror/a") -> None:
    """Let the listing of a rule end."""
    declared = rule(tags=TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),)), repository=repository)
    key = rule_key(declared)
    known = service.records.load_one(key)
    outcome = ListingOutcome(("1.0",) if error is None else None, error)
    after = judge_listing(outcome, known, declared, service.clock())
    service.records.save(after, known.version if known is not None else 0)


def test_outage_of_a_registry_is_one_alert_for_its_mirrors_and_listings() -> None:
    service = ReviewedMirrors("a", "b")
    down = failed(RegistryUnavailableError, "it is down")
    for minutes in (0, 61):
        service.check(DOWN, minutes=minutes)
        list_tags(service, down)
        list_tags(service, failed(RegistryTimeoutError), "mirror/other")
    assert service.sent_alerts() == ["2 mirrors and 2 rules of ghcr.io cannot be checked"]
    assert text_of(service.alerts.published[0]).count("ECR serves the last copies meanwhile.") == 1
    service.check(FRESH)
    list_tags(service, None)
    list_tags(service, None, "mirror/other")
    assert service.sent_alerts() == ["2 mirrors and 2 rules of ghcr.io are fresh again"]


def test_denied_access_is_sent_at_once_for_mirrors_and_listings() -> None:
    service = ReviewedMirrors()
    service.check(Observation(DENIED, OLD.digest))
    list_tags(service, DENIED)
    assert service.sent_alerts() == ["1 mirror and 1 rule of ghcr.io cannot be read upstream"]
    (notice,) = service.alerts.published
    assert notice.kind == "ACCESS_DENIED"
    assert "sent as user robot of the secret pullahead/ghcr" in text_of(notice)


def test_alert_about_mirrors_that_were_never_copied_says_so() -> None:
    service = ReviewedMirrors("a", "b")
    service.mirrors["new"] = service.mirror("new", "ghcr.io")
    never = Observation(DOWN.upstream, None)
    for minutes in (0, 61):
        service.check(DOWN, "a", "b", minutes=minutes)
        service.check(never, "new")
    service.sent_alerts()
    assert "the last copy of 2 of them; 1 has no copy yet." in text_of(service.alerts.published[0])


class TestIntervals:
    def test_more_stale_tags_are_reported_an_hour_later_with_their_total(self) -> None:
        service = ReviewedMirrors("a", "b", "c")
        service.check(STALE)
        service.check(STALE, "a", minutes=61)
        assert service.sent_alerts() == ["mirror/a:1.0 is stale"]
        service.check(STALE, "b", "c", minutes=1)
        assert service.sent_alerts(minutes=58) == []
        assert service.sent_alerts(minutes=1) == ["2 mirrors of ghcr.io are stale"]
        assert service.alerts.published[-1].still_open == 3

    def test_trickle_of_alerts_is_reported_hourly(self) -> None:
        names = [f"m{number:02}" for number in range(24)]
        service = ReviewedMirrors(*names)
        service.check(STALE)
        service.clock.advance(hours=2)
        sent = []
        for name in names:
            service.check(STALE, name, minutes=5)
            sent += service.sent_alerts()
        assert sent == [
            "mirror/m00:1.0 is stale",
            "12 mirrors of ghcr.io are stale",
        ]
        assert service.sent_alerts(minutes=60) == ["11 mirrors of ghcr.io are stale"]

    def test_more_mirrors_of_a_failing_upstream_are_reported_a_day_later(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.check(DOWN, "a")
        service.check(DOWN, "a", hours=1)
        assert len(service.sent_alerts()) == 1
        service.check(DOWN, "b")
        service.check(DOWN, "b", hours=2)
        assert service.sent_alerts() == service.sent_alerts(hours=20) == []
        assert service.sent_alerts(hours=2) == ["mirror/b:1.0 cannot be checked"]

    def test_flapping_mirror_is_reported_once_a_day(self) -> None:
        service = ReviewedMirrors()
        sent = []
        for _ in range(10):
            service.stale()
            sent += service.sent_alerts()
            service.check(FRESH, minutes=5)
            sent += service.sent_alerts()
        assert sent == ["mirror/a:1.0 is stale", "mirror/a:1.0 is fresh again"]
        assert service.pending == []

    def test_trouble_that_is_back_is_reported_again_after_a_day(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.sent_alerts()
        service.check(FRESH, minutes=5)
        service.sent_alerts()
        service.stale()
        reviewed = service.review()
        assert (reviewed.notifications.sent, reviewed.notifications.held_back) == ((), 1)
        assert service.sent_alerts(hours=22) == []
        assert service.sent_alerts(hours=2) == ["mirror/a:1.0 is stale"]

    def test_alert_that_is_over_before_it_is_sent_is_dropped(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.check(FRESH, minutes=1)
        reviewed = service.review()
        assert (reviewed.notifications.sent, reviewed.notifications.dropped) == ((), 1)
        assert service.pending == []

    def test_alerts_that_no_review_sends_are_bounded_and_told_as_one_in_the_end(self) -> None:
        service = ReviewedMirrors()
        for _ in range(300):
            service.check(DRIFTED, minutes=1)
            service.check(FRESH, minutes=1)
            service.check(DOWN, minutes=1)
            service.check(DOWN, minutes=61)
            service.check(FRESH, minutes=1)
        began = service.pending[0].at
        assert len(service.pending) <= MAX_PENDING
        assert len(encode_record(service.record())) < 40_000
        service.stale()
        assert service.sent_alerts() == ["mirror/a:1.0 was overwritten in ECR and restored", "mirror/a:1.0 is stale"]
        assert service.alerts.published[0].members[0].at == began
        assert service.pending == []

    def test_recovery_of_some_waits_an_hour_and_counts_the_others(self) -> None:
        service = ReviewedMirrors("a", "b", "c")
        service.stale()
        assert service.sent_alerts() == ["3 mirrors of ghcr.io are stale"]
        service.check(FRESH, "a", minutes=5)
        service.check(FRESH, "b", minutes=5)
        assert service.sent_alerts() == service.sent_alerts(minutes=50) == []
        assert service.sent_alerts(minutes=10) == ["2 mirrors of ghcr.io are fresh again"]
        assert service.alerts.published[-1].still_open == 1
        service.check(FRESH, "c", minutes=5)
        assert service.sent_alerts() == ["mirror/c:1.0 is fresh again"]
        assert service.alerts.published[-1].still_open == 0

    def test_recovery_that_does_not_last_is_dropped(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.stale()
        service.sent_alerts()
        service.check(FRESH, "a", minutes=5)
        assert service.sent_alerts() == []
        service.check(STALE, "a")
        service.check(STALE, "a", minutes=61)
        assert service.sent_alerts() == []
        assert service.pending == []
        service.check(FRESH, minutes=5)
        assert service.sent_alerts() == ["2 mirrors of ghcr.io are fresh again"]

    def test_incidents_are_reported_by_twenties_oldest_first(self) -> None:
        service = ReviewedMirrors()
        for number in range(25):
            name = f"m{number:02}"
            service.mirrors[name] = service.mirror(name, f"r{number:02}.example")
        del service.mirrors["a"]
        service.check(FRESH)
        service.check(STALE)
        service.clock.advance(hours=1)
        for name in reversed(list(service.mirrors)):
            service.check(STALE, name, seconds=1)
        assert service.sent_alerts() == [f"mirror/m{number:02}:1.0 is stale" for number in range(24, 4, -1)]
        assert service.sent_alerts() == [f"mirror/m{number:02}:1.0 is stale" for number in range(4, -1, -1)]


class TestDrift:
    def test_overwritten_tag_is_reported_although_it_is_restored(self) -> None:
        service = ReviewedMirrors()
        service.check(DRIFTED)
        service.check(FRESH, minutes=2)
        assert service.sent_alerts() == ["mirror/a:1.0 was overwritten in ECR and restored"]
        assert service.pending == []
        assert service.sent_alerts(hours=2) == []

    def test_restored_tag_is_reported_as_recovered(self) -> None:
        service = ReviewedMirrors()
        service.check(DRIFTED)
        assert service.sent_alerts() == ["mirror/a:1.0 was overwritten in ECR"]
        assert OTHER.digest in service.alerts.published[0].members[0].detail
        service.check(FRESH, minutes=2)
        assert service.sent_alerts() == ["mirror/a:1.0 was overwritten in ECR and is restored"]

    def test_repeatedly_overwritten_tag_is_reported_once_a_day(self) -> None:
        service = ReviewedMirrors()
        sent = []
        for _ in range(10):
            service.check(DRIFTED, minutes=5)
            service.check(FRESH, minutes=1)
            sent += service.sent_alerts()
        assert sent == ["mirror/a:1.0 was overwritten in ECR and restored"]
        service.check(DRIFTED, hours=24)
        assert service.sent_alerts() == ["mirror/a:1.0 was overwritten in ECR"]

    @pytest.mark.parametrize(
        "observed",
        [STALE, Observation(OLD, None), Observation(NEW, OTHER.digest)],
        ids=["moved", "deleted", "both-moved"],
    )
    def test_stale_tag_is_not_reported_as_overwritten(self, observed: Observation) -> None:
        service = ReviewedMirrors()
        service.check(observed)
        assert service.sent_alerts() == []


def test_record_notes_when_its_alert_was_sent() -> None:
    service = ReviewedMirrors()
    service.stale()
    service.review()
    sent = service.record().last_told(AlertKind.STALE)
    assert sent is not None
    assert sent.at == service.clock()


def test_recovery_of_an_alert_of_an_older_version_is_sent() -> None:
    service = ReviewedMirrors()
    service.stale()
    stored = service.record()
    service.keep(stored.with_changes(pending=(), told=()))
    service.check(FRESH, minutes=5)
    assert service.sent_alerts() == ["mirror/a:1.0 is fresh again"]
    assert "Was:           STALE" in text_of(service.alerts.published[-1])


def test_recovery_written_by_an_older_version_names_no_kind() -> None:
    service = ReviewedMirrors()
    began = service.clock()
    over = Alert(AlertKind.RECOVERED, service.record().key, "ghcr.io/team/a:1.0", began, began)
    service.keep(service.record().with_changes(pending=(over,)))
    assert service.sent_alerts() == ["mirror/a:1.0 is fresh again"]
    (notice,) = service.alerts.published
    assert "RECOVERED" not in text_of(notice)
    assert "*Was*" not in chatbot_json(notice)
    assert service.pending == []
