"""ECR acts on the same repositories: its replication deletes tags, its managed signing needs a permission to push."""

import json
from datetime import timedelta

from local.images import make_image
from pullahead.mirrors.record import State
from tests.scenarios.deployment import CHECK_EVERY, TAG
from tests.scenarios.other_region import REGION, OtherRegion
from tests.scenarios.scene import Scene

IMAGE, NEXT = make_image(seed=1), make_image(seed=2)
BLOCKED_RETRY = timedelta(hours=6)
PROFILE = "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/images"


def test_tag_that_replication_deleted_is_not_restored_and_says_why(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.check()
    source = OtherRegion(scene)
    source.replicate(scene.repository)
    source.create(scene.repository)
    source.push(IMAGE, scene.repository, TAG)
    scene.settle()
    source.delete(scene.repository, TAG)
    scene.settle()
    assert scene.record().state is State.DELETED
    assert f"ECR's replication from 123456789012 in {REGION} writes and deletes there" in scene.record().cause
    scene.check(CHECK_EVERY)
    scene.is_not_published()
    assert scene.alerts() == []
    scene.serve(NEXT)
    scene.check(CHECK_EVERY)
    scene.serves(NEXT)


def test_push_that_may_not_be_signed_is_blocked_until_the_role_may_sign(scene: Scene) -> None:
    rule = {
        "signingProfileArn": PROFILE,
        "repositoryFilters": [{"filter": scene.repository, "filterType": "WILDCARD_MATCH"}],
    }
    scene.aws.client("ecr").put_signing_configuration(signingConfiguration={"rules": [rule]})
    scene.serve(IMAGE)
    scene.check()
    failure = scene.record().failure
    assert failure is not None
    assert (scene.record().state, failure.kind) == (State.BLOCKED, "SigningDeniedError")
    (alert,) = scene.alerts()
    assert alert.kind == "BLOCKED"
    assert f"signer:SignPayload on resource: {PROFILE}" in alert.text
    assert "parameter SigningProfiles" in alert.text
    statement = {"Effect": "Allow", "Action": ["signer:SignPayload"], "Resource": [PROFILE]}
    scene.aws.client("iam").put_role_policy(  # as the parameter does; it stays, so that the call was allowed
        RoleName=scene.deployment.stack.resources["PublishImageRole"],
        PolicyName="sign",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    scene.check(BLOCKED_RETRY)
    scene.serves(IMAGE)
