"""An upstream calls, and seconds later its change is in ECR; a stranger calls, and nothing happens at all."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from local.images import make_image, push_image
from pullahead.checks.ports import EVENT_WINDOW
from pullahead.webhooks.http import WebhookOutcome
from tests.fakes.samples import rule
from tests.fakes.webhook_receiver import WebhookReceiver, followed
from tests.fakes.webhooks import SECRET, url_event
from tests.polling import until
from tests.real_servers import docker_registry
from tests.scenarios.calling import Caller
from tests.scenarios.deployment import TAG, MirrorRule, rules_text
from tests.scenarios.scene import Scene

OLD, NEW = make_image(seed=1), make_image(seed=2)
MIRRORING = ("ReceiveWebhook", "CheckFreshness", "PlanCopy", "CopyBlobs", "RecordOutcome")
CALLS = 10_000
MIRRORS = 20


@pytest.fixture
def upstream(scene: Scene) -> Caller:
    return Caller(scene)


def followed_up(upstream: Caller, answer: requests.Response) -> dict[str, Any]:
    """Wait for all that follows a call, and give its answer."""
    assert answer.status_code == 202, answer.text
    upstream.settle()
    body: dict[str, Any] = answer.json()
    return body


def test_change_upstream_is_published_after_a_webhook(scene: Scene, upstream: Caller) -> None:
    scene.serve(OLD)
    scene.check()
    upstream.settle()
    scene.serve(NEW)
    asked = len(scene.upstream.requests)
    assert followed_up(upstream, upstream.call(upstream.payload())) == {"checks": 1, "merged": 0}
    scene.serves(NEW)
    assert scene.upstream.requests[asked].method == "HEAD"
    (run,) = scene.runs("ReceiveWebhook")
    assert SECRET not in run.logs


def test_tag_that_upstream_deleted_is_alerted_at_once(scene: Scene, upstream: Caller) -> None:
    scene.serve(OLD)
    scene.check()
    upstream.settle()
    scene.upstream.delete_tag(scene.mirror.path, TAG)
    body = {
        "events": [
            {
                "action": "delete",
                "target": {"repository": scene.mirror.path, "tag": TAG},
                "request": {"host": scene.mirror.host},
            }
        ]
    }
    followed_up(upstream, upstream.send("/distribution", json.dumps(body), authorization=f"Bearer {SECRET}"))
    scene.keeps(OLD)
    assert scene.record().state.value == "GONE"


def test_unauthenticated_webhook_is_refused_without_a_request(scene: Scene, upstream: Caller) -> None:
    scene.serve(OLD)
    payload = upstream.payload()
    answers = [
        upstream.call(payload, secret="guessed"),
        upstream.send("/dockerhub/guessed", "{}"),
        upstream.send("/nobody", "{}"),
        upstream.send("/github", "", method="GET"),
        upstream.send("/github", b"x" * (256 * 1024 + 1)),
        upstream.send(f"/quay/{SECRET}", "{"),
        upstream.call(upstream.payload() | {"package": {**payload["package"], "name": "unknown"}}),
        upstream.call({"zen": "Keep it logically awesome."}, event="ping"),
        upstream.send(f"/quay/{SECRET}", "payload=1", **{"content-type": "application/x-www-form-urlencoded"}),
    ]
    assert [answer.status_code for answer in answers] == [401, 401, 404, 405, 413, 400, 404, 200, 415]
    assert all(answer.headers["content-type"] == "application/json" for answer in answers)
    scene.settle()
    assert scene.runs("CheckFreshness") == []
    assert scene.upstream.requests == []


def test_replayed_webhook_is_refused(scene: Scene, upstream: Caller) -> None:
    scene.serve(OLD)
    payload = upstream.payload(number=1)
    assert followed_up(upstream, upstream.call(payload)) == {"checks": 1, "merged": 0}
    assert upstream.call(payload).status_code == 409
    scene.settle()
    assert len(scene.executions()) == 1


def test_many_calls_at_once_are_two_checks_and_one_refresh(scene: Scene, upstream: Caller) -> None:
    scene.serve(OLD)
    begin_window(scene)
    with ThreadPoolExecutor(5) as callers:  # as many as the function takes at once
        answers = list(callers.map(upstream.call, [upstream.payload(number) for number in range(40)]))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(answer.json()["checks"] for answer in answers) == 1
    upstream.settle()
    assert len(checked(scene)) == 2
    assert len(scene.executions()) == 1
    scene.serves(OLD)


def begin_window(scene: Scene) -> None:
    """Advance the clock to the beginning of the mirror's next window, so that the calls do not meet its end."""
    seconds = int(EVENT_WINDOW.total_seconds())
    elapsed = (int(scene.aws.clock.now().timestamp()) + zlib.crc32(scene.key.encode()) % seconds) % seconds
    scene.aws.clock.advance(seconds - elapsed)


