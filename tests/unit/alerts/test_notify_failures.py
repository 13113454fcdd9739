"""No alert is lost, whatever fails; at worst one is sent twice."""

import pytest

from pullahead.errors import StorageError
from pullahead.mirrors.alert import AlertKind
from tests.fakes.script import Killed
from tests.fakes.watched import DOWN, FRESH, STALE, Watched


class TestCrash:
    """A review that dies repeats a message at worst; it loses none."""

    def calls(self) -> list[str]:
        watched = self.watched()
        watched.script.resume()
        watched.review()
        return watched.script.calls

    def watched(self) -> Watched:
        watched = Watched("a", "b")
        watched.stale()
        return watched

    def test_crash_between_any_two_calls_loses_nothing_and_repeats_at_most_one_message(self) -> None:
        calls = self.calls()
        remembered = calls.index("save_incident")
        for call in range(len(calls)):
            watched = self.watched()
            watched.script.resume()
            watched.script.kill_at = call
            with pytest.raises(Killed):
                watched.review()
            watched.script.resume()
            watched.review(minutes=5)
            watched.review(minutes=10)
            times = 2 if calls[call] == "save_incident" else 1
            assert watched.alerts.subjects == ["2 mirrors of ghcr.io are stale"] * times, calls[call]
            assert watched.pending == []
        assert calls[remembered - 1] == "publish"

    def test_message_with_a_lost_response_is_repeated(self) -> None:
        watched = self.watched()
        watched.script.fail("publish", StorageError("no answer"), after=True)
        assert [str(error) for error in watched.errors()] == ["no answer"]
        assert watched.told(minutes=5) == ["2 mirrors of ghcr.io are stale"]

    def test_records_that_could_not_be_written_are_written_by_the_next_review_silently(self) -> None:
        watched = self.watched()
        watched.script.fail("save", StorageError("no"), times=2)
        assert len(watched.errors()) == 2
        assert len(watched.pending) == 2
        assert watched.told(minutes=5) == []
        assert watched.pending == []
        watched.see(FRESH, minutes=5)
        assert watched.told() == ["2 mirrors of ghcr.io are fresh again"]

    def test_recovery_is_reported_in_its_incident_while_the_alert_is_in_the_records(self) -> None:
        watched = Watched("a", "b")
        watched.see(DOWN)
        watched.see(DOWN, hours=2)
        watched.script.fail("save", StorageError("no"), times=2)
        watched.review()
        watched.see(FRESH, minutes=5)
        assert watched.told() == ["2 mirrors of ghcr.io are fresh again"]
        began, over = watched.alerts.published
        assert began.incident == over.incident == "UPSTREAM_UNREACHABLE#ghcr.io#RegistryUnavailableError"
        assert watched.pending == []
        assert watched.told(hours=2) == []

    def test_recovery_that_is_still_in_the_records_is_not_repeated(self) -> None:
        watched = Watched("a", "b")
        watched.see(DOWN)
        watched.see(DOWN, hours=2)
        watched.review()
        watched.see(FRESH, minutes=5)
        watched.script.fail("save", StorageError("no"), times=2)
        assert watched.told() == ["2 mirrors of ghcr.io are fresh again"]
        assert len(watched.pending) == 2
        assert watched.told(minutes=5) == []
        assert watched.pending == []

    def test_incident_drops_marks_that_are_in_no_record(self) -> None:
        watched = Watched("a", "b", "c")
        watched.see(STALE)
        for name in ("a", "b", "c"):
            watched.see(STALE, name, minutes=61)
            watched.review()
        (incident,) = [each for key, each in watched.incidents.stored.items() if key.startswith("STALE")]
        assert len(incident.marks) == 1

    def test_alert_that_is_still_in_a_record_is_not_repeated_by_the_next_message(self) -> None:
        watched = Watched("a", "b")
        watched.see(STALE)
        watched.see(STALE, "a", minutes=61)
        watched.script.fail("save", StorageError("no"))
        assert watched.told() == ["mirror/a:1.0 is stale"]
        watched.see(STALE, "b", minutes=61)
        watched.script.fail("save", StorageError("no"), times=2)
        assert watched.told() == ["mirror/b:1.0 is stale"]
        assert len(watched.pending) == 2
        assert watched.told(minutes=61) == []
        assert watched.pending == []

    def test_alert_raised_while_others_were_sent_is_sent_later(self) -> None:
        """It was written after the scan, and bears an earlier time than the message."""
        watched = Watched("a", "b")
        watched.see(STALE)
        watched.see(STALE, "a", minutes=61)
        watched.script.before("publish", lambda: watched.see(STALE, "b"))
        assert watched.told() == ["mirror/a:1.0 is stale"]
        assert watched.told(minutes=61) == ["mirror/b:1.0 is stale"]

    def test_concurrent_change_of_a_record_is_kept(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.before("publish", lambda: watched.see(FRESH))
        watched.review()
        assert [(alert.kind, alert.of) for alert in watched.pending] == [(AlertKind.RECOVERED, AlertKind.STALE)]
        assert watched.told(minutes=5) == ["mirror/a:1.0 is fresh again"]

    def test_records_are_left_to_the_next_review_when_time_runs_out(self) -> None:
        watched = self.watched()
        watched.review(left=5.0)
        assert len(watched.pending) == 2
        assert watched.told(minutes=5) == []
        assert (len(watched.alerts.published), watched.pending) == (1, [])


class TestConcurrentReviews:
    def test_second_review_sends_nothing(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.before("publish", watched.review)
        watched.review()
        assert watched.alerts.subjects == ["mirror/a:1.0 is stale"]

    def test_review_that_scanned_before_does_not_repeat_a_message(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.before("lock_sending", watched.review)
        watched.review()
        assert watched.alerts.subjects == ["mirror/a:1.0 is stale"]
        assert watched.pending == []

    def test_lock_of_a_killed_review_expires(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("publish", Killed("publish"))
        with pytest.raises(Killed):
            watched.review()
        assert watched.told(minutes=5) == []
        assert watched.told(minutes=5) == ["mirror/a:1.0 is stale"]

    def test_failed_unlock_loses_no_sent_alert(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("unlock_sending", StorageError("no answer"))
        reviewed = watched.review()
        assert (len(reviewed.notifications.sent), [str(error) for error in reviewed.errors]) == (1, ["no answer"])
        assert watched.pending == []


class TestBrokenTopic:
    def test_failed_message_stops_no_other(self) -> None:
        watched = Watched("a")
        watched.mirrors["b"] = watched.mirror("b", "quay.io")
        watched.see(FRESH, "b")
        watched.stale()
        watched.script.fail("publish", StorageError("no topic"))
        reviewed = watched.review()
        assert (len(reviewed.notifications.sent), len(reviewed.errors)) == (1, 1)
        assert len(watched.told(minutes=5)) == 1
        assert len(set(watched.alerts.subjects)) == 2

    def test_failed_chat_repeats_no_mail(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("publish_chat", StorageError("no topic"))
        reviewed = watched.review()
        assert (len(reviewed.notifications.sent), [str(error) for error in reviewed.errors]) == (1, ["no topic"])
        assert watched.pending == []
        assert watched.told(minutes=5) == []
        assert len(watched.alerts.published) == 1

    def test_chat_receives_the_same_messages(self) -> None:
        watched = Watched()
        watched.stale()
        watched.review()
        assert watched.chat.published == watched.alerts.published

    def test_lateness_is_measured_although_incidents_cannot_be_read(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("load_incidents", StorageError("no"))
        reviewed = watched.review()
        assert reviewed.lateness is not None
        assert reviewed.lateness.mirrors == 1
        assert [str(error) for error in reviewed.errors] == ["no"]
        assert watched.told(minutes=5) == ["mirror/a:1.0 is stale"]
