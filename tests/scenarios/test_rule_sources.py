"""Rules come from ECR's pull through cache, from resource tags and from S3, without a change of the rules file."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from local.images import LocalImage, make_image
from tests.scenarios.deployment import TAG, MirrorRule
from tests.scenarios.scene import Scene

OLD, NEW = make_image(seed=1), make_image(seed=2)
CHECKED_WITHIN = timedelta(minutes=15)
FUNCTIONS = ("ScheduleChecks", "CheckFreshness", "PlanCopy", "CopyBlobs", "RecordOutcome")


@contextmanager
def no_rules(scene: Scene) -> Iterator[None]:
    """Deploy a rules file without a mirror; that the upstream has no TLS here is all that it says."""
    text = f"version: 1\nupstreams:\n  {scene.mirror.host}: {{plain_http: true}}\nmirrors: []\n"
    with scene.deployment.rules(text, *FUNCTIONS):
        yield
    scene.fire_schedule()  # what was found is forgotten again


def cache(scene: Scene, prefix: str = "quay") -> None:
    """Make a pull through cache rule for the upstream."""
    scene.aws.client("ecr").create_pull_through_cache_rule(
        ecrRepositoryPrefix=prefix, upstreamRegistryUrl=scene.mirror.host
    )


def repository(scene: Scene, name: str, path: str, image: LocalImage | None = OLD, **tags: str) -> Scene:
    """Create a repository, as ECR's cache or a user does, with an image that upstream has replaced since."""
    listed = [{"Key": key.replace("_", ":"), "Value": value} for key, value in tags.items()]
    scene.aws.client("ecr").create_repository(repositoryName=name, tags=listed)
    made = Scene(scene.deployment, MirrorRule(scene.mirror.host, path, name), scene.upstream)
    made.serve(NEW)
    if image is not None:
        made.push_by_hand(image)
    return made


def test_cached_tag_is_refreshed_without_any_rule(scene: Scene) -> None:
    cache(scene)
    cached = [repository(scene, f"quay/team/{name}", f"team/{name}") for name in ("one", "two")]
    with no_rules(scene):
        scene.fire_schedule()
        for each in cached:
            each.serves(NEW)
        (run,) = scene.runs("ScheduleChecks")
        assert (run.payload["mirrors"], run.payload["due"]) == (2, 2)


def test_cached_repository_that_is_tagged_as_ignored_is_not_mirrored(scene: Scene) -> None:
    cache(scene)
    followed = repository(scene, "quay/team/followed", "team/followed")
    ignored = repository(scene, "quay/team/ignored", "team/ignored", pullahead_ignore="true")
    with no_rules(scene):
        scene.fire_schedule()
        followed.serves(NEW)
        ignored.keeps(OLD)
    assert not any("team/ignored" in request.path for request in scene.upstream.requests)


def test_uncovered_cached_repository_is_alerted_and_not_mirrored(scene: Scene) -> None:
    cache(scene, "elsewhere")
    left = repository(scene, "elsewhere/team/app", "team/app")
    with no_rules(scene):
        scene.fire_schedule()
        left.keeps(OLD)
        (run,) = scene.runs("ScheduleChecks")
        assert "Add elsewhere/* to it." in run.logs


def test_repository_whose_tags_name_an_upstream_is_filled_and_kept_fresh(scene: Scene) -> None:
    host = scene.mirror.host
    tagged = repository(
        scene, "mirror/tagged", "team/tagged", None, pullahead_upstream=f"{host}/team/tagged", pullahead_tags=TAG
    )
    with no_rules(scene):
        scene.fire_schedule()
        tagged.serves(NEW)
        tagged.serve(OLD)
        scene.fire_schedule(CHECKED_WITHIN)
        tagged.serves(OLD)


def test_rules_in_s3_are_followed_and_a_broken_version_is_refused_once(scene: Scene) -> None:
    scene.serve(NEW)
    s3, bucket = scene.aws.client("s3"), "team-rules"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    good = f"version: 1\nupstreams:\n  {scene.mirror.host}: {{plain_http: true}}\nmirrors:\n{scene.mirror.yaml()}"
    with no_rules(scene), rules_uri(scene, f"s3://{bucket}/rules.yaml"):
        s3.put_object(Bucket=bucket, Key="rules.yaml", Body=good)
        scene.fire_schedule()
        scene.serves(NEW)
        s3.put_object(Bucket=bucket, Key="rules.yaml", Body="version: 1\nmirors: []\n")
        scene.serve(OLD)
        for _ in range(2):
            scene.fire_schedule()
        scene.serves(OLD)
        assert alerts_about_rules(scene) == ["RULES_BROKEN"]
        s3.put_object(Bucket=bucket, Key="rules.yaml", Body=good)
        scene.fire_schedule()
        assert alerts_about_rules(scene) == ["RECOVERED"]


def alerts_about_rules(scene: Scene) -> list[str]:
    """Take the alerts that came, and say of which kind those about the rules are."""
    return [alert.kind for alert in scene.deployment.alerts() if "rules" in alert.subject]


@contextmanager
def rules_uri(scene: Scene, uri: str) -> Iterator[None]:
    """Deploy with another RulesUri."""
    client, name = scene.aws.client("lambda"), scene.deployment.function("ScheduleChecks")
    variables: dict[str, Any] = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {**variables, "RULES_URI": uri}})
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=name, Environment={"Variables": variables})
