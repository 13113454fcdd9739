"""A tag whose rule asks for scans, from the check to the publish: what is copied is scanned, and only then served."""

from datetime import timedelta

import pytest
from msgspec import structs

from local.images import make_image, make_index
from pullahead.admission.scans import ImageScan
from pullahead.admission.seen_digests import Decision
from pullahead.checks.put_back import PutBack
from pullahead.checks.scans import checks_after_scan
from pullahead.dashboard.explain import MirrorFacts, explain
from pullahead.errors import RateLimitedError, Side, StorageError
from pullahead.messages import CheckRequest, ScanEvidence, ScanFinished, ScanVerdict
from pullahead.mirrors.admission import after_decision_of_person, after_scanned
from pullahead.mirrors.record import State
from pullahead.oci import Digest
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy, ScanPolicy, Severity
from pullahead.rules.model import Rule
from pullahead.rules.tag_patterns import TagSelection
from tests.fakes.samples import KEY, REPOSITORY, failed, mirror, rules
from tests.fakes.scans import CRITICAL
from tests.fakes.script import Killed
from tests.unit.admission.held_service import NAMES, A, B, C, HeldService

SCANNED = AdmissionPolicy(scan=ScanPolicy())
AMD64, ARM64 = make_image(seed=21), make_image(seed=22, platform="linux/arm64")
BOTH = make_index([AMD64, ARM64])


def following(policy: AdmissionPolicy = SCANNED, platforms: tuple[str, ...] = ()) -> HeldService:
    """Follow a tag that serves A, which was admitted."""
    service = HeldService(policy, mirror()._replace(platforms=platforms))
    service.follow(None)
    service.visit(A)
    service.follow(policy)
    service.visit()
    assert (service.served, service.known.state) == ("A", State.FRESH)
    service.outcomes.published.clear()
    service.queue.sent.clear()
    return service


def after_event(service: HeldService, image: Digest) -> str:
    """Let ECR tell that it has scanned an image, and make the checks that follow; name what ECR serves."""
    finished = ScanFinished(REPOSITORY, image, (), {}, service.clock())
    for request in checks_of(service, finished):
        service.use_case(request)
    service.carry_out()
    return service.served


def checks_of(service: HeldService, finished: ScanFinished) -> list[CheckRequest]:
    """List the checks that the event of a scan causes, where a rule names the tag."""
    (made,) = service.rules.mirrors
    rule = Rule(
        "app",
        made.upstream.repository,
        REPOSITORY,
        TagSelection(names=("1.0",)),
        made.check_every,
        made.alert_after,
        admit=made.admit,
    )
    known = rules([made], "rules-1", rule)
    checks = checks_after_scan(finished, known, service.records, service.clock())
    return [each for each in checks if isinstance(each, CheckRequest)]


def evidence(service: HeldService, image: Digest) -> ScanEvidence:
    """Show what is known of the scans of a digest."""
    seen = service.known.admission
    found = seen.find(image) if seen is not None else None
    assert found is not None
    assert found.scan is not None
    return found.scan


def cause(service: HeldService) -> str:
    """Show why the mirror waits, with the names of images."""
    text = service.known.cause
    for digest, name in NAMES.items():
        text = text.replace(digest, name)
    return text


def test_new_digest_is_copied_scanned_and_served() -> None:
    service = following()
    assert service.visit(B, hours=1) == "A"
    assert (service.held, service.known.state) == (["A", "B"], State.COOLING)
    assert evidence(service, B.digest).images == (B.digest,)
    (look,) = service.queue.sent
    assert isinstance(look, CheckRequest)
    assert (look.reason, look.tags, service.queue.delays) == ("scan", ("1.0",), [30])
    service.scans.found(B.digest)
    assert after_event(service, B.digest) == "B"
    assert (service.known.state, service.known.waiting) == (State.FRESH, None)
    assert service.known.unfresh_since is None
    assert service.events[-1] == "Admitted scanned"


def test_vulnerable_digest_is_told_at_once_and_once() -> None:
    service = following()
    service.visit(B, hours=1)
    service.scans.found(B.digest, CRITICAL)
    assert after_event(service, B.digest) == "A"
    assert (service.known.state, cause(service)) == (State.HELD, "B is vulnerable: CVE-2026-1234 (CRITICAL)")
    assert service.alerts == ["HELD"]
    for _ in range(10):
        service.visit(hours=1)
    assert service.alerts == ["HELD"]
    assert service.events == ["Held waiting-scan", "Held vulnerable"]
    assert service.outcomes.published[-1].detail.held_detail == "CVE-2026-1234 (CRITICAL)"


