"""What a sender of webhooks is answered, and what its call is counted as. Decides no call."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from pullahead.errors import PullaheadError

RETRY_AFTER_SECONDS: Final = 60
_HEADERS: Final = MappingProxyType({"content-type": "application/json", "cache-control": "no-store"})
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Outcome(StrEnum):
    """What a call is counted as; each is a metric of its own, so there are few."""

    ACCEPTED = "accepted"
    MERGED = "merged"  # all that it names is being looked at already
    IGNORED = "ignored"  # an event that moves no tag that a rule follows
    UNKNOWN = "unknown"  # no such sender, or no rule follows the repository
    UNAUTHENTICATED = "unauthenticated"
    MALFORMED = "malformed"
    REPLAYED = "replayed"
    FAILED = "failed"  # AWS, or our rules, did not do as asked: the sender may try again


class Answer(NamedTuple):
    """One answer. `sender`, `mirrors` and `error` are for our log; the sender is told nothing of them."""

    status: int
    outcome: Outcome
    told: Mapping[str, object]
    headers: Mapping[str, str] = _NONE
    sender: str = ""
    mirrors: tuple[str, ...] = ()
    error: PullaheadError | None = None

    def to_event(self) -> dict[str, Any]:
        """Write it as a function URL wants it (AWS Lambda Developer Guide, "Response payload format")."""
        body = msgspec.json.encode(dict(self.told)).decode()
        return {"statusCode": self.status, "headers": {**_HEADERS, **self.headers}, "body": body}


class RefusedCallError(PullaheadError):
    """A call that is not acted upon, with the answer to it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}: {answer.told}")
        self.answer = answer


def refuse(status: int, outcome: Outcome, text: str, **headers: str) -> RefusedCallError:
    """Make the refusal of a call."""
    return RefusedCallError(Answer(status, outcome, {"error": text}, headers))


def malformed(text: str) -> RefusedCallError:
    """Refuse a call that cannot be understood."""
    return refuse(400, Outcome.MALFORMED, text)


def failed(error: PullaheadError) -> Answer:
    """Ask for another try: it was not the sender's fault."""
    told = {"error": "the call could not be taken for now; send it again later"}
    return Answer(503, Outcome.FAILED, told, {"retry-after": str(RETRY_AFTER_SECONDS)}, error=error)
