"""What belongs to an image arrives with it in the deployed stack; what cannot be copied holds nothing back."""

from local import artifacts
from local.images import make_image
from pullahead.mirrors.record import State
from pullahead.oci.referrers import fallback_tag
from tests.scenarios.deployment import TAG
from tests.scenarios.scene import Scene

IMAGE = make_image([60_000], seed=71)
BILL, BROKEN = artifacts.sbom(IMAGE.root.descriptor), artifacts.provenance(IMAGE.root.descriptor)
SIGNATURE = artifacts.cosign2_signature(IMAGE.root.descriptor)
SIG_TAG = f"{fallback_tag(IMAGE.digest)}.sig"


def referrers_in_ecr(scene: Scene) -> set[str]:
    """List what ECR says refers to the image."""
    ecr = scene.aws.client("ecr")
    answer = ecr.list_image_referrers(repositoryName=scene.repository, subjectId={"imageDigest": IMAGE.digest})
    return {each["digest"] for each in answer["referrers"]}


def test_referrers_arrive_before_the_tag_and_one_that_fails_is_told_and_retried(scene: Scene) -> None:
    scene.upstream.referrers_page = 1
    scene.serve(IMAGE)
    for each in (BILL, BROKEN):
        scene.upstream.push(each, scene.mirror.path)
    scene.upstream.push(SIGNATURE, scene.mirror.path, SIG_TAG)
    lost = list(BROKEN.blobs)[-1]
    scene.upstream.lie_blob(lost, bytes(len(BROKEN.read_blob(lost))))
    scene.check()

    scene.serves(IMAGE)
    assert referrers_in_ecr(scene) == {BILL.digest}
    puts = [call.parameters for call in scene.ecr.calls if call.operation == "PutImage"]
    assert [(put["imageDigest"], put.get("imageTag")) for put in puts] == [
        (IMAGE.digest, None),
        (BILL.digest, None),
        (SIGNATURE.digest, SIG_TAG),
        (IMAGE.digest, TAG),
    ]
    known = scene.record().referrers
    assert known is not None
    assert (known.outcome.copied, known.outcome.failed) == (2, 1)
    (alert,) = scene.alerts()
    assert alert.kind == "REFERRERS_FAILED"
    assert BROKEN.digest in alert.text
    assert scene.record().state is State.FRESH
