"""Decide what becomes of a message that failed: it comes back, or is put aside with its reason for a human to see.

The queue gives a message up after so many tries, but cannot say why; so the last try says it in the queue's place.
"""

import re
from typing import NamedTuple

from pullahead.errors import InvalidEventError
from pullahead.ports import Aside, Clock, PutsAside

MAX_TEXT_CHARACTERS = 256
_AFTER_HOST = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s?#]*)[?#]\S*")
_LOGIN = re.compile(r"(https?://)[^\s/@]*@")


class Delivery(NamedTuple):
    """A message as a queue delivered it, and how often it has done so."""

    body: str
    tries: int


class PutAside:
    """The use case. `most_tries`: after so many the queue itself would give the message up."""

    def __init__(self, place: PutsAside, most_tries: int, clock: Clock) -> None:
        self._place, self._most_tries, self._clock = place, most_tries, clock

    def __call__(self, delivery: Delivery, error: Exception) -> bool:
        """Put a message aside that no other try mends, or that has had its last one; tell whether it was.

        Raises StorageError: the message is then to come back.
        """
        if delivery.tries < self._most_tries and not isinstance(error, InvalidEventError):
            return False
        reason = type(error).__name__
        self._place.put_aside(
            Aside(delivery.body, reason, reason_text(str(error)) or reason, self._clock(), delivery.tries)
        )
        return True


def reason_text(text: str) -> str:
    """Make one short line of an error's message: nothing in it steers a terminal, or is a secret of a URL."""
    public = _LOGIN.sub(r"\1", _AFTER_HOST.sub(r"\1\2", text))
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in public).split())
    return line if len(line) <= MAX_TEXT_CHARACTERS else f"{line[: MAX_TEXT_CHARACTERS - 3]}..."
