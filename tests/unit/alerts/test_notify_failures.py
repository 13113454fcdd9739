"""No alert is lost, whatever fails; at worst one is sent twice."""

from datetime import datetime, timedelta

import msgspec
import pytest

from pullahead.alerts.incidents import MAX_MARKS, Incident, incident_key
from pullahead.alerts.notify import LEAST_RECORDS
from pullahead.errors import StorageError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import State
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.alerts import ReviewedService
from tests.fakes.memory import FakeClock
from tests.fakes.records import fresh, unfresh
from tests.fakes.reviewed_mirrors import DOWN, FRESH, STALE, ReviewedMirrors
from tests.fakes.samples import UPSTREAM, rules
from tests.fakes.script import Killed

NOW = FakeClock()()


class TestCrash:
    """A review that dies repeats a message at worst; it loses none."""

    def calls(self) -> list[str]:
        service = self.service()
        service.script.resume()
        service.review()
        return service.script.calls

    def service(self) -> ReviewedMirrors:
        service = ReviewedMirrors("a", "b")
        service.stale()
        return service

    def test_crash_between_any_two_calls_loses_nothing_and_repeats_at_most_one_message(self) -> None:
        calls = self.calls()
        remembered = calls.index("save_incident")
        for call in range(len(calls)):
            service = self.service()
            service.script.resume()
            service.script.kill_at = call
            with pytest.raises(Killed):
                service.review()
            service.script.resume()
            service.review(minutes=5)
            service.review(minutes=10)
            times = 2 if calls[call] == "save_incident" else 1
            assert service.alerts.subjects == ["2 mirrors of ghcr.io are stale"] * times, calls[call]
            assert service.pending == []
        assert calls[remembered - 1] == "publish"

    def test_message_with_a_lost_response_is_repeated(self) -> None:
        service = self.service()
        service.script.fail("publish", StorageError("no answer"), after=True)
        assert [str(error) for error in service.errors()] == ["no answer"]
        assert service.sent_alerts(minutes=5) == ["2 mirrors of ghcr.io are stale"]

    def test_records_that_could_not_be_written_are_written_by_the_next_review_silently(self) -> None:
        service = self.service()
        service.script.fail("save", StorageError("no"), times=2)
        assert len(service.errors()) == 2
        assert len(service.pending) == 2
        assert service.sent_alerts(minutes=5) == []
        assert service.pending == []
        service.check(FRESH, minutes=5)
        assert service.sent_alerts() == ["2 mirrors of ghcr.io are fresh again"]

    def test_recovery_is_reported_in_its_incident_while_the_alert_is_in_the_records(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.check(DOWN)
        service.check(DOWN, hours=2)
        service.script.fail("save", StorageError("no"), times=2)
        service.review()
        service.check(FRESH, minutes=5)
        assert service.sent_alerts() == ["2 mirrors of ghcr.io are fresh again"]
        began, over = service.alerts.published
        assert began.incident == over.incident == "UPSTREAM_UNREACHABLE#ghcr.io#RegistryUnavailableError"
        assert service.pending == []
        assert service.sent_alerts(hours=2) == []

    def test_recovery_that_is_still_in_the_records_is_not_repeated(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.check(DOWN)
        service.check(DOWN, hours=2)
        service.review()
        service.check(FRESH, minutes=5)
        service.script.fail("save", StorageError("no"), times=2)
        assert service.sent_alerts() == ["2 mirrors of ghcr.io are fresh again"]
        assert len(service.pending) == 2
        assert service.sent_alerts(minutes=5) == []
        assert service.pending == []

    def test_incident_drops_marks_that_are_in_no_record(self) -> None:
        service = ReviewedMirrors("a", "b", "c")
        service.check(STALE)
        for name in ("a", "b", "c"):
            service.check(STALE, name, minutes=61)
            service.review()
        (incident,) = [each for key, each in service.incidents.stored.items() if key.startswith("STALE")]
        assert len(incident.marks) == 1

    def test_alert_that_is_still_in_a_record_is_not_repeated_by_the_next_message(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.check(STALE)
        service.check(STALE, "a", minutes=61)
        service.script.fail("save", StorageError("no"))
        assert service.sent_alerts() == ["mirror/a:1.0 is stale"]
        service.check(STALE, "b", minutes=61)
        service.script.fail("save", StorageError("no"), times=2)
        assert service.sent_alerts() == ["mirror/b:1.0 is stale"]
        assert len(service.pending) == 2
        assert service.sent_alerts(minutes=61) == []
        assert service.pending == []

    def test_alert_raised_while_others_were_sent_is_sent_later(self) -> None:
        """It was written after the scan, with an earlier time than the message."""
        service = ReviewedMirrors("a", "b")
        service.check(STALE)
        service.check(STALE, "a", minutes=61)
        service.script.before("publish", lambda: service.check(STALE, "b"))
        assert service.sent_alerts() == ["mirror/a:1.0 is stale"]
        assert service.sent_alerts(minutes=61) == ["mirror/b:1.0 is stale"]

    def test_concurrent_change_of_a_record_is_kept(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.script.before("publish", lambda: service.check(FRESH))
        service.review()
        assert [(alert.kind, alert.of) for alert in service.pending] == [(AlertKind.RECOVERED, AlertKind.STALE)]
        assert service.sent_alerts(minutes=5) == ["mirror/a:1.0 is fresh again"]

    def test_records_are_left_to_the_next_review_when_time_runs_out(self) -> None:
        service = self.service()
        service.review(left=5.0)
        assert len(service.pending) == 2
        assert service.sent_alerts(minutes=5) == []
        assert (len(service.alerts.published), service.pending) == (1, [])


class TestConcurrentReviews:
    def test_second_review_sends_nothing(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.script.before("publish", service.review)
        service.review()
        assert service.alerts.subjects == ["mirror/a:1.0 is stale"]

    def test_review_that_scanned_before_does_not_repeat_a_message(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.script.before("lock_sending", service.review)
        service.review()
        assert service.alerts.subjects == ["mirror/a:1.0 is stale"]
        assert service.pending == []

    def test_lock_of_a_killed_review_expires(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.script.fail("publish", Killed("publish"))
        with pytest.raises(Killed):
            service.review()
        assert service.sent_alerts(minutes=5) == []
        assert service.sent_alerts(minutes=5) == ["mirror/a:1.0 is stale"]

    def test_failed_unlock_loses_no_sent_alert(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.script.fail("unlock_sending", StorageError("no answer"))
        reviewed = service.review()
        assert (len(reviewed.notifications.sent), [str(error) for error in reviewed.errors]) == (1, ["no answer"])
        assert service.pending == []


class TestBrokenTopic:
    def test_failed_message_stops_no_other(self) -> None:
        service = ReviewedMirrors("a")
        service.mirrors["b"] = service.mirror("b", "quay.io")
        service.check(FRESH, "b")
        service.stale()
        service.script.fail("publish", StorageError("no topic"))
        reviewed = service.review()
        assert (len(reviewed.notifications.sent), len(reviewed.errors)) == (1, 1)
        assert len(service.sent_alerts(minutes=5)) == 1
        assert len(set(service.alerts.subjects)) == 2

    def test_failed_chat_repeats_no_mail(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.script.fail("publish_chat", StorageError("no topic"))
        reviewed = service.review()
        assert (len(reviewed.notifications.sent), [str(error) for error in reviewed.errors]) == (1, ["no topic"])
        assert service.pending == []
        assert service.sent_alerts(minutes=5) == []
        assert len(service.alerts.published) == 1

    def test_chat_receives_the_same_messages(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.review()
        assert service.chat.published == service.alerts.published

    def test_lateness_is_measured_although_incidents_cannot_be_read(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.script.fail("load_incidents", StorageError("no"))
        reviewed = service.review()
        assert reviewed.lateness is not None
        assert reviewed.lateness.mirrors == 1
        assert [str(error) for error in reviewed.errors] == ["no"]
        assert service.sent_alerts(minutes=5) == ["mirror/a:1.0 is stale"]


class TestMoreAlertsThanMarks:
    """Of more alerts of one incident than it has room for, it notes until when all were sent."""

    def test_alerts_that_could_not_be_removed_are_not_sent_again(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.stale()
        assert (service.sent_alerts(left=10.0), len(service.pending)) == (["2 mirrors of ghcr.io are stale"], 2)
        (incident,) = (each for key, each in service.incidents.stored.items() if key.startswith("STALE"))
        service.incidents.stored[incident.key] = incident_without_marks(incident, service.clock())
        assert service.sent_alerts(days=2) == []
        assert service.pending == []
        assert service.record("a").last_told(AlertKind.STALE) is not None

    def test_alert_that_begins_later_is_sent(self) -> None:
        incident = Incident("STALE#ghcr.io#").with_sent([alert(number) for number in range(MAX_MARKS + 1)], NOW)
        assert incident.marks == frozenset()
        assert all(incident.has_sent(alert(number)) for number in range(MAX_MARKS + 1))
        assert not incident.has_sent(alert(MAX_MARKS + 1))
        assert not incident.has_sent(msgspec.structs.replace(alert(1), kind=AlertKind.RECOVERED, of=AlertKind.STALE))

    def test_alert_that_is_held_back_is_sent_though_many_others_are_dropped_as_they_are_over(self) -> None:
        service, pairs = ReviewedService(lambda: rules([])), MAX_MARKS // 2 + 1
        began = NOW - timedelta(minutes=20)
        key = incident_key(alert(0))
        service.incidents.stored[key] = Incident(key, told_at=NOW - timedelta(minutes=10))
        held = msgspec.structs.replace(alert(pairs), at=began)
        service.keep(
            unfresh(MirrorKey("mirror/app", f"{pairs}"), State.STALE, began, alerted=(held.kind,), pending=(held,))
        )
        for number in range(pairs):
            first = alert(number)
            over = msgspec.structs.replace(first, kind=AlertKind.RECOVERED, of=first.kind)
            service.keep(fresh(MirrorKey("mirror/app", f"{number}"), NOW).with_changes(pending=(first, over)))
        reviewed = [service.review().notifications, service.review(minutes=5).notifications]
        assert [(each.dropped, each.left, each.held_back) for each in reviewed] == [(pairs - 1, 1, 1), (1, 0, 1)]
        assert service.sent_alerts(minutes=50) == ["mirrors are not checked", f"{held.mirror} is missing in ECR"]

    def test_alert_of_a_mirror_that_was_reported_before_is_sent_a_day_later_though_many_others_were_sent(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.stale("a")
        assert service.sent_alerts() == ["mirror/a:1.0 is stale"]
        service.check(FRESH, "a", minutes=5)
        assert service.sent_alerts() == ["mirror/a:1.0 is fresh again"]
        service.stale()
        assert service.sent_alerts() == ["mirror/b:1.0 is stale"]
        (incident,) = (each for key, each in service.incidents.stored.items() if key.startswith("STALE"))
        service.incidents.stored[incident.key] = incident_without_marks(incident, service.clock())
        assert service.sent_alerts(minutes=5) == []
        assert service.sent_alerts(hours=23) == ["mirror/a:1.0 is stale"]

    def test_pair_that_could_not_be_noted_is_dropped_by_the_next_review(self) -> None:
        service = ReviewedMirrors()
        service.stale()
        service.check(FRESH, minutes=1)
        service.script.fail("save_incident", StorageError("no"))
        reviewed = service.review()
        assert (reviewed.notifications.dropped, reviewed.notifications.left, len(reviewed.errors)) == (0, 1, 1)
        assert service.review(minutes=5).notifications.dropped == 1
        assert service.pending == []


def incident_without_marks(incident: Incident, sent_at: datetime) -> Incident:
    """As it is stored where there are more alerts than marks."""
    return msgspec.structs.replace(incident, marks=frozenset(), begun_until=sent_at)


def alert(number: int) -> Alert:
    at = NOW + timedelta(milliseconds=number)
    return Alert(AlertKind.STALE, MirrorKey("mirror/app", f"{number}"), UPSTREAM, NOW, at)


class TestManyAlerts:
    """More records with alerts than one review has time for: told once, and removed by a bounded number of reviews."""

    def review_until_done(self, records: int, seconds_for_one: float, least: int = LEAST_RECORDS) -> list[int]:
        """Review what a dead registry has made late; return how many records each review left to the next."""
        service, now = ReviewedService(lambda: rules([]), least_records=least), NOW
        for number in range(records):
            key = MirrorKey(f"mirror/app-{number}", "1.0")
            alert = Alert(AlertKind.UPSTREAM_UNREACHABLE, key, UPSTREAM, now, now, "it is down", "RegistryTimeoutError")
            service.keep(unfresh(key, State.UNKNOWN, now, alerted=(alert.kind,), pending=(alert,)))
        left = list[int]()
        while not left or left[-1]:
            service.script.resume()
            reviewed = service.use_case(lambda: 300.0 - seconds_for_one * len(service.script.calls))
            service.clock.advance(minutes=5)
            assert not reviewed.errors
            left.append(reviewed.notifications.left)
            assert sum(bool(each.pending) for each in service.records.stored.values()) == left[-1]
            assert len(left) < 100
        assert service.alerts.subjects == [f"{records:,} mirrors of ghcr.io cannot be checked"]
        return left

    def test_review_removes_alerts_for_a_third_of_its_time(self) -> None:
        left = self.review_until_done(2_800, seconds_for_one=0.0625, least=1_000)  # 100 seconds for 1,600
        assert len(left) == 2
        assert 1_200 <= left[0] <= 1_240  # it also reads them

    def test_slow_store_is_given_more_time_so_that_each_review_removes_a_least_number(self) -> None:
        assert LEAST_RECORDS == 5_000
        left = self.review_until_done(2_400, seconds_for_one=0.2, least=1_000)  # 200 seconds for 1,000
        assert len(left) == 3
        assert 1_380 <= left[0] <= 1_400
        assert left[0] - left[1] >= 1_000

    def test_store_that_is_too_slow_leaves_time_for_the_rest_of_the_review(self) -> None:
        left = self.review_until_done(200, seconds_for_one=2.0)  # 240 seconds for 120
        assert len(left) == 2
        assert 80 <= left[0] <= 100
