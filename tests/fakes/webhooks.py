"""Events of webhooks, and their secrets and replay guard in memory."""

import base64
import hashlib
import hmac
import json
from datetime import datetime, timedelta
from typing import Any

from pullahead.webhooks.ports import SecretSet
from pullahead.webhooks.receive import MAX_CHECKS_A_MINUTE
from tests.fakes.script import Script

SECRET = "webhook-secret-of-the-samples"
"""Signs the samples in events/."""


class FakeReplayGuard:
    """Implements `pullahead.webhooks.ports.ReplayGuard`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.known: dict[str, datetime] = {}

    def is_known(self, identity: str, now: datetime) -> bool:
        with self.script.call("is_known"):
            return identity in self.known and now - self.known[identity] < timedelta(days=1)

    def remember(self, identity: str, now: datetime) -> None:
        with self.script.call("remember"):
            self.known[identity] = now


class FakeWebhookSecrets:
    """Implements `pullahead.webhooks.ports.WebhookSecrets`."""

    def __init__(self, script: Script | None = None, *secrets: str) -> None:
        self.script = script or Script()
        self.secrets: tuple[str, ...] = secrets or (SECRET,)
        self.by_sender: dict[str, tuple[bytes, ...]] = {}

    def only_by_sender(self, **secrets: str) -> None:
        """Let senders have secrets of their own, and no others."""
        self.secrets = ()
        self.by_sender = {sender: (secret.encode(),) for sender, secret in secrets.items()}

    def read_webhook_secrets(self) -> SecretSet:
        with self.script.call("read_webhook_secrets"):
            return SecretSet(tuple(secret.encode() for secret in self.secrets), dict(self.by_sender))


class FakeCheckBudget:
    """Implements `pullahead.webhooks.ports.CheckBudget`."""

    def __init__(self, script: Script | None = None, limit: int = MAX_CHECKS_A_MINUTE) -> None:
        self.script, self.limit = script or Script(), limit
        self.taken: dict[tuple[str, datetime], int] = {}
        self._spent: set[tuple[str, datetime]] = set()

    def take(self, sender: str, checks: int, now: datetime) -> bool:
        with self.script.call("take"):
            key = sender, now.replace(second=0, microsecond=0)
            count = self.taken.get(key, 0) + checks
            if count <= self.limit:
                self.taken[key] = count
            else:
                self._spent.add(key)
            return count <= self.limit

    def is_spent(self, sender: str, now: datetime) -> bool:
        return (sender, now.replace(second=0, microsecond=0)) in self._spent


def url_event(path: str, body: bytes | str | object, *, method: str = "POST", **headers: str) -> dict[str, Any]:
    """Make the event of a function URL; names of headers are written with underscores."""
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    named = {"content-type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    coded = isinstance(content, bytes)
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "sender"}
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": named,
        "requestContext": {"accountId": "anonymous", "apiId": "url", "http": http, "stage": "$default"},
        "body": base64.b64encode(content).decode() if isinstance(content, bytes) else content,
        "isBase64Encoded": coded,
    }


def hmac_of(signed: bytes | str, secret: str = SECRET) -> str:
    """Sign as senders do, in hexadecimal."""
    content = signed.encode() if isinstance(signed, str) else signed
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def github_event(
    payload: object, event: str = "package", secret: str = SECRET, path: str = "/github"
) -> dict[str, Any]:
    """Make a call of GitHub's."""
    body = json.dumps(payload)
    return url_event(path, body, x_github_event=event, x_hub_signature_256=f"sha256={hmac_of(body, secret)}")


def generic_event(payload: object, at: datetime, secret: str = SECRET) -> dict[str, Any]:
    """Make a call of the generic form."""
    body, moment = json.dumps(payload), str(int(at.timestamp()))
    signature = f"sha256={hmac_of(f'{moment}.{body}', secret)}"
    return url_event("/generic", body, x_pullahead_timestamp=moment, x_pullahead_signature=signature)