def test_digest_without_a_result_is_held_after_a_while_and_never_passes() -> None:
    service = following()
    service.visit(B, hours=1)
    service.visit(minutes=6)
    assert cause(service).startswith(
        "B was first seen at 2026-11-24 10:00 UTC, and its scan is waited for until 2026-11-24 12:00 UTC: its"
    )
    service.visit(hours=1.8)
    assert (service.known.state, service.alerts) == (State.COOLING, [])
    service.visit(hours=0.2)
    assert service.known.state is State.HELD
    assert cause(service).startswith("B has no result of a scan: its scan is IN_PROGRESS")
    assert service.alerts == ["HELD"]
    assert service.visit(days=30) == "A"
    service.scans.found(B.digest)
    assert after_event(service, B.digest) == "B"


def test_scans_of_a_vulnerable_digest_are_read_again_ever_more_rarely() -> None:
    service = following()
    service.visit(B, hours=1)
    service.scans.found(B.digest, CRITICAL)
    after_event(service, B.digest)
    service.scans.read_images.clear()
    for _ in range(4 * 24 * 7):
        service.visit(minutes=15)
    assert len(service.scans.read_images) == 13  # 7 in the first day, and then one a day
    service.scans.found(B.digest)
    assert service.visit(days=1) == "B"


def test_event_of_another_image_or_repository_reads_no_scan() -> None:
    service = following()
    service.visit(B, hours=1)
    service.scans.read_images.clear()
    for repository, image in ((REPOSITORY, C.digest), ("mirror/other", B.digest)):
        finished = ScanFinished(repository, image, (), {}, service.clock())
        assert checks_of(service, finished) == []
    assert service.scans.read_images == []


def test_event_reads_no_record_where_no_rule_asks_for_scans() -> None:
    service = following()
    service.follow(AdmissionPolicy(min_age=timedelta(days=1)))
    service.script.calls.clear()
    finished = ScanFinished(REPOSITORY, B.digest, (), {}, service.clock())
    assert checks_of(service, finished) == []
    assert not any("load" in call and "listing" not in call for call in service.script.calls)


@pytest.mark.parametrize("vulnerable", [AMD64.digest, ARM64.digest])
def test_all_platforms_of_an_index_count(vulnerable: Digest) -> None:
    service = following()
    serve_index(service)
    assert evidence(service, BOTH.digest).images == (AMD64.digest, ARM64.digest)
    service.scans.found(AMD64.digest, *([CRITICAL] if vulnerable == AMD64.digest else []))
    after_event(service, AMD64.digest)
    assert service.served == "A"
    service.scans.found(ARM64.digest, *([CRITICAL] if vulnerable == ARM64.digest else []))
    after_event(service, ARM64.digest)
    assert (service.served, service.known.state) == ("A", State.HELD)


def test_platforms_that_the_rule_leaves_out_do_not_count() -> None:
    service = following(platforms=("linux/amd64",))
    serve_index(service)
    assert evidence(service, BOTH.digest).images == (AMD64.digest,)
    service.scans.found(ARM64.digest, CRITICAL)
    service.scans.found(AMD64.digest)
    after_event(service, AMD64.digest)
    assert service.target.published_digests(REPOSITORY, ["1.0"])["1.0"] == AMD64.digest


def serve_index(service: HeldService) -> None:
    """Let upstream serve an index of two platforms, and copy it ahead."""
    service.target.hold(REPOSITORY, {digest: BOTH.read_blob(digest) for digest in BOTH.blobs})
    service.visit(BOTH, hours=1)


