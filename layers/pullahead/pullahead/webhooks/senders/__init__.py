"""The webhook senders: how each authenticates, and how its payload is read."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, NamedTuple

from pullahead.webhooks.authentication import Proof, header_secret, path_secret, signature
from pullahead.webhooks.http import WebhookOutcome, WebhookRequest, refuse
from pullahead.webhooks.payload import WebhookTags
from pullahead.webhooks.senders import artifactory, distribution, dockerhub, generic, github, harbor, quay


def _always(_request: WebhookRequest, _now: datetime) -> bool:
    return True


class Sender(NamedTuple):
    """A kind of sender. `signed_by`: the header with the signature, if it signs.

    `repeats_refusals`: it repeats a refused request for ever, and sends nothing else meanwhile.
    """

    name: str
    proofs: tuple[Proof, ...]
    read: Callable[[WebhookRequest], WebhookTags]
    signed_by: str = ""
    is_timely: Callable[[WebhookRequest, datetime], bool] = _always
    repeats_refusals: bool = False

    def identify(self, request: WebhookRequest) -> str | None:
        """Identify a request, to recognize its replay; None if it is not signed."""
        if not self.signed_by:
            return None
        return hashlib.sha256(f"{self.name}\n{request.header(self.signed_by)}".encode()).hexdigest()


_authorization: Final = header_secret("authorization")
_ALL: Final = (
    Sender("dockerhub", (path_secret,), dockerhub.read),
    Sender("github", (signature(github.SIGNATURE, "sha256="),), github.read, github.SIGNATURE),
    Sender("quay", (path_secret,), quay.read),
    Sender("harbor", (_authorization, path_secret), harbor.read),
    Sender(
        "gitlab",
        (_authorization, header_secret("x-gitlab-token"), path_secret),
        distribution.read,
        repeats_refusals=True,
    ),
    Sender("acr", (_authorization, path_secret), distribution.read_one),
    Sender(
        "artifactory",
        (header_secret(artifactory.AUTHORIZATION), signature(artifactory.AUTHORIZATION)),
        artifactory.read,
    ),
    Sender("distribution", (_authorization, path_secret), distribution.read, repeats_refusals=True),
    Sender(
        "generic",
        (signature(generic.SIGNATURE, "sha256=", generic.signed),),
        generic.read,
        generic.SIGNATURE,
        generic.is_timely,
    ),
)
SENDERS: Final[Mapping[str, Sender]] = MappingProxyType({sender.name: sender for sender in _ALL})


def sender_of(request: WebhookRequest) -> Sender:
    """Find the sender by method and path. Raises RefusedWebhookError."""
    if request.method != "POST":
        raise refuse(405, WebhookOutcome.MALFORMED, "use POST", allow="POST")
    sender = SENDERS.get(request.parts[0]) if 1 <= len(request.parts) <= 2 else None
    if sender is None:
        raise refuse(404, WebhookOutcome.UNKNOWN, f"unknown sender; known are {', '.join(SENDERS)}")
    if request.header("content-type").startswith("application/x-www-form-urlencoded"):
        raise refuse(415, WebhookOutcome.MALFORMED, "the body is a form; set the content type application/json")
    return sender
