"""Answers of the fake registry before they are sent. Knows no socket."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from local.images import Blob


@dataclass(frozen=True)
class Answer:
    """A status, headers, and a body of which the bytes from `first_byte` up to `end` (all, if None) are sent."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Blob = b""
    first_byte: int = 0
    end: int | None = None

    @property
    def content_length(self) -> int:
        """How many bytes of the body are sent."""
        end = len(self.body) if self.end is None else min(self.end, len(self.body))
        return max(0, end - self.first_byte)


def json_answer(status: int, document: object, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer a JSON document."""
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode())


def error_answer(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer an error as OCI distribution specification 1.1, "Error Codes", shapes it."""
    return json_answer(status, {"errors": [{"code": code, "message": message}]}, headers)
