"""People are told by incident: once for all its mirrors, and in a rhythm that they bear."""

import pytest

from pullahead.alerts.chatbot import chatbot_json
from pullahead.alerts.text import text_of
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.judge import Observation
from tests.fakes.watched import DOWN, DRIFTED, FRESH, NEW, OLD, OTHER, STALE, Watched


def test_what_begins_is_told_at_the_next_review_and_once() -> None:
    watched = Watched()
    watched.stale()
    assert watched.told() == ["mirror/a:1.0 is stale"]
    assert watched.pending == []
    assert [told.kind for told in watched.record().told] == [AlertKind.STALE]
    assert watched.told(minutes=5) == watched.told(hours=90) == []


def test_review_of_what_has_nothing_to_tell_writes_nothing() -> None:
    watched = Watched("a", "b")
    watched.script.resume()
    assert watched.told(minutes=5) == []
    assert set(watched.script.calls) == {"scan", "load_heartbeat", "load_standing", "load_incidents"}
    assert watched.script.calls.count("load_incidents") == 1


def test_storm_of_ten_thousand_is_one_message_and_so_is_its_end() -> None:
    watched = Watched(*(f"m{number:05}" for number in range(10_000)))
    watched.stale()
    assert watched.told() == ["10,000 mirrors of ghcr.io are stale"]
    (notice,) = watched.alerts.published
    assert ([str(member.mirror) for member in notice.members], notice.mirrors) == (
        [f"mirror/m{number:05}:1.0" for number in range(10)],
        10_000,
    )
    assert watched.pending == []
    watched.see(FRESH, minutes=5)
    assert watched.told() == ["10,000 mirrors of ghcr.io are fresh again"]
    assert watched.told(hours=30) == []


def test_messages_are_by_registry_and_by_cause() -> None:
    watched = Watched("a", "b")
    watched.mirrors["c"] = watched.mirror("c", "quay.io")
    watched.see(FRESH, "c")
    watched.see(STALE, "a", "c")
    watched.see(DOWN, "b")
    watched.see(STALE, "a", "c", hours=2)
    watched.see(DOWN, "b")
    assert sorted(watched.told()) == [
        "mirror/a:1.0 is stale",
        "mirror/b:1.0 cannot be checked",
        "mirror/c:1.0 is stale",
    ]


class TestRhythm:
    def test_more_stale_tags_are_told_an_hour_after_the_last_message_with_how_many_there_are(self) -> None:
        watched = Watched("a", "b", "c")
        watched.see(STALE)
        watched.see(STALE, "a", minutes=61)
        assert watched.told() == ["mirror/a:1.0 is stale"]
        watched.see(STALE, "b", "c", minutes=1)
        assert watched.told(minutes=58) == []
        assert watched.told(minutes=1) == ["2 mirrors of ghcr.io are stale"]
        assert watched.alerts.published[-1].standing == 3

    def test_trickle_is_told_hourly(self) -> None:
        names = [f"m{number:02}" for number in range(24)]
        watched = Watched(*names)
        watched.see(STALE)
        watched.clock.advance(hours=2)
        told = []
        for name in names:
            watched.see(STALE, name, minutes=5)
            told += watched.told()
        assert told == [
            "mirror/m00:1.0 is stale",
            "12 mirrors of ghcr.io are stale",
        ]
        assert watched.told(minutes=60) == ["11 mirrors of ghcr.io are stale"]

    def test_more_mirrors_of_an_upstream_that_is_down_are_told_a_day_later(self) -> None:
        watched = Watched("a", "b")
        watched.see(DOWN, "a")
        watched.see(DOWN, "a", hours=1)
        assert len(watched.told()) == 1
        watched.see(DOWN, "b")
        watched.see(DOWN, "b", hours=2)
        assert watched.told() == watched.told(hours=20) == []
        assert watched.told(hours=2) == ["mirror/b:1.0 cannot be checked"]

    def test_flapping_mirror_is_told_once_a_day(self) -> None:
        watched = Watched()
        told = []
        for _ in range(10):
            watched.stale()
            told += watched.told()
            watched.see(FRESH, minutes=5)
            told += watched.told()
        assert told == ["mirror/a:1.0 is stale", "mirror/a:1.0 is fresh again"]
        assert watched.pending == []

    def test_trouble_that_is_back_and_stands_a_day_after_it_was_told_is_told_again(self) -> None:
        watched = Watched()
        watched.stale()
        watched.told()
        watched.see(FRESH, minutes=5)
        watched.told()
        watched.stale()
        reviewed = watched.review()
        assert (reviewed.telling.told, reviewed.telling.held_back) == ((), 1)
        assert watched.told(hours=22) == []
        assert watched.told(hours=2) == ["mirror/a:1.0 is stale"]

    def test_what_is_over_before_it_was_told_is_not_told(self) -> None:
        watched = Watched()
        watched.stale()
        watched.see(FRESH, minutes=1)
        reviewed = watched.review()
        assert (reviewed.telling.told, reviewed.telling.idle) == ((), 1)
        assert watched.pending == []

    def test_recovery_of_some_waits_an_hour_for_the_others_and_says_how_many_stand(self) -> None:
        watched = Watched("a", "b", "c")
        watched.stale()
        assert watched.told() == ["3 mirrors of ghcr.io are stale"]
        watched.see(FRESH, "a", minutes=5)
        watched.see(FRESH, "b", minutes=5)
        assert watched.told() == watched.told(minutes=50) == []
        assert watched.told(minutes=10) == ["2 mirrors of ghcr.io are fresh again"]
        assert watched.alerts.published[-1].standing == 1
        watched.see(FRESH, "c", minutes=5)
        assert watched.told() == ["mirror/c:1.0 is fresh again"]
        assert watched.alerts.published[-1].standing == 0

    def test_recovery_that_does_not_last_until_it_is_told_is_nothing(self) -> None:
        watched = Watched("a", "b")
        watched.stale()
        watched.told()
        watched.see(FRESH, "a", minutes=5)
        assert watched.told() == []
        watched.see(STALE, "a")
        watched.see(STALE, "a", minutes=61)
        assert watched.told() == []
        assert watched.pending == []
        watched.see(FRESH, minutes=5)
        assert watched.told() == ["2 mirrors of ghcr.io are fresh again"]

    def test_many_incidents_are_told_by_twenties_the_oldest_first(self) -> None:
        watched = Watched()
        for number in range(25):
            name = f"m{number:02}"
            watched.mirrors[name] = watched.mirror(name, f"r{number:02}.example")
        del watched.mirrors["a"]
        watched.see(FRESH)
        watched.see(STALE)
        watched.clock.advance(hours=1)
        for name in reversed(list(watched.mirrors)):
            watched.see(STALE, name, seconds=1)
        assert watched.told() == [f"mirror/m{number:02}:1.0 is stale" for number in range(24, 4, -1)]
        assert watched.told() == [f"mirror/m{number:02}:1.0 is stale" for number in range(4, -1, -1)]


