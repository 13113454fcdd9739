"""What must not pass for a clean scan, each by its name; and what does."""

from datetime import timedelta

import pytest

from pullahead.admission.choose import choose
from pullahead.admission.gates import GateName, HeldReason, Hold
from pullahead.admission.scans import MAX_IMAGES, ImageScan, NoScans, ScanFinding, is_blocking, judge_scans, read_scans
from pullahead.admission.seen_digests import Decision, SeenDigests, after_decision, after_scan
from pullahead.messages import ScanEvidence, ScanVerdict
from pullahead.oci import Digest
from pullahead.rules.admission_policy import AdmissionPolicy, ScanPolicy, Severity
from tests.fakes.memory import FakeClock
from tests.fakes.samples import digest
from tests.fakes.scans import FakeImageScans
from tests.fakes.script import Script
from tests.unit.admission.stories import after, at, name_of, told

AMD64, ARM64 = digest("amd64"), digest("arm64")
SCAN = ScanPolicy()
POLICY = AdmissionPolicy(scan=SCAN)
CRITICAL, HIGH = ScanFinding("CVE-2026-1234", "CRITICAL"), ScanFinding("CVE-2026-5678", "HIGH")


def scan(*findings: ScanFinding, image: Digest = AMD64, status: str = "COMPLETE") -> ImageScan:
    """Scan an image two hours after its push."""
    return ImageScan(image, status, at(2), at(0), findings)


def judged(*scans: ImageScan, policy: ScanPolicy = SCAN, images: tuple[Digest, ...] = (AMD64,)) -> str:
    """Judge scans, in words."""
    found = judge_scans(images, scans, policy)
    return f"{found.verdict}: {found.text}"


def evidence(verdict: ScanVerdict, policy: ScanPolicy = SCAN, hours: float = 0) -> ScanEvidence:
    """What was found of a digest that was copied at the start."""
    return ScanEvidence((AMD64,), at(0), at(hours), policy.fingerprint, verdict, "what was found")


def seen(verdict: ScanVerdict | None, policy: ScanPolicy = SCAN, of: str = "B") -> SeenDigests:
    """Upstream serves B after A, which was admitted; its scans were read."""
    known = after("0 A, 0 +A, 0 B")
    return known if verdict is None else after_scan(known, digest(of), evidence(verdict, policy))


def served(known: SeenDigests, policy: AdmissionPolicy = POLICY, hours: float = 1) -> tuple[str, Hold | None]:
    """Say what the tag may serve, and why not what is newer."""
    choice = choose(known, policy, at(hours))
    return name_of(choice.serve.digest if choice.serve else None), choice.waiting.hold if choice.waiting else None


def awaited(hours: float, why: str) -> Hold:
    """Wait for a scan until an hour."""
    return Hold(until=at(hours), gate=GateName.SCAN, why=why)


class TestGoodCases:
    def test_scan_without_findings_is_clean(self) -> None:
        assert judged(scan()) == "CLEAN: 1 images scanned, 0 findings, none that the rule blocks"

    def test_findings_of_other_severities_do_not_block(self) -> None:
        assert judged(scan(HIGH)).startswith("CLEAN")

    def test_scan_of_inspector_that_goes_on_watching_is_a_result(self) -> None:
        assert judged(scan(status="ACTIVE")).startswith("CLEAN")

    def test_scan_at_the_moment_of_the_push_is_a_result(self) -> None:
        assert judged(scan()._replace(completed_at=at(0))).startswith("CLEAN")

    def test_exempt_finding_does_not_block(self) -> None:
        assert judged(scan(CRITICAL), policy=SCAN._replace(exempt=("CVE-2026-1234",))).startswith("CLEAN")

    def test_finding_without_a_fix_does_not_block_where_only_fixable_ones_do(self) -> None:
        without = CRITICAL._replace(fixable=False)
        assert judged(scan(without), policy=SCAN._replace(fixable_only=True)).startswith("CLEAN")

    def test_every_platform_clean_is_clean(self) -> None:
        both = (scan(), scan(image=ARM64))
        assert judged(*both, images=(AMD64, ARM64)) == "CLEAN: 2 images scanned, 0 findings, none that the rule blocks"

    def test_clean_digest_is_served_at_once_without_a_cooldown(self) -> None:
        assert served(seen(ScanVerdict.CLEAN)) == ("B", None)

    def test_admitted_digest_is_left_alone_whatever_its_scans_say_later(self) -> None:
        known = after_scan(after("0 A, 0 +A"), digest("A"), evidence(ScanVerdict.VULNERABLE))
        assert served(known) == ("A", None)


