"""The topic is unavailable for a while: alerts are sent later, and once."""

from datetime import timedelta

from local.images import make_image
from tests.scenarios.deployment import CHECK_EVERY, TAG
from tests.scenarios.scene import Scene

OLD, NEW = make_image([60_000], seed=1), make_image([60_000], seed=2)
BLOCKED_RETRY = timedelta(hours=6)


def test_alert_of_a_check_is_sent_once_when_the_topic_is_back(scene: Scene) -> None:
    scene.serve(OLD)
    scene.check()
    scene.upstream.delete_tag(scene.mirror.path, TAG)
    with scene.deployment.without_topic():
        scene.check(CHECK_EVERY)
        assert scene.deployment.review()["errorType"] == "StorageError"
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["GONE"]
    scene.check(CHECK_EVERY)
    assert scene.alerts() == []
    scene.keeps(OLD)


def test_alert_of_a_refresh_is_sent_once_when_the_topic_is_back(scene: Scene) -> None:
    scene.serve(OLD)
    scene.check()
    scene.aws.client("ecr").put_image_tag_mutability(repositoryName=scene.repository, imageTagMutability="IMMUTABLE")
    scene.serve(NEW)
    with scene.deployment.without_topic():
        scene.check(CHECK_EVERY)
        assert scene.deployment.review()["errorType"] == "StorageError"
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["BLOCKED"]
    scene.check(CHECK_EVERY)
    assert scene.alerts() == []
    scene.keeps(OLD)


def test_broken_topic_stops_no_refresh(scene: Scene) -> None:
    scene.serve(OLD)
    scene.check()
    scene.upstream.delete_tag(scene.mirror.path, TAG)
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["GONE"]
    scene.serve(NEW)
    with scene.deployment.without_topic():
        scene.check(CHECK_EVERY)
        scene.serves(NEW)
        assert scene.deployment.review()["errorType"] == "StorageError"
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["RECOVERED"]
