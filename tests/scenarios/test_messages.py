"""Messages that cannot be understood, or that concern nobody; alerts that cannot be sent."""

from local.aws.pool import Invocation
from local.images import make_image, make_index
from pullahead.freshness.records import State
from tests.scenarios.conftest import Listener
from tests.scenarios.deployment import CHECK_EVERY
from tests.scenarios.scene import Scene

POISON = '{"reason": "schedule", "repository": 7}'
IMAGE = make_image(seed=1)


def reasons(scene: Scene) -> list[str]:
    """Say why each message that reached check_freshness was sent."""
    bodies = [record["body"] for run in scene.runs("CheckFreshness") for record in run.event["Records"]]
    return ["push" if '"push"' in body else "schedule" for body in bodies]


def test_poison_does_not_hold_up_the_good_message_of_its_batch(scene: Scene) -> None:
    scene.serve(IMAGE)
    with scene.checks_held_back():
        scene.send(POISON)
        scene.ask_check()
    scene.settle()
    (batch, *_) = scene.runs("CheckFreshness")
    assert len(batch.event["Records"]) == 2
    assert scene.deployment.dead_letters() == [POISON]
    assert len([run for run in scene.runs("CheckFreshness") if POISON in _bodies(run)]) == 5  # maxReceiveCount
    assert len(scene.executions()) == 1
    scene.serves(IMAGE)


def test_children_of_an_index_cause_no_checks(scene: Scene) -> None:
    children = [make_image(seed=number, platform=f"linux/{name}") for number, name in enumerate(("amd64", "arm64"))]
    index = make_index(children)
    scene.serve(index)
    scene.check()
    assert scene.ecr.calls.count("PutImage", scene.repository) == 3
    assert reasons(scene) == ["schedule", "push"]
    scene.serves(index)


def test_push_to_a_repository_of_no_mirror_costs_nothing_upstream(scene: Scene) -> None:
    scene.aws.client("ecr").create_repository(repositoryName="somebody/else")
    scene.ecr.calls.clear()
    scene.push_by_hand(IMAGE, "somebody/else")
    scene.settle()
    assert reasons(scene) == ["push"]
    assert scene.upstream.requests == []
    assert scene.ecr.calls.count("DescribeImages") == 0
    assert scene.deployment.dead_letters() == []


def test_alert_that_cannot_be_sent_is_sent_later(scene: Scene, listeners: list[Listener]) -> None:
    topic = scene.deployment.stack.outputs["AlertsTopicArn"]
    sns = scene.aws.client("sns")
    scene.serve(IMAGE)
    scene.check()
    failed: list[Invocation] = []

    def mend(run: Invocation) -> None:
        if run.function == scene.deployment.function("CheckFreshness") and not failed:
            failed.append(run)
            sns.create_topic(Name=topic.rsplit(":", 1)[1])
            scene.deployment.hear_alerts()

    scene.upstream.delete_tag(scene.mirror.path, "1.0")
    sns.delete_topic(TopicArn=topic)
    listeners.append(mend)
    scene.check(CHECK_EVERY)
    assert failed[0].payload["batchItemFailures"]  # so that the message came back
    assert scene.record().state is State.GONE
    scene.check(CHECK_EVERY)
    scene.check(CHECK_EVERY)
    assert scene.alert_kinds() == ["GONE"]
    assert scene.record().pending == ()


def _bodies(run: Invocation) -> list[str]:
    return [record["body"] for record in run.event["Records"]]
