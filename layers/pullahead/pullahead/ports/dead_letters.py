"""What the core asks of the place for messages that are worked on no more: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

SourceQueue = Literal["checks", "pulls"]
"""The queues whose messages are put aside, each into a place of its own."""


class Aside(NamedTuple):
    """A message to be put aside, and why: the class of the error, its text in one line, and after how many tries."""

    body: str
    reason: str
    text: str
    failed_at: datetime
    tries: int


class DeadLetter(NamedTuple):
    """A message that was put aside, and the queue it came from. `receipt` stands for it until it is released.

    Without a reason it was the queue that gave up: nobody was left to say why.
    """

    id: str
    receipt: str
    body: str
    since: datetime
    reason: str | None
    text: str
    tries: int | None
    queue: SourceQueue = "checks"


class Taken(NamedTuple):
    """Messages that were put aside, oldest first, and about how many more there are."""

    letters: tuple[DeadLetter, ...]
    more: int


class PutsAside(Protocol):
    """Keeps messages that nobody is to work on before a human has looked at them."""

    def put_aside(self, message: Aside) -> None:
        """Keep a message with its reason. Raises: StorageError."""
        ...


class DeadLetters(Protocol):
    """Shows what was put aside, and lets go of it."""

    def take(self, most: int) -> Taken:
        """Take at most so many messages; for some minutes nobody else sees them. Raises: StorageError."""
        ...

    def release(self, letters: Sequence[DeadLetter]) -> None:
        """Let others see messages again that were taken. Raises: StorageError."""
        ...

    def put_back(self, letter: DeadLetter) -> None:
        """Queue a message again, then drop it here; it may be in both places, and never in none.

        Raises: StorageError.
        """
        ...

    def drop(self, letter: DeadLetter) -> None:
        """Delete a message for good. Raises: StorageError."""
        ...