class TestPublish:
    def test_decides_by_scans_that_it_reads_itself(self) -> None:
        service = following(SCANNED._replace(min_age=timedelta(days=3)))
        service.scans.found(B.digest)
        service.visit(B, hours=1)
        assert evidence(service, B.digest).verdict is ScanVerdict.CLEAN
        service.scans.found(B.digest, CRITICAL)  # found since, by a scanner that goes on watching
        assert service.visit(days=3) == "A"
        assert service.results[-1].held.endswith("is vulnerable: CVE-2026-1234 (CRITICAL)")
        service.visit()
        assert (service.known.state, service.alerts) == (State.HELD, ["HELD"])

    def test_record_that_lies_about_a_scan_moves_no_tag(self) -> None:
        service = following()
        service.visit(B, hours=1)
        clean = ScanEvidence(
            (B.digest,), service.clock(), service.clock(), ScanPolicy().fingerprint, ScanVerdict.CLEAN, "forged"
        )
        seen = service.known.admission
        assert seen is not None
        forged = tuple(each if each.digest != B.digest else structs.replace(each, scan=clean) for each in seen.seen)
        service.records.stored[KEY] = service.known.with_changes(admission=structs.replace(seen, seen=forged))
        assert service.visit() == "A"
        assert "its scan is IN_PROGRESS" in service.results[-1].held
        service.visit(minutes=10)
        assert service.known.state is State.COOLING

    def test_scan_that_cannot_be_read_fails_the_refresh_and_moves_no_tag(self) -> None:
        service = following(SCANNED._replace(min_age=timedelta(days=3)))
        service.scans.found(B.digest)
        service.visit(B, hours=1)
        service.script.fail("read_scans", failed(RateLimitedError, side=Side.TARGET))
        assert service.visit(days=3) == "A"
        assert service.known.failure is not None
        assert service.known.failure.kind == "RateLimitedError"
        assert service.visit(minutes=5) == "B"

    def test_person_who_admits_outweighs_a_scan_that_is_not_even_read(self) -> None:
        service = following()
        service.visit(B, hours=1)
        service.scans.found(B.digest, CRITICAL)
        after_event(service, B.digest)
        decision = Decision(B.digest, True, "arn:aws:iam::123456789012:user/ada", service.clock())
        service.records.stored[KEY] = after_decision_of_person(service.known, decision)
        assert service.visit() == "B"


class TestReport:
    def test_tag_moves_as_before_and_says_what_would_have_been_held(self) -> None:
        service = following(SCANNED._replace(mode=AdmissionMode.REPORT))
        assert service.visit(B, hours=1) == "B"
        service.scans.found(B.digest, CRITICAL)
        assert after_event(service, B.digest) == "B"
        assert (service.known.state, service.alerts) == (State.FRESH, [])
        assert service.known.waiting is not None
        assert service.known.waiting.reported
        assert service.events[-1] == "Held vulnerable"
        assert service.outcomes.published[-1].detail.reported is True

    def test_clean_digest_is_reported_as_admitted(self) -> None:
        service = following(SCANNED._replace(mode=AdmissionMode.REPORT))
        service.visit(B, hours=1)
        service.scans.found(B.digest)
        after_event(service, B.digest)
        assert service.known.waiting is None
        assert service.events[-1] == "Admitted scanned"


