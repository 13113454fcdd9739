"""Nothing that people are to be told is lost, whatever breaks; and at worst, something is said twice."""

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

    def test_kill_between_any_two_calls_loses_nothing_and_repeats_only_before_it_is_remembered(self) -> None:
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

    def test_message_that_was_lost_by_the_answer_alone_is_repeated(self) -> None:
        watched = self.watched()
        watched.script.fail("publish", StorageError("no answer"), after=True)
        assert [str(error) for error in watched.errors()] == ["no answer"]
        assert watched.told(minutes=5) == ["2 mirrors of ghcr.io are stale"]

    def test_records_that_could_not_be_written_are_written_by_the_next_review_without_a_message(self) -> None:
        watched = self.watched()
        watched.script.fail("save", StorageError("no"), times=2)
        assert len(watched.errors()) == 2
        assert len(watched.pending) == 2
        assert watched.told(minutes=5) == []
        assert watched.pending == []
        watched.see(FRESH, minutes=5)
        assert watched.told() == ["2 mirrors of ghcr.io are fresh again"]

    def test_recovery_of_what_is_still_in_the_records_is_told_in_its_incident(self) -> None:
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

    def test_incident_forgets_what_is_in_no_record_any_more(self) -> None:
        watched = Watched("a", "b", "c")
        watched.see(STALE)
        for name in ("a", "b", "c"):
            watched.see(STALE, name, minutes=61)
            watched.review()
        (incident,) = [each for key, each in watched.incidents.stored.items() if key.startswith("STALE")]
        assert len(incident.marks) == 1

    def test_what_is_still_in_a_record_is_not_repeated_by_the_next_message_of_its_incident(self) -> None:
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

    def test_alert_that_was_decided_while_others_were_told_is_told_later(self) -> None:
        """It was written after the scan, and bears an earlier time than the message."""
        watched = Watched("a", "b")
        watched.see(STALE)
        watched.see(STALE, "a", minutes=61)
        watched.script.before("publish", lambda: watched.see(STALE, "b"))
        assert watched.told() == ["mirror/a:1.0 is stale"]
        assert watched.told(minutes=61) == ["mirror/b:1.0 is stale"]

    def test_record_that_changes_meanwhile_keeps_what_is_new(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.before("publish", lambda: watched.see(FRESH))
        watched.review()
        assert [(alert.kind, alert.of) for alert in watched.pending] == [(AlertKind.RECOVERED, AlertKind.STALE)]
        assert watched.told(minutes=5) == ["mirror/a:1.0 is fresh again"]

    def test_time_that_runs_out_leaves_records_to_the_next_review(self) -> None:
        watched = self.watched()
        watched.review(left=5.0)
        assert len(watched.pending) == 2
        assert watched.told(minutes=5) == []
        assert (len(watched.alerts.published), watched.pending) == (1, [])


class TestTwoAtOnce:
    def test_second_review_leaves_it_to_the_first(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.before("publish", watched.review)
        watched.review()
        assert watched.alerts.subjects == ["mirror/a:1.0 is stale"]

    def test_second_review_that_scanned_before_sees_that_it_was_told(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.before("lock_sending", watched.review)
        watched.review()
        assert watched.alerts.subjects == ["mirror/a:1.0 is stale"]
        assert watched.pending == []

    def test_turn_of_a_review_that_died_ends(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("publish", Killed("publish"))
        with pytest.raises(Killed):
            watched.review()
        assert watched.told(minutes=5) == []
        assert watched.told(minutes=5) == ["mirror/a:1.0 is stale"]

    def test_turn_that_cannot_be_ended_loses_nothing_of_what_was_told(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("unlock_sending", StorageError("no answer"))
        reviewed = watched.review()
        assert (len(reviewed.telling.told), [str(error) for error in reviewed.errors]) == (1, ["no answer"])
        assert watched.pending == []


class TestBrokenTopic:
    def test_one_message_that_fails_stops_no_other(self) -> None:
        watched = Watched("a")
        watched.mirrors["b"] = watched.mirror("b", "quay.io")
        watched.see(FRESH, "b")
        watched.stale()
        watched.script.fail("publish", StorageError("no topic"))
        reviewed = watched.review()
        assert (len(reviewed.telling.told), len(reviewed.errors)) == (1, 1)
        assert len(watched.told(minutes=5)) == 1
        assert len(set(watched.alerts.subjects)) == 2

    def test_chat_that_fails_repeats_no_mail(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("publish_chat", StorageError("no topic"))
        reviewed = watched.review()
        assert (len(reviewed.telling.told), [str(error) for error in reviewed.errors]) == (1, ["no topic"])
        assert watched.pending == []
        assert watched.told(minutes=5) == []
        assert len(watched.alerts.published) == 1

    def test_chat_gets_the_same(self) -> None:
        watched = Watched()
        watched.stale()
        watched.review()
        assert watched.chat.published == watched.alerts.published

    def test_incidents_that_cannot_be_read_stop_no_measuring(self) -> None:
        watched = Watched()
        watched.stale()
        watched.script.fail("load_incidents", StorageError("no"))
        reviewed = watched.review()
        assert reviewed.lateness is not None
        assert reviewed.lateness.mirrors == 1
        assert [str(error) for error in reviewed.errors] == ["no"]
        assert watched.told(minutes=5) == ["mirror/a:1.0 is stale"]