class TestScans:
    def test_vulnerable_image_is_named_with_its_findings(self) -> None:
        other = ScanFinding("CVE-2026-0001", "CRITICAL")
        assert judged(scan(CRITICAL, HIGH, other)) == ("VULNERABLE: CVE-2026-0001 (CRITICAL), CVE-2026-1234 (CRITICAL)")

    def test_many_findings_are_named_in_a_bounded_line(self) -> None:
        many = (ScanFinding(f"CVE-2026-{number:04}", "CRITICAL") for number in range(1000))
        text = judged(scan(*many))
        assert text.endswith("CVE-2026-0009 (CRITICAL) and 990 more")
        assert len(text) < 400

    def test_name_that_steers_a_terminal_is_printable(self) -> None:
        text = judged(scan(ScanFinding("CVE-\x1b[31m\n\u202e" + "x" * 500, "CRITICAL")))
        assert text.isprintable()
        assert len(text) < 120

    def test_scan_of_another_digest(self) -> None:
        assert judged(scan(image=ARM64)) == f"NONE: ECR answers about another digest (image {AMD64})"

    def test_scan_finished_before_the_image(self) -> None:
        assert "is older than its push" in judged(scan()._replace(completed_at=at(-1)))

    @pytest.mark.parametrize(
        "status",
        [
            *("IN_PROGRESS", "PENDING", "FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED", "LIMIT_EXCEEDED"),
            *("FINDINGS_UNAVAILABLE", "IMAGE_ARCHIVED", "IMAGE_SIZE_EXCEEDED", "complete", "COMPLETED", ""),
        ],
    )
    def test_scan_of_any_other_status(self, status: str) -> None:
        assert judged(scan(status=status)).startswith(f"NONE: its scan is {status}")

    def test_scan_without_a_time(self) -> None:
        assert judged(scan()._replace(completed_at=None)).startswith("NONE: ECR does not say when its scan")
        assert judged(scan()._replace(pushed_at=None)).startswith("NONE: ECR does not say when it was pushed")

    def test_findings_truncated(self) -> None:
        assert judged(scan(HIGH)._replace(is_truncated=True)).startswith("NONE: its scan has more than 5,000 findings")

    def test_vulnerable_among_truncated_findings_is_vulnerable(self) -> None:
        assert judged(scan(CRITICAL)._replace(is_truncated=True)).startswith("VULNERABLE")

    def test_finding_that_is_counted_and_not_listed(self) -> None:
        assert judged(scan(HIGH)._replace(counts={"CRITICAL": 1, "HIGH": 1})).startswith(
            "NONE: its scan counts 1 findings that are CRITICAL, and lists 0"
        )
        assert judged(scan()._replace(counts={"HIGH": 9})).startswith("CLEAN")

    def test_child_not_scanned(self) -> None:
        scans = (scan(), ImageScan(ARM64, trouble="its scan was just started"))
        assert judged(*scans, images=(AMD64, ARM64)) == f"NONE: its scan was just started (image {ARM64})"

    def test_child_without_any_answer(self) -> None:
        assert judged(scan(), images=(AMD64, ARM64)).startswith("NONE")

    def test_one_platform_clean_and_one_not(self) -> None:
        scans = (scan(), scan(CRITICAL, image=ARM64))
        assert judged(*scans, images=(AMD64, ARM64)).startswith("VULNERABLE: CVE-2026-1234")

    def test_one_platform_vulnerable_and_one_pending(self) -> None:
        scans = (scan(status="IN_PROGRESS"), scan(CRITICAL, image=ARM64))
        assert judged(*scans, images=(AMD64, ARM64)).startswith("VULNERABLE")

    @pytest.mark.parametrize(
        ("images", "text"),
        [
            ((), "it has no image that is scanned"),
            (tuple(digest(str(number)) for number in range(MAX_IMAGES + 1)), "it has 33 images"),
        ],
    )
    def test_no_image_and_too_many(self, images: tuple[Digest, ...], text: str) -> None:
        begun = ScanEvidence(images, at(0), at(0), SCAN.fingerprint)
        found = read_scans("mirror/app", begun, SCAN, FakeImageScans(Script(), FakeClock()), at(1))
        assert found.verdict is ScanVerdict.NONE
        assert found.text.startswith(text)

    def test_service_that_cannot_read_scans(self) -> None:
        begun = ScanEvidence((AMD64,), at(0), at(0), SCAN.fingerprint)
        assert read_scans("mirror/app", begun, SCAN, NoScans(), at(1)).verdict is ScanVerdict.NONE


class TestFindings:
    @pytest.mark.parametrize(
        "exempt",
        ["CVE-2026-123", "CVE-2026-12345", "cve-2026-1234", "CVE-2026-1234 ", "CVE-2026-5678", "CVE", "CVE-2026-*", ""],
    )
    def test_exempt_by_prefix_by_case_or_of_another(self, exempt: str) -> None:
        assert is_blocking(CRITICAL, SCAN._replace(exempt=(exempt,)))

    @pytest.mark.parametrize("severity", ["", "critical", "Critical", "UNKNOWN", "CRITICAL ", "5"])
    def test_severity_unknown_blocks_whatever_the_rule_blocks(self, severity: str) -> None:
        low = SCAN._replace(block=(Severity.LOW,))
        assert is_blocking(CRITICAL._replace(severity=severity), low)

    @pytest.mark.parametrize("listed", [Severity.UNDEFINED, Severity.UNTRIAGED])
    @pytest.mark.parametrize("severity", ["UNDEFINED", "UNTRIAGED"])
    def test_unrated_finding_blocks_by_either_name(self, listed: Severity, severity: str) -> None:
        unrated = CRITICAL._replace(severity=severity)
        assert is_blocking(unrated, SCAN._replace(block=(listed,)))
        assert not is_blocking(unrated, SCAN)

    @pytest.mark.parametrize("fixable", [None, True])
    def test_finding_of_which_no_fix_is_said_blocks_as_one_with_a_fix(self, fixable: bool | None) -> None:
        assert is_blocking(CRITICAL._replace(fixable=fixable), SCAN._replace(fixable_only=True))


