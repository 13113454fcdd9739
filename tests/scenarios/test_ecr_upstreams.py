"""ECR as the upstream of ECR: other Regions of the account are mirrored, another account without a role is skipped."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.images import make_image, make_index
from tests.scenarios.deployment import CHECK_EVERY, TAG, MirrorRule
from tests.scenarios.other_region import HOST, OtherRegion, other_region
from tests.scenarios.scene import Scene

OLD = make_image(seed=1)
NEW = make_index([make_image(seed=2), make_image(seed=3, platform="linux/arm64")])
MIRRORING = ("ScheduleChecks", "CheckFreshness", "PlanCopy", "CopyBlobs", "RecordOutcome", "ReviewRecords")
OTHER_ACCOUNT = "210987654321.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def region(scene: Scene) -> Iterator[OtherRegion]:
    with other_region(scene) as made:
        yield made


@contextmanager
def rules(scene: Scene, text: str, *functions: str) -> Iterator[None]:
    """Deploy rules for some functions, and let them and what was found be forgotten in the end."""
    with scene.deployment.rules(text, *functions):
        yield
    scene.fire_schedule()


def test_other_regions_are_mirrored_by_pullaheads_own_roles_whether_a_rule_or_the_cache_names_them(
    scene: Scene, region: OtherRegion
) -> None:
    ecr = scene.aws.client("ecr")
    role = "arn:aws:iam::123456789012:role/ecr-pull-through-cache"  # which Pullahead may not assume
    ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="ecr", upstreamRegistryUrl=HOST, customRoleArn=role)
    ecr.create_repository(repositoryName="ecr/team/tool")
    cached = Scene(scene.deployment, MirrorRule(HOST, "team/tool", "ecr/team/tool"), scene.upstream)
    cached.push_by_hand(OLD)
    for name, image in (("app", OLD), ("tool", NEW)):
        region.create(f"team/{name}")
        region.push(image, f"team/{name}", TAG)
    mirror = MirrorRule(HOST, "team/app", scene.repository).yaml()
    with rules(scene, f"version: 1\nupstreams:\n{region.upstreams}mirrors:\n{mirror}", *MIRRORING):
        scene.fire_schedule()
        scene.serves(OLD)
        cached.serves(NEW)
        region.push(NEW, "team/app", TAG)
        scene.fire_schedule()
        scene.serves(NEW)
        assert scene.deployment.alerts() == []


def test_another_account_without_a_role_is_reported_once_and_nothing_is_late(scene: Scene) -> None:
    ecr = scene.aws.client("ecr")
    ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix="ecr",
        upstreamRegistryUrl=OTHER_ACCOUNT,
        customRoleArn="arn:aws:iam::210987654321:role/ecr-pull-through-cache",
    )
    ecr.create_repository(repositoryName="ecr/team/app")
    scene.push_by_hand(OLD, "ecr/team/app")
    mirror = MirrorRule(OTHER_ACCOUNT, "team/app", scene.repository).yaml()
    with rules(scene, f"version: 1\nmirrors:\n{mirror}", "ScheduleChecks", "ReviewRecords"):
        for _ in range(3):
            scene.fire_schedule(CHECK_EVERY)
        alerts = [alert for alert in scene.deployment.alerts() if alert.kind == "RULES_SKIPPED"]
        logs = "".join(run.logs for run in scene.runs("ScheduleChecks"))
        records = scene.deployment.review()["records"]
    (alert,) = alerts
    assert f"skipped: {OTHER_ACCOUNT}/team/app: {OTHER_ACCOUNT} is ECR in another account (210987654321)" in alert.text
    assert "UpstreamRoles" in alert.text
    assert logs.count(f"skipped: the pull through cache of {OTHER_ACCOUNT}:") == 1
    assert records == 0  # nothing was checked, so nothing can be late
