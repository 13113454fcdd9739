"""Any request gets a documented response, and nothing but an authenticated name queues a check."""

import base64
import json
from pathlib import Path
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from pullahead.webhooks.http import WebhookOutcome
from pullahead.webhooks.senders import SENDERS
from tests.fakes.webhook_receiver import WebhookReceiver
from tests.fakes.webhooks import SECRET, hmac_of, url_event

EVENTS = Path(__file__).parents[3] / "events"
ANSWERS = frozenset({200, 202, 400, 401, 404, 405, 409, 413, 415})
WOKEN = frozenset({"claim", "send", "remember"})
SAMPLES = {path.name.split(".")[1]: json.loads(path.read_text()) for path in EVENTS.glob("receive_webhook.*.json")}

texts = st.text(max_size=40) | st.sampled_from(
    ["", "..", "1.0", "team/app", "https://", "[::1", "a@b", "a:1@sha256:0", "\ud800"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
senders = st.sampled_from(sorted(SENDERS))
headers = st.dictionaries(
    st.sampled_from(["authorization", "x-gitlab-token", "x-jfrog-event-auth", "x-hub-signature-256", "x-github-event"])
    | st.sampled_from(["x-pullahead-signature", "x-pullahead-timestamp", "content-type", "X-Odd"]),
    texts,
    max_size=6,
)


def payload_of(sender: str) -> Any:
    """Decode the body of a sample."""
    event = SAMPLES[sender]
    return json.loads(base64.b64decode(event["body"]) if event["isBase64Encoded"] else event["body"])


def authentic(sender: str, body: str, moment: str) -> dict[str, Any]:
    """Prove a body as each sender does."""
    event = url_event(f"/{sender}/{SECRET}", body)
    if sender in ("github", "artifactory", "generic"):
        event["rawPath"] = f"/{sender}"
    event["headers"] |= {
        "x-github-event": "package",
        "x-hub-signature-256": f"sha256={hmac_of(body)}",
        "x-jfrog-event-auth": hmac_of(body),
        "x-pullahead-timestamp": moment,
        "x-pullahead-signature": f"sha256={hmac_of(f'{moment}.{body}')}",
    }
    return event


def mutated(payload: Any, data: st.DataObject) -> Any:
    """Replace one value somewhere in a payload, or take it away."""
    inner, owner, key = payload, cast("Any", None), cast("Any", None)
    while isinstance(inner, dict | list) and inner and (owner is None or data.draw(st.booleans())):
        owner, key = inner, data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        inner = inner[key]
    if owner is None:
        return data.draw(values)
    if data.draw(st.booleans()):
        owner[key] = data.draw(values)
    else:
        del owner[key]
    return payload


def check(event: dict[str, Any], receiving: WebhookReceiver) -> int:
    """Assert that a call is answered as documented, and queues checks only with an answer that says so."""
    answer = receiving.receive(event)
    assert answer.status in ANSWERS
    written = answer.to_event()
    json.loads(written["body"])
    assert SECRET not in json.dumps(written)
    assert answer.outcome is not WebhookOutcome.FAILED
    assert bool(WOKEN & set(receiving.script.calls)) == (answer.status == 202)
    return answer.status


@settings(max_examples=200, deadline=None)
@given(
    method=texts | st.just("POST"),
    path=texts | senders.map(lambda name: f"/{name}"),
    headers=headers,
    body=texts | st.binary(max_size=60),
)
def test_request_without_the_secret_is_refused(
    method: str, path: str, headers: dict[str, str], body: str | bytes
) -> None:
    event = url_event(path, body, method=method)
    event["headers"] = headers
    assert check(event, WebhookReceiver()) in {400, 401, 404, 405, 415}


@settings(max_examples=150, deadline=None)
@given(body=st.text(max_size=80), coded=st.booleans(), sender=senders)
def test_body_in_wrong_base64_is_refused(body: str, coded: bool, sender: str) -> None:
    check({**url_event(f"/{sender}", body), "isBase64Encoded": coded}, WebhookReceiver())


@settings(max_examples=200, deadline=None)
@given(sender=senders, payload=values)
def test_any_json_of_a_sender_gets_a_response(sender: str, payload: Any) -> None:
    receiving = WebhookReceiver()
    moment = str(int(receiving.clock().timestamp()))
    assert check(authentic(sender, json.dumps(payload), moment), receiving) in {200, 400}


@settings(max_examples=300, deadline=None)
@given(sender=senders, data=st.data())
def test_any_change_to_a_sample_gets_a_response(sender: str, data: st.DataObject) -> None:
    receiving = WebhookReceiver()
    moment = str(int(receiving.clock().timestamp()))
    body = json.dumps(mutated(payload_of(sender), data))
    assert check(authentic(sender, body, moment), receiving) in {200, 202, 400, 404}