class TestGate:
    def test_vulnerable_is_told_at_once_also_in_a_cooldown(self) -> None:
        cooling = POLICY._replace(min_age=timedelta(days=3))
        found = served(seen(ScanVerdict.VULNERABLE), cooling)
        assert found == ("A", Hold(because=HeldReason.VULNERABLE, why="what was found"))

    def test_result_is_awaited_for_a_while_and_then_missing(self) -> None:
        assert served(seen(ScanVerdict.NONE), hours=1.99) == (
            "A",
            awaited(2, "what was found"),
        )
        missing = ("A", Hold(because=HeldReason.SCAN_PENDING, why="what was found"))
        assert served(seen(ScanVerdict.NONE), hours=2) == missing
        assert served(seen(ScanVerdict.NONE), hours=2000) == missing

    def test_cooldown_that_lasts_longer_is_what_it_waits_for(self) -> None:
        cooling = POLICY._replace(min_age=timedelta(hours=5))
        assert served(seen(ScanVerdict.NONE), cooling) == ("A", Hold(until=at(5)))
        assert served(seen(ScanVerdict.CLEAN), cooling) == ("A", Hold(until=at(5)))
        assert served(seen(ScanVerdict.CLEAN), cooling, hours=5) == ("B", None)

    def test_digest_that_is_not_copied(self) -> None:
        found = served(seen(None))
        assert found == ("A", awaited(2, "it is not in ECR yet, where it is scanned"))
        assert served(seen(None), hours=3)[1] == Hold(
            because=HeldReason.SCAN_PENDING, why="it is not in ECR yet, where it is scanned"
        )

    @pytest.mark.parametrize(
        "other",
        [
            SCAN._replace(block=(Severity.HIGH,)),
            SCAN._replace(fixable_only=True),
            SCAN._replace(exempt=("CVE-2026-1234",)),
        ],
    )
    def test_result_by_another_rule_says_nothing(self, other: ScanPolicy) -> None:
        for verdict in ScanVerdict:
            assert served(seen(verdict, other))[1] == Hold(
                until=at(2), gate=GateName.SCAN, why="its scan was not read yet"
            )

    def test_other_wait_leaves_a_result_as_it_is(self) -> None:
        assert served(seen(ScanVerdict.CLEAN, SCAN._replace(wait=timedelta(hours=9)))) == ("B", None)

    def test_approval_for_another_digest(self) -> None:
        decided = after_decision(seen(ScanVerdict.VULNERABLE), Decision(digest("C"), True, "ada", at(1)))
        assert served(decided)[0] == "A"

    def test_person_outweighs_a_scan(self) -> None:
        decided = after_decision(seen(ScanVerdict.VULNERABLE), Decision(digest("B"), True, "ada", at(1)))
        assert served(decided) == ("B", None)
        rejected = after_decision(seen(ScanVerdict.CLEAN), Decision(digest("B"), False, "ada", at(1)))
        assert served(rejected) == ("A", Hold(because=HeldReason.REJECTED))

    def test_evidence_of_another_digest(self) -> None:
        assert served(seen(ScanVerdict.CLEAN, of="C"))[0] == "A"

    def test_digest_that_upstream_took_back_starts_without_its_scan(self) -> None:
        known, _ = told("2 A, 3 B", seen(ScanVerdict.CLEAN))
        assert served(known, hours=3) == (
            "A",
            awaited(5, "it is not in ECR yet, where it is scanned"),
        )

    def test_vulnerable_stays_so_while_a_newer_scan_has_no_result(self) -> None:
        scans = FakeImageScans(Script(), FakeClock())
        found = read_scans("mirror/app", evidence(ScanVerdict.VULNERABLE), SCAN, scans, at(9))
        assert (found.verdict, found.at, found.text) == (ScanVerdict.VULNERABLE, at(9), "what was found")
        clean = read_scans("mirror/app", evidence(ScanVerdict.CLEAN), SCAN, scans, at(9))
        assert clean.verdict is ScanVerdict.NONE

    def test_approval_is_asked_last(self) -> None:
        asking = POLICY._replace(approve=True)
        assert served(seen(ScanVerdict.NONE), asking)[1] == awaited(2, "what was found")
        assert served(seen(ScanVerdict.CLEAN), asking)[1] == Hold(because=HeldReason.WAITING_APPROVAL)
        vulnerable = served(seen(ScanVerdict.VULNERABLE), asking)[1]
        assert vulnerable is not None
        assert vulnerable.because is HeldReason.VULNERABLE
