"""A rule that asks for scans: ECR scans what was copied without its tag, and the tag moves if nothing blocks it."""

from local.images import make_image
from pullahead.mirrors.record import State
from pullahead.refresh.record_outcome import SCAN_LOOK_SECONDS
from tests.scenarios.deployment import rules_text
from tests.scenarios.scene import Scene

CLEAN, VULNERABLE = make_image(seed=1), make_image(seed=2)


def look(scene: Scene) -> None:
    """Check as the schedule does, and let the look after the copy come: an event may come before it is recorded."""
    scene.check()
    scene.aws.clock.advance(SCAN_LOOK_SECONDS + 1)
    scene.settle()


def test_clean_digest_is_served_and_a_vulnerable_one_is_held(scene: Scene) -> None:
    asking = f"{rules_text(scene.mirror)}    admit: {{scan: {{block: [CRITICAL]}}}}\n"
    scene.ecr.scans.vulnerable(VULNERABLE.digest, {"name": "CVE-2026-1234", "severity": "CRITICAL"})
    with scene.deployment.rules(asking, "CheckFreshness", "RecordOutcome"):
        scene.serve(CLEAN)
        look(scene)
        scene.serves(CLEAN)
        scene.serve(VULNERABLE)
        look(scene)
        assert scene.published() == CLEAN.digest
        record = scene.record()
        assert (record.state, record.cause) == (
            State.HELD,
            f"{VULNERABLE.digest} is vulnerable: CVE-2026-1234 (CRITICAL)",
        )
        assert scene.ecr.calls.count("StartImageScan", scene.repository) == 2
