"""How long it takes from a change to the copy that answers it, by each trigger and by the service's own clock."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

import requests

from local.demo.deviation import DeviationError, expect
from local.demo.screen import Screen
from local.demo.stage import CHECK_EVERY, REPOSITORY, WEBHOOK_SECRET, Stage
from local.images import LocalImage, make_image
from local.registry import FakeRegistry
from pullahead.mirrors.record import LastRefresh
from pullahead.oci import Digest

_PATH = "shop/web"
_WINDOW = timedelta(seconds=60)
"""Within it events of one mirror merge; each way here is to have a window of its own."""


class _Way(NamedTuple):
    """A trigger: its name, what changes, what then notifies Pullahead, and what ECR must serve in the end."""

    name: str
    change: Callable[[], None]
    wake: Callable[[], None]
    wanted: Digest


def tell_lag(stage: Stage, screen: Screen, upstream: FakeRegistry) -> list[LastRefresh]:
    """Let a change come by each trigger, and show how long each took. Raises DeviationError."""
    screen.step("How long a change takes, by each trigger")
    polled, called, foreign = (make_image([200_000], seed=seed) for seed in (31, 32, 33))

    def push(image: LocalImage) -> Callable[[], None]:
        return lambda: upstream.push(image, _PATH, stage.tag)

    ways = (
        _Way("polling", push(polled), lambda: stage.tick(CHECK_EVERY), polled.digest),
        _Way("webhook", push(called), lambda: _call(stage, screen, upstream), called.digest),
        _Way(
            "push event of ECR",
            lambda: stage.client().push(foreign, REPOSITORY, stage.tag),
            stage.settle,
            called.digest,
        ),
    )
    measured = [(way.name, *_answer(stage, way)) for way in ways]
    rows = [(name, f"{lag.total_seconds():.1f} s") for name, lag, _ in measured]
    screen.table("How long from the change to the copy in ECR", ("trigger", "lag"), list[tuple[str, ...]](rows))
    screen.proved(f"polling waits for the next check, here up to {CHECK_EVERY.total_seconds():.0f} s; events do not")
    return [refresh for _, _, refresh in measured]


def _answer(stage: Stage, way: _Way) -> tuple[timedelta, LastRefresh]:
    stage.aws.clock.advance(_WINDOW.total_seconds())
    changed_at: datetime = stage.clock()
    way.change()
    way.wake()
    published, record = stage.published(), stage.record()
    expect(published == way.wanted, f"triggered by {way.name}, ECR serves {published}, not {way.wanted}")
    if record is None or record.last_refresh is None:
        raise DeviationError(f"triggered by {way.name}, nothing was refreshed")
    lag = record.last_refresh.ended_at - changed_at
    expect(lag > timedelta(), f"triggered by {way.name}, no refresh ended after the change")
    return lag, record.last_refresh


def _call(stage: Stage, screen: Screen, upstream: FakeRegistry) -> None:
    """Call the URL as Quay does, after a call that only starts the function."""
    _post(stage, f"{upstream.host}/not/followed", status=404)
    answer = _post(stage, f"{upstream.host}/{_PATH}", status=202)
    screen.say(
        f"the webhook is answered in {answer.elapsed.total_seconds() * 1000:.0f} ms, before anything is looked at"
    )
    stage.settle()


def _post(stage: Stage, repository: str, *, status: int) -> requests.Response:
    url = stage.stack.outputs["WebhookUrl"].rstrip("/")
    payload = {"docker_url": repository, "updated_tags": [stage.tag]}
    answer = requests.post(f"{url}/quay/{WEBHOOK_SECRET}", json=payload, timeout=30)
    expect(answer.status_code == status, f"the webhook was answered {answer.status_code}: {answer.text}")
    return answer
