"""From a change to the copy that answers it, by the clock of the local AWS: by polling, by a webhook, by a push to ECR.

The schedule is fired by hand and the clock moved by hand, so what is left is what Pullahead itself takes.
"""

from datetime import datetime, timedelta

import pytest

from local.images import make_image
from pullahead.checks.ports import EVENT_WINDOW
from tests.scenarios.calling import Caller
from tests.scenarios.deployment import CHECK_EVERY
from tests.scenarios.scene import Scene

OLD, NEW, FOREIGN = (make_image(seed=number) for number in (1, 2, 3))


@pytest.fixture
def fresh(scene: Scene) -> Scene:
    scene.serve(OLD)
    scene.check()
    scene.serves(OLD)
    Caller(scene).settle()  # the refresh's own push was an event, too
    return scene


def lag_of(scene: Scene, changed_at: datetime) -> timedelta:
    """How long it took until the refresh that answers a change had published."""
    refresh = scene.record().last_refresh
    assert refresh is not None
    assert refresh.ended_at > changed_at
    return refresh.ended_at - changed_at


def test_change_is_published_at_the_next_check_by_polling(fresh: Scene) -> None:
    changed_at = fresh.aws.clock.now()
    fresh.serve(NEW)
    fresh.settle()
    assert fresh.published() == OLD.digest
    fresh.fire_schedule(CHECK_EVERY)
    fresh.serves(NEW)
    assert CHECK_EVERY <= lag_of(fresh, changed_at) < 2 * CHECK_EVERY


def test_change_is_published_at_once_by_a_webhook(fresh: Scene) -> None:
    caller = Caller(fresh)
    changed_at = fresh.aws.clock.now()
    fresh.serve(NEW)
    answer = caller.call(caller.payload())
    assert answer.status_code == 202, answer.text
    caller.settle()
    fresh.serves(NEW)
    assert lag_of(fresh, changed_at) < EVENT_WINDOW
    assert fresh.runs("ScheduleChecks") == []


def test_overwritten_tag_is_restored_at_once_by_a_push_event(fresh: Scene) -> None:
    changed_at = fresh.aws.clock.now()
    fresh.push_by_hand(FOREIGN)
    Caller(fresh).settle()
    fresh.serves(OLD)
    assert lag_of(fresh, changed_at) < EVENT_WINDOW
    assert fresh.runs("ScheduleChecks") == []
