"""Callers of the webhook URL: upstreams, and unauthenticated clients. Asserts nothing."""

from typing import Any

import requests

from tests.fakes.webhooks import SECRET, github_event
from tests.scenarios.deployment import TAG
from tests.scenarios.scene import Scene

_IDLE_SECONDS = 120.0


class Caller:
    """Calls the URL as GitHub does, and as strangers do."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.url = scene, scene.deployment.stack.outputs["WebhookUrl"]

    def payload(self, number: int = 0, tag: str = TAG) -> dict[str, Any]:
        """Write the payload of a push to the scene's repository."""
        namespace, _, name = self.scene.mirror.path.rpartition("/")
        version = {
            "id": number,
            "package_url": f"{self.scene.mirror.host}/x",
            "container_metadata": {"tag": {"name": tag}},
        }
        package = {"name": name, "namespace": namespace, "package_type": "CONTAINER", "package_version": version}
        return {"action": "published", "package": package}

    def settle(self) -> None:
        """Wait for all that follows a call, and let the window pass, after which there is one more look."""
        self.scene.aws.wait_idle(_IDLE_SECONDS, hidden_ok=True)
        self.scene.aws.clock.advance(120)
        self.scene.settle()

    def call(self, payload: object, secret: str = SECRET, event: str = "package") -> requests.Response:
        """Call, signed by a secret."""
        made = github_event(payload, event, secret)
        return self.send(made["rawPath"], made["body"], **made["headers"])

    def send(self, path: str, body: bytes | str, method: str = "POST", **headers: str) -> requests.Response:
        """Send any request."""
        return requests.request(method, f"{self.url.rstrip('/')}{path}", data=body, headers=headers, timeout=30)