class TestCopies:
    def test_copy_that_failed_is_made_again_once_an_hour(self) -> None:
        service = following()
        service.fails_with = failed(RateLimitedError)
        service.visit(B, hours=1)
        started = service.done
        for _ in range(16):
            service.visit(minutes=15)
        assert service.done - started == 4
        assert service.known.state is State.HELD
        assert cause(service) == "B has no result of a scan: it is not in ECR yet, where it is scanned"
        service.fails_with = None
        service.visit(hours=1)
        service.scans.found(B.digest)
        assert after_event(service, B.digest) == "B"

    @pytest.mark.parametrize("min_age", [timedelta(), timedelta(days=3)])
    def test_copy_that_could_not_be_started_is_started_by_the_next_check(self, min_age: timedelta) -> None:
        service = following(SCANNED._replace(min_age=min_age))
        service.script.fail("start", StorageError("throttled"))
        service.visit(B, hours=1)
        assert service.held == ["A"]
        service.visit()  # SQS delivers the message again
        assert service.held == ["A", "B"]
        assert evidence(service, B.digest).images == (B.digest,)

    def test_check_that_is_killed_before_it_starts_the_copy_is_made_good_by_the_next_one(self) -> None:
        service = following()
        service.serve(B)
        service.script.fail("start", Killed())
        with pytest.raises(Killed):
            service.check_one()
        assert service.held == ["A"]
        service.visit()
        assert service.held == ["A", "B"]

    def test_copy_that_was_started_is_not_started_again(self) -> None:
        service = following(SCANNED._replace(min_age=timedelta(days=3)))
        service.visit(B, hours=1)
        calls = service.script.count("start")
        for _ in range(8):
            service.visit(minutes=15)
        assert service.script.count("start") == calls

    def test_digest_that_a_person_has_rejected_is_not_copied(self) -> None:
        service = following()
        service.script.fail("start", StorageError("throttled"))
        service.visit(B, hours=1)
        rejection = Decision(B.digest, False, "arn:aws:iam::123456789012:user/ada", service.clock())
        service.records.stored[KEY] = after_decision_of_person(service.known, rejection)
        for _ in range(12):
            service.visit(minutes=15)
        assert service.held == ["A"]

    def test_what_ecr_has_expired_is_copied_again_where_its_scan_is_missing(self) -> None:
        service = following()
        service.visit(B, hours=1)
        service.scans.found(B.digest, CRITICAL)
        after_event(service, B.digest)
        service.scans.answers[B.digest] = ImageScan(B.digest, trouble="ECR does not have it", is_missing=True)
        service.follow(AdmissionPolicy(scan=ScanPolicy(exempt=("CVE-2026-1234",))))
        started = service.done
        service.script.before("read_scans", service.scans.answers.clear, passing=1)  # by the publish
        service.visit(days=40)
        assert (service.known.state, evidence(service, B.digest).missing) == (State.HELD, False)
        service.scans.found(B.digest, CRITICAL)
        assert (service.done - started, after_event(service, B.digest)) == (1, "B")

    def test_rule_that_begins_to_ask_copies_what_waits(self) -> None:
        service = following(AdmissionPolicy(min_age=timedelta(days=3)))
        service.visit(B, hours=1)
        service.follow(SCANNED._replace(min_age=timedelta(days=3)))
        service.visit(hours=2)
        service.scans.found(B.digest)
        assert evidence(service, B.digest).verdict is ScanVerdict.NONE
        assert service.visit(days=3) == "B"


def test_other_rule_reads_the_scans_again() -> None:
    service = following()
    service.visit(B, hours=1)
    service.scans.found(B.digest, CRITICAL)
    after_event(service, B.digest)
    service.follow(AdmissionPolicy(scan=ScanPolicy(exempt=("CVE-2026-1234",))))
    assert service.visit(minutes=1) == "B"


def test_explanation_says_what_each_gate_says() -> None:
    policy = AdmissionPolicy(
        min_age=timedelta(days=3), scan=ScanPolicy(block=(Severity.CRITICAL, Severity.HIGH), exempt=("CVE-2026-9",))
    )
    service = following(policy)
    service.visit(B, hours=1)
    service.scans.found(B.digest, CRITICAL)
    after_event(service, B.digest)
    (made,) = service.rules.mirrors
    explained = explain(KEY, MirrorFacts(made, service.known), service.rules, service.clock())
    text = str(explained)
    assert "scan: no CRITICAL or HIGH findings, but for 1 that are exempt" in text
    assert "scan: VULNERABLE, CVE-2026-1234 (CRITICAL)" in text
    assert "age: old enough at" in text


def test_many_digests_that_wait_are_read_a_few_at_a_time() -> None:
    service = following(SCANNED._replace(min_age=timedelta(days=3)))
    for seed in range(6):
        image = make_image(seed=31 + seed)
        service.target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})
        service.visit(image, minutes=1)
    service.scans.read_images.clear()
    request = structs.replace(service.request(), reason="scan", settled=True)
    service.use_case(request)
    assert len(service.scans.read_images) == 4


def test_every_digest_that_waits_is_read_once_after_an_event() -> None:
    service = following(SCANNED._replace(min_age=timedelta(days=3)))
    images = [make_image(seed=31 + seed) for seed in range(6)]
    for image in images:
        service.target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})
        service.visit(image, minutes=1)
    service.scans.read_images.clear()
    service.queue.sent.clear()
    service.clock.advance(minutes=1)
    request = structs.replace(service.request(), reason="scan", settled=True)
    put_back: list[PutBack] = []
    for _ in range(6):
        service.clock.advance(seconds=31)
        (checked,) = service.use_case.check([request], service.pool())
        put_back += checked.put_back
        if not checked.put_back:
            break
        assert isinstance(checked.put_back[0].request, CheckRequest)
        request = checked.put_back[0].request
    assert sorted(service.scans.read_images) == sorted(image.digest for image in images)
    assert len(put_back) == 1


