"""What meets a record of a newer version of Pullahead leaves it as it is, and goes on with the others."""

import json

import msgspec
import pytest

from pullahead.alerts.incidents import Incident
from pullahead.aws.newer_items import LeftAlone, NewerItems
from pullahead.checks.scan_results import record_scan
from pullahead.cli.stack import say_what_is_left_out
from pullahead.dashboard.page import file_page
from pullahead.dashboard.show import take_snapshot
from pullahead.errors import StorageError
from pullahead.lambdas.check_results import failure_of
from pullahead.lambdas.metrics import add_damaged, add_left_alone
from pullahead.messages import ScanFinished
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import State
from pullahead.refresh.plan import plan_key, unit_key
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.checks import CheckingService
from tests.fakes.copies import UnitOfCopy
from tests.fakes.queueing import QueueingService
from tests.fakes.refreshes import outcome
from tests.fakes.reviewed_mirrors import ReviewedMirrors
from tests.fakes.samples import KEY, REPOSITORY, digest, mirror
from tests.unit.alerts.test_review import KnownRules
from tests.unit.refresh.test_publish_image import Publishing
from tests.unit.refresh.test_record_outcome import REQUEST, Recording

OTHER = MirrorKey(REPOSITORY, "2.0")


class TestChecks:
    def test_newer_record_is_left_and_the_other_mirrors_of_the_message_are_checked(self) -> None:
        service = CheckingService([mirror("1.0"), mirror("2.0")])
        service.check("1.0", "2.0")
        before = service.record("1.0")
        service.records.newer.add(KEY)
        service.refreshes.requests.clear()
        service.upstream.remove(str(mirror("1.0").upstream))
        service.upstream.remove(str(mirror("2.0").upstream))
        results = service.check("1.0", "2.0")
        assert failure_of(results) is None  # the message is done, and not retried
        assert {result.mirror: result.state for result in results} == {KEY: None, OTHER: State.GONE}
        assert (service.record("1.0"), service.record("2.0").state) == (before, State.GONE)
        assert service.refreshes.requests == {}

    def test_record_that_becomes_newer_during_the_check_is_left(self) -> None:
        service = CheckingService()
        service.check()
        service.upstream.remove(str(mirror("1.0").upstream))
        service.script.before("head_manifest", lambda: service.records.newer.add(KEY))
        result = service.check_one()
        assert (result.error, result.state) == (None, None)
        assert "newer version" in result.reason
        assert service.record().state is State.MISSING

    def test_scan_of_a_newer_mirror_is_ignored(self) -> None:
        service = CheckingService()
        service.check()
        service.records.newer.add(KEY)
        finished = ScanFinished(REPOSITORY, digest("x"), ("1.0",), {"LOW": 1}, service.clock())
        assert record_scan(finished, service.rules, service.records, service.announcer, service.clock) == ()


class TestRefreshes:
    def test_tag_of_a_newer_record_is_not_moved(self) -> None:
        publishing = Publishing()
        publishing.records.newer.add(KEY)
        assert publishing.run().superseded
        assert publishing.served is None

    def test_outcome_of_a_newer_record_is_not_recorded(self) -> None:
        recording = Recording()
        before = recording.record
        recording.records.newer.add(KEY)
        assert recording.run(outcome(REQUEST)).state == "UNRECORDED"
        assert recording.record == before

    @pytest.mark.parametrize("is_request_newer", [True, False])
    def test_waiting_refresh_is_left_and_the_next_one_starts(self, is_request_newer: bool) -> None:
        queue = QueueingService(1, "1", "2")
        for request in (queue.stale("1", 9), queue.stale("2")):
            queue.wait(request)
        if is_request_newer:
            queue.waiting_refreshes.take_over(mirror("1").key)
        else:
            queue.records.newer.add(mirror("1").key)
        filled = queue.one.start_waiting()
        assert (filled.started, filled.dropped) == ((mirror("2").key,), ())
        assert queue.waiting_refreshes.waiting.keys() == {mirror("1").key}
        assert queue.one.start_waiting().started == ()

    def test_plan_of_a_newer_version_is_a_storage_error_that_is_retried(self) -> None:
        publishing = Publishing()
        key = plan_key(publishing.request.name)
        newer = msgspec.json.encode({**json.loads(publishing.plans.objects[key]), "referrers_first": True})
        publishing.plans.objects[key] = newer
        with pytest.raises(StorageError, match=r"plan\.json cannot be read: .*referrers_first"):
            publishing.run()
        assert publishing.served is None
        assert publishing.plans.objects[key] == newer

    def test_progress_of_a_newer_version_is_a_storage_error_and_stays(self) -> None:
        unit = UnitOfCopy(b"small")
        key = unit_key("refresh-1", 0)
        newer = msgspec.json.encode({**json.loads(unit.plans.objects[key]), "lanes": []})
        unit.plans.objects[key] = newer
        with pytest.raises(StorageError, match="lanes"):
            unit.run()
        assert unit.plans.objects[key] == newer


