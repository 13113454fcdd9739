"""What belongs to an image arrives with it in the deployed stack; what cannot be copied holds nothing back."""

from datetime import timedelta

from local import artifacts
from local.images import make_image
from pullahead.messages import ReferrerNamed
from pullahead.mirrors.record import State
from pullahead.oci.referrers import fallback_tag
from tests.scenarios.deployment import CHECK_EVERY, SETTLED_AFTER, TAG
from tests.scenarios.scene import Scene

IMAGE = make_image([60_000], seed=71)
LATER = make_image([60_000], seed=72)
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


def test_late_referrer_is_copied_by_the_next_check_and_settles(scene: Scene) -> None:
    scene.upstream.referrers_page = 10
    scene.serve(LATER)
    scene.check()
    scene.serves(LATER)
    late = artifacts.cosign3_bundle(LATER.root.descriptor)
    scene.upstream.push(late, scene.mirror.path)
    scene.check(CHECK_EVERY)
    ecr = scene.aws.client("ecr")
    answer = ecr.list_image_referrers(repositoryName=scene.repository, subjectId={"imageDigest": LATER.digest})
    assert [each["digest"] for each in answer["referrers"]] == [late.digest]
    assert scene.tag_moves() == [LATER.digest]
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"] * 2
    known = scene.record().referrers
    assert known is not None
    assert known.outcome.copied == 1

    scene.check(CHECK_EVERY)
    assert len(scene.executions()) == 2
    version = scene.record().version
    scene.upstream.forget_requests()
    scene.check(SETTLED_AFTER)  # settled, and no look is due
    assert [(request.method, request.path.rpartition("/")[2]) for request in scene.upstream.requests] == [("HEAD", TAG)]
    assert scene.record().version == version


def test_webhook_about_a_signature_has_it_copied_at_once(scene: Scene) -> None:
    scene.serve(LATER)
    scene.check()
    scene.aws.clock.advance(timedelta(days=3).total_seconds())
    tag = f"{fallback_tag(LATER.digest)}.sig"
    signature = artifacts.cosign2_signature(LATER.root.descriptor)
    scene.upstream.push(signature, scene.mirror.path, tag)
    named = ReferrerNamed(str(scene.upstream.repository(scene.mirror.path)), LATER.digest, scene.aws.clock.now())
    scene.send(named.to_json())
    scene.settle()
    ecr = scene.aws.client("ecr")
    answer = ecr.describe_images(repositoryName=scene.repository, imageIds=[{"imageTag": tag}])
    assert answer["imageDetails"][0]["imageDigest"] == signature.digest
