"""What one function may write does not decide what another publishes, and the rules are obeyed until the end."""

import json

import pytest

from local.ecr.faults import Call
from local.images import make_image, make_index
from tests.scenarios.deployment import TAG, rules_text
from tests.scenarios.scene import Scene

AMD, ARM = make_image([20_000], seed=71), make_image([20_000], seed=72, platform="linux/arm64")
BOTH = make_index([AMD, ARM])


@pytest.mark.parametrize("function", ["PublishImage", "PlanCopy"])
def test_mirror_that_no_rule_names_any_more_is_not_published(scene: Scene, function: str) -> None:
    scene.serve(AMD)
    other = scene.deployment.next_mirror()
    with scene.deployment.rules(rules_text(other), function, "RecordOutcome"):
        scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"]
    (run,) = scene.runs("RecordOutcome")
    assert run.payload == {"mirror": f"{scene.repository}:{TAG}", "state": "NO_LONGER_WANTED", "bytes_copied": 0}
    assert "no rule names it any more" in run.logs
    assert "RefreshFailures" not in run.logs
    scene.is_not_published()
    repositories = scene.aws.client("ecr").describe_repositories()["repositories"]
    assert (scene.repository in {each["repositoryName"] for each in repositories}) == (function == "PublishImage")


def test_rewritten_plan_is_not_published(scene: Scene) -> None:
    """A function that copies is taken over, and has copied another image under the plan of a rule with platforms."""
    text = rules_text(scene.mirror).rstrip("\n") + "\n    platforms: [linux/amd64]\n"
    bucket, s3 = scene.deployment.stack.outputs["PlansBucketName"], scene.aws.client("s3")

    def rewrite(call: Call) -> None:
        if call.repository != scene.repository:
            return
        (key,) = [
            each["Key"]
            for each in s3.list_objects_v2(Bucket=bucket)["Contents"]
            if each["Key"].endswith("/plan.json") and scene.repository.replace("/", "-") in each["Key"]
        ]
        plan = json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        plan["manifests"] = [{"mediaType": ARM.root.descriptor.media_type, "digest": ARM.digest, "size": 1}]
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(plan))
        s3.put_object(
            Bucket=bucket,
            Key=key.replace("plan.json", f"manifests/{ARM.digest.replace(':', '-')}"),
            Body=ARM.root.content,
        )

    with scene.deployment.rules(text, "CheckFreshness", "RecordOutcome"):
        scene.ecr.faults.before("v2:StartUpload", rewrite)
        scene.upstream.push(BOTH, scene.mirror.path, TAG)
        scene.check()
    assert [execution["status"] for execution in scene.executions()] == ["FAILED"]
    assert f"does not end in {AMD.digest}" in scene.runs("RecordOutcome")[-1].logs
    scene.is_not_published()
