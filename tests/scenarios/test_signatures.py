"""A tag whose rule demands a signature: verify_image as deployed, between the copy and the publish."""

from textwrap import indent

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from local.artifacts import signed_by_key
from local.images import make_image
from pullahead.mirrors.record import State
from pullahead.oci.referrers import fallback_tag
from tests.scenarios.deployment import CHECK_EVERY, rules_text
from tests.scenarios.scene import Scene

ALL = ("ScheduleChecks", "CheckFreshness", "PlanCopy", "RecordOutcome", "ReviewRecords")
OLD, NEW = make_image(seed=1), make_image(seed=2)


class Signer:
    """A company, and what its rules say of its key."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())

    def rules(self, scene: Scene) -> str:
        pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        admit = (
            f"    admit:\n      verify:\n        grace: 10m\n        any:\n          - key: |\n{indent(pem, ' ' * 14)}"
        )
        return f"{rules_text(scene.mirror)}{admit}"

    def sign(self, scene: Scene) -> None:
        signature = signed_by_key(
            NEW.root.descriptor,
            f"{scene.mirror.host}/{scene.mirror.path}",
            lambda content: self.key.sign(content, ec.ECDSA(SHA256())),
        )
        scene.upstream.push(signature, scene.mirror.path, f"{fallback_tag(NEW.digest)}.sig")


def evidence(scene: Scene) -> str:
    """Name what the record knows of the signatures of the new image."""
    known = scene.record().admission
    found = known.find(NEW.digest) if known is not None else None
    return found.signature.outcome.value if found is not None and found.signature is not None else "-"


def test_unsigned_image_is_held_until_its_signature_comes(scene: Scene) -> None:
    """Upstream's listing fails at one look, which is no proof of anything, and is looked at again."""
    signer = Signer()
    scene.serve(OLD)
    scene.check()
    scene.serves(OLD)
    with scene.deployment.rules(signer.rules(scene), *ALL):
        scene.fire_schedule()
        scene.serve(NEW)
        scene.upstream.fail("HEAD", rf"{fallback_tag(NEW.digest)}\.sig", 503, times=100)
        scene.fire_schedule()
        assert (evidence(scene), scene.record().state) == ("UNKNOWN", State.COOLING)
        scene.upstream.clear_faults()
        scene.fire_schedule()
        assert evidence(scene) == "UNSIGNED"
        scene.fire_schedule(3 * CHECK_EVERY)
        assert scene.record().state is State.HELD
        assert scene.alert_kinds() == ["HELD"]
        scene.keeps(OLD)
        signer.sign(scene)
        scene.fire_schedule(12 * CHECK_EVERY)  # finds the signature
        scene.fire_schedule()
        assert evidence(scene) == "ADMITTED"
        scene.serves(NEW)
        assert {run.outcome for run in scene.runs("VerifyImage")} == {"Succeeded"}