def checked(scene: Scene) -> list[str]:
    """List the checks that webhooks asked for, as they came out of the queue."""
    records = [record for run in scene.runs("CheckFreshness") for record in run.event["Records"]]
    return [record["body"] for record in records if json.loads(record["body"]).get("reason") == "webhook"]


@pytest.mark.real_registry
def test_docker_registry_sends_webhooks_of_its_pushes(scene: Scene, upstream: Caller, tmp_path: Path) -> None:
    with notifying_registry(tmp_path, upstream) as host:
        mirror = MirrorRule(host, "library/real", scene.repository)
        with scene.deployment.rules(rules_text(mirror), *MIRRORING):
            for image in (OLD, NEW):
                upstream.settle()
                before = len(checked(scene))
                push_image(image, f"http://{host}", mirror.path, TAG)
                until(lambda: len(checked(scene)) > before, "the registry's call is checked")  # noqa: B023
                upstream.settle()
                scene.serves(image)
            push_image(OLD, f"http://{host}", "library/unfollowed", TAG)
            count = len(scene.runs("ReceiveWebhook"))
            push_image(OLD, f"http://{host}", mirror.path, TAG)
            until(lambda: len(scene.runs("ReceiveWebhook")) > count, "what follows is not held up")
            upstream.settle()
    assert {run.payload["statusCode"] for run in scene.runs("ReceiveWebhook")} == {200, 202}


@contextmanager
def notifying_registry(folder: Path, upstream: Caller) -> Iterator[str]:
    """Run docker-registry so that it calls the URL about pushes."""
    endpoint = f"{{name: pullahead, url: {upstream.url}distribution, headers: {{Authorization: [Bearer {SECRET}]}}"
    tries = "timeout: 5s, threshold: 3, backoff: 100ms, ignore: {actions: [pull]}}"
    with docker_registry(folder, auth=f"notifications: {{endpoints: [{endpoint}, {tries}]}}\n") as host:
        yield host


def test_ten_thousand_webhooks_are_two_checks_for_each_mirror_and_window() -> None:
    """One process takes a minute's storm: pushes of every mirror, strangers, and names that no rule follows."""
    names = [str(number) for number in range(MIRRORS)]
    receiving = WebhookReceiver(followed(rule(*names)))
    outcomes: Counter[WebhookOutcome] = Counter()
    for number in range(CALLS):
        outcomes[receiving.receive(storm(number)).outcome] += 1
    assert outcomes[WebhookOutcome.ACCEPTED] == MIRRORS
    assert outcomes[WebhookOutcome.MERGED] == CALLS // 2 - MIRRORS
    assert outcomes[WebhookOutcome.UNAUTHENTICATED] == CALLS // 4
    assert outcomes[WebhookOutcome.UNKNOWN] == CALLS // 4
    sent = Counter(tag for request in receiving.queue.sent for tag in request.tags)
    assert sent == dict.fromkeys(names, 2)
    assert receiving.script.count("send") == 2 * MIRRORS
    assert receiving.script.count("read_webhook_secrets") == 1
    assert set(receiving.asked) == {"claim", "take", "send"}


def storm(number: int) -> dict[str, Any]:
    """Make one call of the storm."""
    if number % 4 == 1:
        return url_event("/quay/guessed", {"docker_url": "ghcr.io/team/app", "updated_tags": ["1"]})
    path = "team/other" if number % 4 == 3 else "team/app"
    body = {"docker_url": f"ghcr.io/{path}", "updated_tags": [str(number // 2 % MIRRORS)]}
    return url_event(f"/quay/{SECRET}", body)
