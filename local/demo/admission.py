"""The step of the demo about what may enter: a poisoned release is held and withdrawn, a good one is admitted."""

from datetime import timedelta
from typing import Final

from local.demo.deviation import DeviationError, expect
from local.demo.screen import Screen
from local.demo.stage import CHECK_EVERY, Stage
from local.images import LocalImage, make_image
from local.registry import FakeRegistry
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import short

_PATH, _REPOSITORY = "shop/payments", "mirror/payments"
_MIN_AGE: Final = timedelta(hours=1)


def tell_admission(stage: Stage, screen: Screen, upstream: FakeRegistry) -> None:
    """Tell the step. Raises DeviationError."""
    screen.step("A poisoned release is held back, and a good one admitted")
    screen.say("the rule has admit: {min_age: 1h}, so that new digests wait for an hour; three days are usual")
    first, poisoned, good = (make_image([300_000], seed=seed) for seed in (960, 961, 962))
    upstream.push(first, _PATH, stage.tag)
    stage.deploy_rules(_rules(stage, upstream))
    stage.tick(CHECK_EVERY)
    _expect(stage, first, State.FRESH)
    screen.say(f"{_REPOSITORY}:{stage.tag} → {short(first.digest)}")
    upstream.push(poisoned, _PATH, stage.tag)
    stage.tick(CHECK_EVERY)
    _expect(stage, first, State.COOLING)
    screen.say(f"an attacker pushes {short(poisoned.digest)} upstream; the schedule fires: its bytes are copied to ECR")
    screen.proved(f"state COOLING: the tag goes on serving {short(first.digest)}")
    upstream.push(first, _PATH, stage.tag)
    stage.tick(CHECK_EVERY)
    _expect(stage, first, State.FRESH)
    (alert,) = stage.alerts()
    screen.say("the project notices, and moves its tag back")
    screen.proved(f"nobody here ever pulled it, and people are told: {alert.subject}")
    upstream.push(good, _PATH, stage.tag)
    stage.tick(CHECK_EVERY)
    record = _expect(stage, first, State.COOLING)
    screen.say(f"the project releases {short(good.digest)}: {record.cause}")
    stage.tick(_MIN_AGE)
    _expect(stage, good, State.FRESH)
    screen.proved(f"an hour later nobody has taken it back: {_REPOSITORY}:{stage.tag} → {short(good.digest)}")


def _expect(stage: Stage, served: LocalImage, state: State) -> MirrorRecord:
    record, published = stage.record(_REPOSITORY), stage.published(_REPOSITORY)
    if record is None or record.state is not state:
        raise DeviationError(f"{_REPOSITORY} is not {state.value}: {record}")
    expect(published == served.digest, f"{_REPOSITORY} serves {published}")
    return record


def _rules(stage: Stage, upstream: FakeRegistry) -> str:
    return (
        f"  - upstream: {upstream.host}/{_PATH}\n"
        f'    tags: ["{stage.tag}"]\n'
        f"    repository: {_REPOSITORY}\n"
        f"    check_every: {int(CHECK_EVERY.total_seconds())}s\n"
        f"    admit: {{min_age: {int(_MIN_AGE.total_seconds())}s, first_copy: admit}}\n"
    )
