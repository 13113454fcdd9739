"""Reviews of the whole stack: one message for many mirrors, silence, and mirrors that no rule follows any more."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from local.images import make_image
from pullahead.mirrors.record import State
from tests.scenarios.deployment import ALERT_AFTER, CHECK_EVERY, TAG, rules_text
from tests.scenarios.scene import Scene

IMAGE, OTHER = make_image([1_000], seed=1), make_image([1_000], seed=2)
TAGS = [f"1.{number}" for number in range(16)]
ALL = ("ScheduleChecks", "CheckFreshness", "PlanCopy", "RecordOutcome", "ReviewRecords")


@contextmanager
def following(scene: Scene, *tags: str) -> Iterator[None]:
    """Let the rules, of the review as well, be the scene's own, with these tags."""
    text = rules_text(scene.mirror).replace(f'tags: ["{TAG}"]', f"tags: {json.dumps(tags)}")
    with scene.deployment.rules(text, *ALL):
        yield


def test_upstream_outage_is_one_alert_and_one_recovery_for_all_its_mirrors(scene: Scene) -> None:
    with following(scene, *TAGS):
        scene.upstream.down = True
        scene.fire_schedule()
        scene.fire_schedule(ALERT_AFTER)
        (alert,) = scene.deployment.alerts()
        assert (alert.mirror, alert.kind) == ("", "UPSTREAM_UNREACHABLE")
        assert alert.subject.startswith(f"Pullahead: 16 mirrors of {scene.mirror.host} cannot be checked")
        assert "and 6 more" in alert.text
        assert all(scene.record(tag).pending == () for tag in TAGS)
        scene.fire_schedule()
        assert scene.deployment.alerts() == []
        scene.upstream.down = False
        scene.upstream.push(IMAGE, scene.mirror.path, TAGS[0])
        scene.fire_schedule()
        assert scene.record(TAGS[0]).state is State.FRESH
        assert [alert.kind for alert in scene.deployment.alerts()] == ["NOT_FOUND"]  # the rest is held back
        scene.fire_schedule(timedelta(hours=1))
        assert "RECOVERED" in [alert.kind for alert in scene.deployment.alerts()]


def test_missing_heartbeat_is_one_alert_and_recovers(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.fire_schedule()
    scene.aws.clock.advance(timedelta(hours=25).total_seconds())
    assert [alert.kind for alert in scene.deployment.alerts()] == ["NOT_CHECKED"]
    scene.fire_schedule()
    assert [(alert.kind, alert.subject) for alert in scene.deployment.alerts()] == [
        ("RECOVERED", "Pullahead: mirrors are checked again")
    ]


def test_overwritten_tag_is_a_drift_alert_and_is_restored(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.check()
    scene.push_by_hand(OTHER)
    scene.settle()
    scene.serves(IMAGE)
    (alert,) = scene.alerts()
    assert (alert.kind, alert.subject) == ("DRIFT", f"Pullahead: {scene.key} was overwritten in ECR and restored")
    assert OTHER.digest in alert.text


def test_mirror_without_a_rule_is_retired_and_restored_with_its_rule(scene: Scene) -> None:
    for tag in TAGS[:2]:
        scene.upstream.push(IMAGE, scene.mirror.path, tag)
    with following(scene, *TAGS[:2]):
        scene.fire_schedule()
        assert scene.deployment.alerts() == []
    with following(scene, TAGS[0]):
        scene.fire_schedule()
        scene.deployment.review()
        assert [alert.kind for alert in scene.deployment.alerts()] == ["RETIRED"]
        expires_at = scene.record(TAGS[1]).expires_at
        assert expires_at is not None
        assert expires_at - scene.aws.clock.now() <= timedelta(days=7)
    with following(scene, *TAGS[:2]):
        scene.fire_schedule(CHECK_EVERY)
        assert scene.record(TAGS[1]).expires_at is None
        assert scene.deployment.alerts() == []