class TestReview:
    def test_newer_record_is_neither_told_nor_late_and_the_others_are(self) -> None:
        service = ReviewedMirrors("a", "b")
        service.stale()
        service.records.newer.add(service.mirrors["a"].key)
        reviewed = service.review()
        assert [alert.mirror for notice in service.alerts.published for alert in notice.members] == [
            service.mirrors["b"].key
        ]
        assert (reviewed.errors, reviewed.records) == ((), 1)
        assert service.record("a").pending != ()

    @pytest.mark.parametrize("newer", [True, False])
    def test_rules_that_may_match_newer_records_are_not_called_empty(self, newer: bool) -> None:
        known = KnownRules()
        known.follow("3.0")
        if newer:
            known.records.newer.add(KEY)
        known.review()
        reviewed = known.review()
        assert (AlertKind.RULES_EMPTY in known.alerts.kinds) is not newer
        assert (reviewed.scan.retired, reviewed.errors) == (0, ())

    def test_alert_of_a_newer_incident_is_sent_once_and_the_incident_stays(self) -> None:
        service = ReviewedMirrors("a")
        service.stale()
        key = "STALE#ghcr.io#"
        service.incidents.stored[key] = Incident(key)
        service.incidents.newer.add(key)
        assert service.sent_alerts() == ["mirror/a:1.0 is stale"]
        assert service.sent_alerts(minutes=5) == []
        assert service.incidents.stored[key] == Incident(key)

    def test_condition_of_a_newer_incident_is_not_repeated_at_every_review(self) -> None:
        known = KnownRules()
        known.records.heartbeat = None
        key = f"{AlertKind.NOT_CHECKED}##"
        known.incidents.newer.add(key)
        for _ in range(3):
            known.clock.advance(hours=2)
            known.review()
        assert known.alerts.kinds == []
        assert key not in known.incidents.stored


def test_page_says_how_many_records_are_not_shown() -> None:
    service = CheckingService([mirror("1.0"), mirror("2.0")])
    service.check("1.0", "2.0")
    service.records.newer.add(KEY)
    snapshot = take_snapshot(service.records, service.clock())
    assert (snapshot.newer, [record.key for record in snapshot.records]) == (1, [OTHER])
    assert "1 record cannot be read and is not shown: a newer version of Pullahead wrote it." in file_page(
        snapshot, "t"
    )


def test_items_that_are_left_alone_are_counted_and_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "pullahead")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Pullahead")
    add_left_alone(None)
    assert (capsys.readouterr().out, caplog.records) == ("", [])
    add_left_alone(LeftAlone(2, ("mirror#a:1", "mirror#b:1"), "it has the fields gates"))
    (metric,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    (entry,) = caplog.records
    assert metric["ItemsLeftAlone"] == [2.0]
    fields = entry.__dict__
    assert (entry.levelname, fields["items"], fields["keys"], fields["cause"]) == (
        "WARNING",
        2,
        ("mirror#a:1", "mirror#b:1"),
        "it has the fields gates",
    )


def test_command_line_says_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    newer = NewerItems()
    say_what_is_left_out(newer)
    assert capsys.readouterr().err == ""
    newer.note("mirror#a:1", "why")
    say_what_is_left_out(newer)
    assert capsys.readouterr().err == (
        "pullahead: 1 item of a newer version of Pullahead left out, such as mirror#a:1: update this command line\n"
    )


def test_page_says_how_many_records_are_damaged() -> None:
    service = CheckingService([mirror("1.0"), mirror("2.0")])
    service.check("1.0", "2.0")
    service.records.damaged.add(KEY)
    snapshot = take_snapshot(service.records, service.clock())
    assert (snapshot.newer, snapshot.damaged, [record.key for record in snapshot.records]) == (0, 1, [OTHER])
    assert "1 damaged record cannot be read and is not shown" in file_page(snapshot, "t")


def test_check_writes_a_damaged_record_anew_and_says_so_once() -> None:
    service = CheckingService([mirror("1.0"), mirror("2.0")])
    service.check("1.0", "2.0")
    service.records.damaged.add(KEY)
    for _ in range(2):
        assert failure_of(service.check("1.0", "2.0")) is None
    assert [alert.kind for alert in service.record("1.0").pending] == [AlertKind.RECORD_DAMAGED]
    assert service.record("2.0").pending == ()


def test_damaged_items_are_counted_and_logged(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "pullahead")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Pullahead")
    add_damaged(None)
    assert (capsys.readouterr().out, caplog.records) == ("", [])
    items = NewerItems()
    items.note_damaged("mirror#a:1", "Input data was truncated\x1b[31m")
    items.note_damaged("mirror#a:1", "again")
    add_damaged(items.take_damaged())
    (metric,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    (entry,) = caplog.records
    assert metric["ItemsDamaged"] == [1.0]
    assert (entry.levelname, vars(entry)["keys"], items.take(), items.take_damaged()) == (
        "ERROR",
        ("mirror#a:1",),
        None,
        None,
    )
    assert "\x1b" not in vars(entry)["cause"]


def test_command_line_says_what_is_damaged(capsys: pytest.CaptureFixture[str]) -> None:
    items = NewerItems()
    items.note_damaged("mirror#a:1", "its record is missing")
    say_what_is_left_out(items)
    assert capsys.readouterr().err == (
        "pullahead: 1 item that cannot be read left out, such as mirror#a:1 (its record is missing): "
        "see docs/operating.md, Records\n"
    )
