"""Scans of served digests are recorded and reported; all others cost next to nothing."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import pytest

from pullahead.checks.scan_results import record_scan
from pullahead.errors import StorageError
from pullahead.messages import ScanFinished
from pullahead.mirrors.outcome_event import Scan
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import Digest
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.memory import FakeClock, FakeRecords
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.refreshes import BEGAN
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, digest, mirror, rules
from tests.fakes.script import Script

SERVED, WANTED = digest("served"), digest("wanted")
HIGH: Final[Mapping[str, int]] = MappingProxyType({"HIGH": 3})


class Scanning:
    """Mirrors of `1.0` and `2.0`; the first serves one digest, and upstream has moved on to another."""

    def __init__(self) -> None:
        self.script, self.clock = Script(), FakeClock(BEGAN)
        self.records, self.outcomes = FakeRecords(self.script), FakeOutcomes(self.script)
        self.announcer = announcer(self.records, self.clock, self.outcomes)
        self.records.stored[KEY] = MirrorRecord(
            KEY, UPSTREAM, State.STALE, BEGAN, BEGAN, upstream_digest=WANTED, published_digest=SERVED, version=1
        )

    def scanned(
        self,
        of: Digest,
        *tags: str,
        repository: str = REPOSITORY,
        after: timedelta = timedelta(),
        counts: Mapping[str, int] = HIGH,
    ) -> tuple[MirrorKey, ...]:
        finished = ScanFinished(repository, of, tags or ("1.0",), dict(counts), self.clock() + after)
        known = rules([mirror("1.0"), mirror("2.0")])
        return record_scan(finished, known, self.records, self.announcer, self.clock)

    @property
    def scan(self) -> Scan | None:
        return self.records.stored[KEY].scan


def test_scan_of_the_served_digest_is_recorded_and_sent() -> None:
    scanning = Scanning()
    assert scanning.scanned(SERVED, "1.0", "2.0", "latest") == (KEY,)
    assert scanning.scan == Scan(SERVED, {"HIGH": 3}, BEGAN)
    assert scanning.outcomes.kinds == ["Scanned"]
    assert scanning.outcomes.published[0].detail.scan_findings == {"HIGH": 3}
    assert scanning.records.stored[KEY].outbox == ()
    assert scanning.script.calls == ["load", "save", "publish_events", "save"]


def test_scan_of_the_next_digest_is_recorded() -> None:
    scanning = Scanning()
    assert scanning.scanned(WANTED) == (KEY,)
    assert scanning.scan == Scan(WANTED, {"HIGH": 3}, BEGAN)
    assert scanning.script.calls == ["load", "save"]


@pytest.mark.parametrize(
    ("of", "tags", "repository", "calls"),
    [
        (digest("else"), ("1.0",), REPOSITORY, ["load"]),
        (SERVED, ("2.0",), REPOSITORY, ["load"]),  # which has no record
        (SERVED, ("latest",), REPOSITORY, []),
        (SERVED, ("1.0",), "team/own", []),
    ],
)
def test_scan_of_another_digest_is_ignored(
    of: Digest, tags: tuple[str, ...], repository: str, calls: list[str]
) -> None:
    scanning = Scanning()
    assert scanning.scanned(of, *tags, repository=repository) == ()
    assert scanning.script.calls == calls


def test_scan_without_tags_is_ignored() -> None:
    scanning = Scanning()
    finished = ScanFinished(REPOSITORY, SERVED, (), {"HIGH": 3}, BEGAN)
    assert record_scan(finished, rules(), scanning.records, scanning.announcer, scanning.clock) == ()
    assert scanning.script.calls == []


def test_scan_delivered_twice_is_sent_once() -> None:
    scanning = Scanning()
    scanning.scanned(SERVED)
    scanning.script.resume()
    scanning.scanned(SERVED)
    scanning.scanned(SERVED, after=timedelta(minutes=-1), counts={"HIGH": 9})
    assert scanning.script.calls == ["load", "load"]
    scanning.scanned(SERVED, after=timedelta(days=1), counts={})
    assert [event.detail.scan_findings for event in scanning.outcomes.published] == [{"HIGH": 3}, {}]


def test_scan_of_a_tag_that_moves_meanwhile_is_not_sent() -> None:
    scanning = Scanning()

    def move() -> None:
        record = scanning.records.stored[KEY]
        moved = record.with_changes(published_digest=WANTED, upstream_digest=WANTED, version=2)
        scanning.records.stored[KEY] = moved

    scanning.script.before("save", move)
    scanning.scanned(SERVED)
    assert (scanning.scan, scanning.outcomes.kinds) == (None, [])


def test_number_of_severities_is_bounded() -> None:
    scanning = Scanning()
    scanning.scanned(SERVED, counts={f"S{number:03}": 1 for number in range(500)})
    assert scanning.scan is not None
    assert len(scanning.scan.counts) == 20


def test_storage_error_retries_the_scan() -> None:
    scanning = Scanning()
    scanning.script.fail("load", StorageError("no"))
    with pytest.raises(StorageError):
        scanning.scanned(SERVED)
