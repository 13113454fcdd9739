"""What the core asks of the place for messages that are worked on no more: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.

Decide what becomes of a message that failed: it comes back, or is put aside with its reason for a human to see.

The queue gives a message up after so many tries, but cannot say why; so the last try says it in the queue's place.

Handle what was put aside: choose among it, tell what it asks, put it back. Decides nothing for the human.

What was put aside from several queues, seen as one place. Knows of each message only where it came from.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pullahead.checks.ecr_events import AccountRegion, IgnoredEvent, read_ecr_event
from pullahead.clock import Clock
from pullahead.errors import ConfigError, InvalidEventError, StorageError
from pullahead.messages import AwsEvent, ListRequest, StartWaitingRequest, read_queued
from pullahead.on_demand.cloudtrail import Pull, read_pull

SourceQueue = Literal["checks", "pulls"]
"""The queues whose messages are put aside, each into a place of its own."""


class DeadLetterMessage(NamedTuple):
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


class ReceivedDeadLetters(NamedTuple):
    """Messages that were put aside, oldest first, and about how many more there are."""

    letters: tuple[DeadLetter, ...]
    more: int


class DeadLetterQueue(Protocol):
    """Shows what was put aside, and lets go of it."""

    def take(self, most: int) -> ReceivedDeadLetters:
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


MAX_TEXT_CHARACTERS = 256
_AFTER_HOST = re.compile(r"(https?://)(?:[^\s/@]*@)?([^\s?#]*)[?#]\S*")
_LOGIN = re.compile(r"(https?://)[^\s/@]*@")


class FailedDelivery(NamedTuple):
    """A message as a queue delivered it, and how often it has done so."""

    body: str
    tries: int


class DeadLetterPolicy:
    """The use case. `most_tries`: after so many the queue itself would give the message up."""

    def __init__(self, send: Callable[[DeadLetterMessage], None], most_tries: int, clock: Clock) -> None:
        self._send, self._most_tries, self._clock = send, most_tries, clock

    def __call__(self, delivery: FailedDelivery, error: Exception) -> bool:
        """Put a message aside that no other try mends, or that has had its last one; tell whether it was.

        Raises StorageError: the message is then to come back.
        """
        if delivery.tries < self._most_tries and not isinstance(error, InvalidEventError):
            return False
        reason = type(error).__name__
        self._send(
            DeadLetterMessage(delivery.body, reason, reason_text(str(error)) or reason, self._clock(), delivery.tries)
        )
        return True


def reason_text(text: str) -> str:
    """Make one short line of an error's message: nothing in it steers a terminal, or is a secret of a URL."""
    public = _LOGIN.sub(r"\1", _AFTER_HOST.sub(r"\1\2", text))
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in public).split())
    return line if len(line) <= MAX_TEXT_CHARACTERS else f"{line[: MAX_TEXT_CHARACTERS - 3]}..."


MOST_AT_ONCE = 1000
_MOST_TAGS_NAMED = 3


class DeadLetterChoice(NamedTuple):
    """The messages to act on, and those that are refused since nobody would understand them."""

    letters: tuple[DeadLetter, ...]
    refused: tuple[DeadLetter, ...] = ()


def peek(place: DeadLetterQueue, most: int) -> ReceivedDeadLetters:
    """Look at messages without keeping them from anybody. Raises: StorageError."""
    with receive_all(place, most) as (found, _):
        return found


@contextmanager
def receive_all(place: DeadLetterQueue, most: int = MOST_AT_ONCE) -> Iterator[tuple[ReceivedDeadLetters, set[str]]]:
    """Take messages, and in the end release them, but for those whose ids were added to the set: they are gone.

    Raises: StorageError.
    """
    found, gone = place.take(most), set[str]()
    try:
        yield found, gone
    finally:
        place.release([letter for letter in found.letters if letter.id not in gone])


def choose(found: ReceivedDeadLetters, ids: Sequence[str], *, understood_only: bool) -> DeadLetterChoice:
    """Choose by the beginnings of ids; without any, all. Raises ConfigError where one fits none, or several."""
    letters = tuple(dict.fromkeys(_named(found, name) for name in ids)) if ids else found.letters
    refused = tuple(letter for letter in letters if understood_only and describe_request(letter) is None)
    return DeadLetterChoice(tuple(letter for letter in letters if letter not in refused), refused)


def describe_request(letter: DeadLetter) -> str | None:
    """Say in a few words what a message asks to look at; None where this version does not understand it."""
    return _pulled(letter.body) if letter.queue == "pulls" else _checked(letter.body)


def _pulled(body: str) -> str:
    pull = read_pull(body)
    return _tags(pull.repository, pull.tags) if isinstance(pull, Pull) else f"nothing ({pull.reason})"


def _checked(body: str) -> str | None:
    try:
        request = read_queued(body)
        if isinstance(request, AwsEvent):
            meaning = read_ecr_event(request, AccountRegion(request.account, request.region))
            return (
                f"nothing ({meaning.why})"
                if isinstance(meaning, IgnoredEvent)
                else _tags(meaning.repository, meaning.tags)
            )
    except InvalidEventError:
        return None
    if isinstance(request, StartWaitingRequest):
        return "that refreshes which wait be started"
    if isinstance(request, ListRequest):
        return f"the listing of rule {request.rule}"
    return _tags(request.repository, request.tags)


def _tags(repository: str, tags: Sequence[str]) -> str:
    more = len(tags) - _MOST_TAGS_NAMED
    return f"{repository}:{','.join(tags[:_MOST_TAGS_NAMED])}{f' and {more} more' if more > 0 else ''}"


def _named(found: ReceivedDeadLetters, name: str) -> DeadLetter:
    fitting = [letter for letter in found.letters if letter.id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"{len(fitting)} dead letters begin with {name}; write more of the one that is meant")
    beyond = f" among the first {len(found.letters)}" if found.more else ""
    raise ConfigError(f"no dead letter{beyond} begins with {name}; `pullahead dead-letters list` shows them")


class DeadLetterQueues:
    """Satisfies `pullahead.ports.DeadLetters`: each message is let go where it was taken."""

    def __init__(self, places: Mapping[SourceQueue, DeadLetterQueue]) -> None:
        self._places = places

    def take(self, most: int) -> ReceivedDeadLetters:
        """Take at most so many of each queue, so that a flood in one hides nothing of another."""
        found, more = list[DeadLetter](), 0
        try:
            for queue, place in self._places.items():
                receive_all = place.take(most)
                found += (letter._replace(queue=queue) for letter in receive_all.letters)
                more += receive_all.more
        except StorageError:
            self.release(found)
            raise
        return ReceivedDeadLetters(tuple(sorted(found, key=lambda letter: (letter.since, letter.id))), more)

    def release(self, letters: Sequence[DeadLetter]) -> None:
        """Let others see messages again, each queue's own."""
        for queue, place in self._places.items():
            if own := [letter for letter in letters if letter.queue == queue]:
                place.release(own)

    def put_back(self, letter: DeadLetter) -> None:
        """Queue a message where it came from."""
        self._places[letter.queue].put_back(letter)

    def drop(self, letter: DeadLetter) -> None:
        """Delete a message."""
        self._places[letter.queue].drop(letter)