class TestDrift:
    def test_overwritten_tag_is_told_though_it_was_restored_before(self) -> None:
        watched = Watched()
        watched.see(DRIFTED)
        watched.see(FRESH, minutes=2)
        assert watched.told() == ["mirror/a:1.0 was overwritten in ECR, and restored"]
        assert watched.pending == []
        assert watched.told(hours=2) == []

    def test_overwritten_tag_that_is_being_restored_is_taken_back(self) -> None:
        watched = Watched()
        watched.see(DRIFTED)
        assert watched.told() == ["mirror/a:1.0 was overwritten in ECR"]
        assert OTHER.digest in watched.alerts.published[0].members[0].detail
        watched.see(FRESH, minutes=2)
        assert watched.told() == ["mirror/a:1.0 was overwritten in ECR, and serves what upstream serves again"]

    def test_tag_that_is_overwritten_again_and_again_is_told_once_a_day(self) -> None:
        watched = Watched()
        told = []
        for _ in range(10):
            watched.see(DRIFTED, minutes=5)
            watched.see(FRESH, minutes=1)
            told += watched.told()
        assert told == ["mirror/a:1.0 was overwritten in ECR, and restored"]
        watched.see(DRIFTED, hours=24)
        assert watched.told() == ["mirror/a:1.0 was overwritten in ECR"]

    @pytest.mark.parametrize(
        "seen", [STALE, Observation(OLD, None), Observation(NEW, OTHER.digest)], ids=["moved", "deleted", "both-moved"]
    )
    def test_what_is_no_overwriting_is_not_called_so(self, seen: Observation) -> None:
        watched = Watched()
        watched.see(seen)
        assert watched.told() == []


def test_record_remembers_when_it_was_told() -> None:
    watched = Watched()
    watched.stale()
    watched.review()
    told = watched.record().last_told(AlertKind.STALE)
    assert told is not None
    assert told.at == watched.clock()


def test_recovery_of_what_an_older_version_told_is_told() -> None:
    watched = Watched()
    watched.stale()
    stored = watched.record()
    watched.keep(stored.with_changes(pending=(), told=()))
    watched.see(FRESH, minutes=5)
    assert watched.told() == ["mirror/a:1.0 is fresh again"]
    assert "It was:    STALE" in text_of(watched.alerts.published[-1])


def test_recovery_that_an_older_version_has_not_told_any_more_does_not_say_of_what() -> None:
    watched = Watched()
    began = watched.clock()
    over = Alert(AlertKind.RECOVERED, watched.record().key, "ghcr.io/team/a:1.0", began, began)
    watched.keep(watched.record().with_changes(pending=(over,)))
    assert watched.told() == ["mirror/a:1.0 is fresh again"]
    (notice,) = watched.alerts.published
    assert "RECOVERED" not in text_of(notice)
    assert "It was" not in chatbot_json(notice)
    assert watched.pending == []
