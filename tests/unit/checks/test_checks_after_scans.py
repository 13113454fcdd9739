"""Which mirrors are checked when AWS has scanned an image: those for which a digest waits that has it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from pullahead.admission.seen_digests import SeenDigests, after_scan
from pullahead.checks.put_back import LeftToSchedule
from pullahead.checks.scans import checks_after_scan
from pullahead.messages import CheckRequest, ScanEvidence, ScanFinished
from pullahead.mirrors.record import MirrorRecord, RuleRecord, State
from pullahead.mirrors.rule_record import rule_key
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from tests.architecture.source import ROOT
from tests.fakes.application import InMemoryService
from tests.fakes.memory import FakeRecords
from tests.fakes.samples import digest
from tests.unit.admission.stories import after, at

IMAGE = digest("image")
NAMED = "version: 1\nmirrors:\n  - {{upstream: ghcr.io/team/app, repository: mirror/alpine, tags: [{tags}]{more}}}\n"
SCANNED = ", admit: {scan: {}}"


def rules(tags: str = "'1', '2'", more: str = SCANNED) -> Rules:
    return load_rules(NAMED.format(tags=tags, more=more), source="rules.yaml")


def waiting(tag: str, *images: str) -> MirrorRecord:
    """A mirror whose tag serves A, and waits for the scan of B, which has these images."""
    evidence = ScanEvidence(tuple(digest(each) for each in images), at(1), at(1), "policy")
    seen: SeenDigests = after_scan(after("0 A, 0 +A, 1 B"), digest("B"), evidence)
    key = MirrorKey("mirror/alpine", tag)
    return MirrorRecord(key, f"ghcr.io/team/app:{tag}", State.COOLING, at(1), admission=seen, version=1)


def tags_after(known: Rules, *records: MirrorRecord | RuleRecord, image: str = "image") -> list[str]:
    store = FakeRecords()
    for each in records:
        if isinstance(each, RuleRecord):
            store.of_rules[each.key] = each
        else:
            store.stored[each.key] = each
    finished = ScanFinished("mirror/alpine", digest(image), (), {}, at(2))
    requests = [each for each in checks_after_scan(finished, known, store, at(2)) if isinstance(each, CheckRequest)]
    assert {(each.reason, each.repository, each.asked_at) for each in requests} <= {("scan", "mirror/alpine", at(2))}
    return [tag for each in requests for tag in each.tags]


def test_mirror_that_waits_for_the_image_is_checked() -> None:
    assert tags_after(rules(), waiting("1", "image", "other"), waiting("2", "other")) == ["1"]


def test_every_mirror_that_waits_for_the_image_is_checked() -> None:
    assert tags_after(rules(), waiting("1", "image"), waiting("2", "image")) == ["1", "2"]


def test_image_that_nobody_waits_for_checks_nothing() -> None:
    assert tags_after(rules(), waiting("1", "image"), image="unknown") == []
    assert tags_after(rules()) == []


def test_tag_that_a_pattern_has_selected_is_checked() -> None:
    known = rules("{semver: '>=1'}")
    (rule,) = known.rules
    listed = RuleRecord(rule_key(rule), "ghcr.io/team/app", State.FRESH, at(0), followed=("1.2", "1.3"), version=1)
    assert tags_after(known, listed, waiting("1.2", "image"), waiting("1.3", "other")) == ["1.2"]


@pytest.mark.parametrize("more", ["", ", admit: {min_age: 3d}", ", admit: {scan: {block: []}, min_age: 3d}"])
def test_rule_that_asks_for_no_scan_has_no_check(more: str) -> None:
    assert tags_after(rules(more=more), waiting("1", "image")) == []


def test_rule_that_is_paused_has_no_check() -> None:
    known = rules()
    paused = replace(known, paused=frozenset({known.rules[0].name}))
    assert tags_after(paused, waiting("1", "image")) == []


def test_many_mirrors_are_checked_by_hundreds() -> None:
    checks = checks_of_mirrors(150)
    assert [len(each.tags) for each in checks if isinstance(each, CheckRequest)] == [100, 50]
    assert len(checks) == 2


def checks_of_mirrors(count: int) -> list[CheckRequest | LeftToSchedule]:
    """Check so many mirrors that wait for an image."""
    tags = [str(number) for number in range(count)]
    known = rules(", ".join(f"'{tag}'" for tag in tags))
    store = FakeRecords()
    store.stored.update({each.key: each for each in (waiting(tag, "image") for tag in tags)})
    return list(checks_after_scan(ScanFinished("mirror/alpine", IMAGE, (), {}, at(2)), known, store, at(2)))


def test_more_than_two_thousand_mirrors_of_a_repository_are_left_to_the_schedule_and_counted() -> None:
    *checks, left = checks_of_mirrors(2003)
    assert sum(len(each.tags) for each in checks if isinstance(each, CheckRequest)) == 2000
    why = f"more than 2,000 mirrors may wait for the scan of {IMAGE}"
    assert left == LeftToSchedule("mirror/alpine", 3, why)


def test_scans_of_one_repository_in_a_batch_share_a_read_of_its_records() -> None:
    service = InMemoryService(rules())
    for record in (waiting("1", "image"), waiting("2", "other")):
        service.records.stored[record.key] = record
    text = (ROOT / "events/inspector.scan.json").read_text(encoding="utf-8")
    events = [
        {**(event := json.loads(text)), "detail": {**event["detail"], "image-digest": digest(image)}}
        for image in ("image", "unknown", "other")
    ]
    outcomes = service.app.handle_messages([json.dumps(event) for event in events], lambda: 100.0)
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert [request.tags for request in service.queue.sent] == [("1",), ("2",)]
    assert service.script.count("load") == 1


@pytest.mark.parametrize("sample", ["ecr.image_scan", "inspector.scan", "inspector.finding"])
def test_event_queues_the_check(sample: str) -> None:
    text = (ROOT / f"events/{sample}.json").read_text(encoding="utf-8")
    image = "sha256:9a1b0c2d3e4f5061728394a5b6c7d8e9f00112233445566778899aabbccddeef"
    assert image in text
    service = InMemoryService(rules("'3.20'"))
    record = waiting("3.20")
    assert record.admission is not None
    evidence = ScanEvidence((image,), at(1), at(1), "policy")  # type: ignore[arg-type]
    service.records.stored[record.key] = record.with_changes(
        admission=after_scan(record.admission, digest("B"), evidence)
    )
    event = {**json.loads(text), "time": (service.clock() + timedelta(seconds=1)).isoformat()}
    (outcome,) = service.app.handle_messages([json.dumps(event)], lambda: 100.0)
    assert outcome.error is None
    (request,) = service.queue.sent
    assert isinstance(request, CheckRequest)
    assert (request.reason, request.tags) == ("scan", ("3.20",))
