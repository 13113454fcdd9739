"""Every event of ECR through the deployed stack: EventBridge, queue, function, and what becomes of it in ECR."""

from datetime import timedelta

import pytest

from local.ecr.plays import Plays
from local.images import make_image
from pullahead.mirrors.record import State
from tests.scenarios.deployment import TAG, MirrorRule, rules_text
from tests.scenarios.scene import Scene
from tests.scenarios.test_rule_sources import cache, no_rules, repository

FIRST, SECOND, OTHER = make_image(seed=1), make_image(seed=2), make_image(seed=666)
LATER = timedelta(minutes=15)


@pytest.fixture
def copied(scene: Scene) -> Scene:
    """A mirror that is fresh, and of which nothing is under way."""
    scene.serve(FIRST)
    scene.check()
    scene.serves(FIRST)
    return scene


def plays(scene: Scene) -> Plays:
    return scene.ecr.plays


def delete_tag(scene: Scene) -> None:
    """Delete the tag as a user of the account, and wait for all that follows."""
    scene.aws.client("ecr").batch_delete_image(repositoryName=scene.repository, imageIds=[{"imageTag": TAG}])
    scene.settle()


def test_foreign_push_to_a_mirrored_tag_is_overwritten(copied: Scene) -> None:
    copied.push_by_hand(OTHER)
    copied.settle()
    copied.serves(FIRST)
    assert copied.tag_moves()[-1] == FIRST.digest


def test_own_push_causes_no_upstream_request(scene: Scene) -> None:
    scene.serve(FIRST)
    scene.check()
    scene.serves(FIRST)
    assert len(scene.executions()) == 1
    heads = scene.upstream.count("HEAD")
    plays(scene).referred(scene.repository, TAG, "application/vnd.dev.cosign.simplesigning.v1+json")
    scene.settle()
    assert scene.upstream.count("HEAD") == heads


def test_deleted_tag_is_restored(copied: Scene) -> None:
    delete_tag(copied)
    copied.serves(FIRST)
    assert len(copied.executions()) == 2


def test_deleted_tag_is_left_where_the_rule_says_so_until_upstream_moves(copied: Scene) -> None:
    text = rules_text(copied.mirror).replace("tags:", "when_deleted: leave\n    tags:")
    with copied.deployment.rules(text, "ScheduleChecks", "CheckFreshness", "PlanCopy", "RecordOutcome"):
        delete_tag(copied)
        copied.is_not_published()
        assert copied.record().state is State.DELETED
        copied.check(LATER)
        copied.is_not_published()
        copied.serve(SECOND)
        copied.check(LATER)
        copied.serves(SECOND)


def test_repository_that_ecr_has_just_cached_is_followed_before_the_next_schedule(scene: Scene) -> None:
    cache(scene)
    with no_rules(scene):
        scene.fire_schedule()
        cached = repository(scene, "quay/team/new", "team/new", FIRST)
        cached.settle()
        plays(scene).cached("quay/team/new", TAG)
        cached.settle()
        cached.serves(SECOND)  # upstream has moved on since ECR looked there
        assert cached.record().state is State.FRESH


def test_tag_that_ecr_could_not_fetch_is_copied_into_a_new_repository(scene: Scene) -> None:
    cache(scene)
    path, name = "team/refused", "quay/team/refused"
    refused = Scene(scene.deployment, MirrorRule(scene.mirror.host, path, name), scene.upstream)
    refused.serve(FIRST)
    with no_rules(scene):
        scene.fire_schedule()
        plays(scene).not_cached(name, TAG, "UpstreamAccessDenied", "the credentials were refused")
        refused.settle()
        refused.serves(FIRST)
        assert refused.record().cache_failure == "UpstreamAccessDenied: the credentials were refused"
        (run,) = [run for run in refused.runs("CheckFreshness") if "UpstreamAccessDenied" in run.logs]
        assert "CacheFailures" in run.logs


def test_scan_is_recorded_with_the_mirror(copied: Scene) -> None:
    plays(copied).scanned(copied.repository, TAG, {"CRITICAL": 1, "LOW": 3})
    copied.settle()
    scan = copied.record().scan
    assert scan is not None
    assert (scan.digest, scan.counts) == (FIRST.digest, {"CRITICAL": 1, "LOW": 3})


def test_signature_with_a_tag_that_a_rule_names_is_a_push(copied: Scene) -> None:
    copied.ecr.registry.get(copied.repository).tags[TAG] = "sha256:" + "0" * 64  # put there under the events' hands
    plays(copied).referred(copied.repository, TAG, "application/vnd.dev.cosign.simplesigning.v1+json")
    copied.settle()
    copied.serves(FIRST)


def test_irrelevant_events_start_no_function(copied: Scene) -> None:
    before = len(copied.runs("CheckFreshness"))
    plays(copied).archived(copied.repository, TAG)
    copied.push_by_hand(OTHER, tag=OTHER.digest)  # without a tag, as the children of an index come
    copied.settle()
    assert len(copied.runs("CheckFreshness")) == before


def test_event_of_an_unknown_repository_causes_no_request(copied: Scene) -> None:
    heads, calls = copied.upstream.count("HEAD"), len(copied.ecr.calls)
    copied.aws.client("ecr").create_repository(repositoryName="mirror/elsewhere")
    copied.push_by_hand(OTHER, "mirror/elsewhere")
    copied.settle()
    described = [call for call in list(copied.ecr.calls)[calls:] if call.operation == "DescribeImages"]
    assert (copied.upstream.count("HEAD"), described) == (heads, [])
