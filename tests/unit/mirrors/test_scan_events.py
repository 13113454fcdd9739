"""ECR's scans are recorded for the served and the next digest, and reported for the served one."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pullahead.mirrors.outbox import with_scan
from pullahead.mirrors.outcome_event import OutcomeKind, OutcomeReason, Scan
from pullahead.mirrors.record import MirrorRecord, State
from tests.fakes.samples import KEY, UPSTREAM, digest

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
A, B = digest("a"), digest("b")
FRESH = MirrorRecord(KEY, UPSTREAM, State.FRESH, NOW, None, upstream_digest=A, published_digest=A)
STALE = FRESH.with_changes(state=State.STALE, unfresh_since=NOW, upstream_digest=B)


class TestScanned:
    scan = Scan(A, {"CRITICAL": 1, "LOW": 3}, NOW)

    def test_scan_of_the_served_digest_is_recorded_and_reported(self) -> None:
        record = with_scan(FRESH, self.scan, "app", LATER)
        (event,) = record.outbox
        assert record.scan == self.scan
        assert (event.kind, event.detail.reason) == (OutcomeKind.SCANNED, OutcomeReason.SCAN_COMPLETE)
        assert (event.detail.digest, event.detail.scan_findings) == (A, {"CRITICAL": 1, "LOW": 3})

    def test_scan_without_findings_is_reported(self) -> None:
        (event,) = with_scan(FRESH, Scan(A, {}, NOW), "app", LATER).outbox
        assert msgspec.to_builtins(event.detail)["scan-findings"] == {}

    def test_scan_of_the_next_digest_is_reported_with_its_refresh(self) -> None:
        record = with_scan(STALE, Scan(B, {"HIGH": 1}, NOW), "app", LATER)
        assert (record.scan is not None, record.outbox) == (True, ())

    @pytest.mark.parametrize("late", [timedelta(), timedelta(seconds=-1)])
    def test_repeated_or_late_scan_changes_nothing(self, late: timedelta) -> None:
        known = FRESH.with_changes(scan=self.scan)
        assert with_scan(known, Scan(A, {"CRITICAL": 9}, NOW + late), "app", LATER) is known

    def test_next_scan_of_the_same_digest_is_reported(self) -> None:
        known = FRESH.with_changes(scan=self.scan)
        assert len(with_scan(known, Scan(A, {}, NOW + timedelta(days=1)), "app", LATER).outbox) == 1