def test_look_that_was_asked_for_by_a_clock_behind_reads_the_scan() -> None:
    service = following()
    service.visit(B, hours=1)
    service.scans.found(B.digest)
    behind = service.clock() - timedelta(seconds=2)
    service.use_case(structs.replace(service.request(), reason="scan", settled=True, asked_at=behind))
    service.carry_out()
    assert service.served == "B"


def test_digest_of_too_many_images_is_held_and_not_refreshed_again_and_again() -> None:
    service = following()
    images = [make_image(seed=100 + number, platform=f"linux/p{number}") for number in range(33)]
    many = make_index(images)
    service.target.hold(REPOSITORY, {digest: many.read_blob(digest) for digest in many.blobs})
    for image in images:
        service.scans.found(image.digest)
    service.visit(many, hours=1)
    started = service.done
    for _ in range(20):
        service.visit(minutes=15)
    assert (service.served, service.known.state, service.done - started) == ("A", State.HELD, 0)
    assert "it has 33 images or more" in cause(service)
    assert service.alerts == ["HELD"]


def test_outcome_that_is_recorded_late_does_not_forget_a_newer_reading() -> None:
    service = following()
    service.visit(B, hours=1)
    old = evidence(service, B.digest)
    service.clock.advance(minutes=1)
    service.scans.found(B.digest, CRITICAL)
    after_event(service, B.digest)
    assert evidence(service, B.digest).verdict is ScanVerdict.VULNERABLE
    assert after_scanned(service.known, B.digest, old) == service.known


def test_clean_digest_that_is_old_enough_is_looked_at_after_its_copy() -> None:
    service = following(SCANNED._replace(min_age=timedelta(minutes=30)))
    service.scans.found(B.digest)
    service.fails_with = failed(RateLimitedError)
    service.visit(B, hours=1)
    service.fails_with, service.delays[:] = None, []
    service.visit(hours=1)
    assert (evidence(service, B.digest).verdict, service.delays) == (ScanVerdict.CLEAN, [0])


def test_clean_digest_that_is_old_enough_before_its_scan_was_waited_for_waits_no_longer() -> None:
    service = following(SCANNED._replace(min_age=timedelta(minutes=30)))
    service.scans.found(B.digest)
    service.visit(B, hours=1)
    assert service.delays == [0]
    (look,) = service.queue.sent
    assert isinstance(look, CheckRequest)
    service.use_case(look)
    assert service.known.waiting is not None
    assert service.known.waiting.until == service.clock() + timedelta(minutes=30)
    assert service.visit(minutes=30) == "B"


def test_clean_digest_that_is_too_young_has_no_look_after_its_copy() -> None:
    service = following(SCANNED._replace(min_age=timedelta(days=1)))
    service.scans.found(B.digest)
    service.visit(B, hours=1)
    assert (evidence(service, B.digest).verdict, service.delays) == (ScanVerdict.CLEAN, [])


def test_record_deleted_has_the_digest_scanned_again() -> None:
    service = following(SCANNED._replace(min_age=timedelta(days=3)))
    service.scans.found(B.digest)
    service.visit(B, hours=1)
    assert evidence(service, B.digest).verdict is ScanVerdict.CLEAN
    del service.records.stored[KEY]
    service.scans.answers.clear()
    assert service.visit(days=4) == "A"
    assert service.visit(days=4) == "A"
    assert (service.known.state, service.alerts[-1]) == (State.HELD, "HELD")


def test_new_scan_after_the_digest_came_back_counts_anew() -> None:
    service = following()
    service.visit(B, hours=1)
    service.scans.found(B.digest, CRITICAL)
    after_event(service, B.digest)
    service.visit(A, hours=1)
    assert (service.served, service.known.state) == ("A", State.FRESH)
    service.scans.answers.clear()
    service.visit(B, hours=1)
    seen = service.known.admission
    assert seen is not None
    found = seen.find(B.digest)
    assert found is not None
    assert found.scan is None or found.scan.verdict is ScanVerdict.NONE
