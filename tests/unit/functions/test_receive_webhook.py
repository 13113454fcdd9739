"""The function of webhooks without Lambda: a URL's event in, an HTTP answer out, and no secret in the log."""

import json
from typing import Any

import pytest

from functions.receive_webhook import app as receive_webhook
from pullahead.app import Application
from pullahead.errors import StorageError
from pullahead.settings import Settings
from tests.architecture.source import ROOT
from tests.fakes.webhook_receiver import WebhookReceiver
from tests.fakes.webhooks import SECRET, url_event
from tests.unit.functions.test_metrics import Metric, printed

EVENTS = sorted((ROOT / "events").glob("receive_webhook.*.json"))


@pytest.fixture
def receiving() -> WebhookReceiver:
    return WebhookReceiver()


def handled(event: dict[str, Any], receiving: WebhookReceiver) -> dict[str, Any]:
    app = Application(Settings({}), receiving.clock)
    vars(app).update(_receive_webhook=receiving.use_case)
    return receive_webhook.handle(event, app)


def counted(output: str) -> list[Metric]:
    return [metric for metric in printed(output) if metric.name == "Webhooks"]


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.name)
def test_sample_is_accepted(receiving: WebhookReceiver, path: Any) -> None:
    answer = handled(json.loads(path.read_text(encoding="utf-8")), receiving)
    assert (answer["statusCode"], json.loads(answer["body"])) == (202, {"checks": 1, "merged": 0})
    assert answer["headers"] == {"content-type": "application/json", "cache-control": "no-store"}


@pytest.mark.parametrize(
    ("event", "status", "answer"),
    [
        (url_event("/dockerhub/guessed-in-the-path", {}), 401, "unauthenticated"),
        (url_event(f"/dockerhub/{SECRET}", {}), 400, "malformed"),
        (url_event(f"/quay/{SECRET}", {"docker_url": "quay.io/a/b", "updated_tags": ["1"]}), 404, "unknown"),
        (url_event(f"/quay/{SECRET}", {}), 200, "ignored"),
    ],
)
def test_webhook_is_counted_by_outcome(
    receiving: WebhookReceiver, capsys: pytest.CaptureFixture[str], event: dict[str, Any], status: int, answer: str
) -> None:
    assert handled(event, receiving)["statusCode"] == status
    assert counted(capsys.readouterr().out) == [Metric("Webhooks", 1, {"service": "pullahead", "answer": answer})]


def test_failure_of_aws_is_logged_with_its_cause(receiving: WebhookReceiver, caplog: pytest.LogCaptureFixture) -> None:
    receiving.script.fail("send", StorageError("send of checks failed: no"))
    event = json.loads(EVENTS[0].read_text(encoding="utf-8"))
    assert handled(event, receiving)["statusCode"] == 503
    (record,) = caplog.records
    assert (record.levelname, vars(record)["error"]) == ("ERROR", "send of checks failed: no")


def test_neither_path_nor_body_nor_secret_is_logged(
    receiving: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    marked = {"push_data": {"tag": "said-in-the-body"}, "repository": {"repo_name": "team/app"}}
    for secret in (SECRET, "guessed-in-the-path"):
        handled(url_event(f"/dockerhub/{secret}", marked, authorization="said-in-a-header"), receiving)
    handled(url_event(f"/nobody/{SECRET}", marked), receiving)
    logged = [str(vars(record)) for record in caplog.records]
    assert len(logged) == 3
    for text in (SECRET, "guessed-in-the-path", "said-in-the-body", "said-in-a-header"):
        assert not any(text in line for line in logged)
