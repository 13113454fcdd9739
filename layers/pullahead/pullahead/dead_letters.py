"""Dead letters: retry a failed message or move it to the dead-letter queue with the reason; list, redrive, delete them.

SQS moves a message to a dead-letter queue after so many receives, but cannot say why; so on the last one Pullahead
sends it there itself, with the reason.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from pullahead.checks.ecr_events import AccountRegion, IgnoredEvent, read_ecr_event
from pullahead.clock import Clock
from pullahead.errors import ConfigError, InvalidEventError, StorageError
from pullahead.messages import AwsEvent, ListRequest, ReferrerNamed, StartWaitingRequest, read_queued
from pullahead.on_demand.cloudtrail import Pull, read_pull
from pullahead.text import one_line, public_text

SourceQueue = Literal["checks", "pulls"]
"""The queues that have a dead-letter queue."""


class DeadLetterMessage(NamedTuple):
    """A message for the dead-letter queue, with the class and text of the error, and how often it was received."""

    body: str
    reason: str
    text: str
    failed_at: datetime
    tries: int


class DeadLetter(NamedTuple):
    """A message in a dead-letter queue, and its source queue. `receipt` is valid until it is released.

    `reason` is None if SQS moved it: the function ended before it could say why.
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
    """Messages of a dead-letter queue, oldest first, and about how many more there are."""

    letters: tuple[DeadLetter, ...]
    more: int


class DeadLetterQueue(Protocol):
    """Lists, redrives and deletes dead letters."""

    def take(self, most: int) -> ReceivedDeadLetters:
        """Receive at most so many messages; they are invisible to others for some minutes. Raises: StorageError."""
        ...

    def release(self, letters: Sequence[DeadLetter]) -> None:
        """Make received messages visible again. Raises: StorageError."""
        ...

    def put_back(self, letter: DeadLetter) -> None:
        """Send a message to its source queue, then delete it here; it may be in both, but never in neither.

        Raises: StorageError.
        """
        ...

    def drop(self, letter: DeadLetter) -> None:
        """Delete a message for good. Raises: StorageError."""
        ...


MAX_TEXT_CHARACTERS = 256


class FailedDelivery(NamedTuple):
    """A message, and how often its queue has delivered it."""

    body: str
    tries: int


class DeadLetterPolicy:
    """Decides what becomes of failed messages. `max_receives`: after so many SQS would move the message itself."""

    def __init__(self, send: Callable[[DeadLetterMessage], None], max_receives: int, clock: Clock) -> None:
        self._send, self._max_receives, self._clock = send, max_receives, clock

    def __call__(self, delivery: FailedDelivery, error: Exception) -> bool:
        """Send a message to the dead-letter queue if no retry can help, or none is left; return whether it was sent.

        No retry helps a message that means nothing; a newer version of Pullahead may read one that this one cannot.
        Raises StorageError: the message is then to be retried.
        """
        is_hopeless = isinstance(error, InvalidEventError) and not error.retryable
        if delivery.tries < self._max_receives and not is_hopeless:
            return False
        reason = type(error).__name__
        self._send(
            DeadLetterMessage(delivery.body, reason, reason_text(str(error)) or reason, self._clock(), delivery.tries)
        )
        return True


def reason_text(text: str) -> str:
    """Make one short line of an error's text, without control characters, and without logins and queries of URLs."""
    return one_line(public_text(text), MAX_TEXT_CHARACTERS)


MAX_RECEIVED = 1000
_MAX_TAGS_NAMED = 3


class DeadLetterChoice(NamedTuple):
    """The messages to act on, and those that are refused since this version cannot read them."""

    letters: tuple[DeadLetter, ...]
    refused: tuple[DeadLetter, ...] = ()


def peek(queue: DeadLetterQueue, most: int) -> ReceivedDeadLetters:
    """Read messages, and make them visible again at once. Raises: StorageError."""
    with receive_all(queue, most) as (found, _):
        return found


@contextmanager
def receive_all(queue: DeadLetterQueue, most: int = MAX_RECEIVED) -> Iterator[tuple[ReceivedDeadLetters, set[str]]]:
    """Receive messages, and release them in the end, except for those whose ids are in the set: they are gone.

    Raises: StorageError.
    """
    found, gone = queue.take(most), set[str]()
    try:
        yield found, gone
    finally:
        queue.release([letter for letter in found.letters if letter.id not in gone])


def choose(found: ReceivedDeadLetters, ids: Sequence[str], *, understood_only: bool) -> DeadLetterChoice:
    """Choose messages by the beginnings of ids, or all without ids. Raises ConfigError if one is not unique."""
    letters = tuple(dict.fromkeys(_named(found, name) for name in ids)) if ids else found.letters
    refused = tuple(letter for letter in letters if understood_only and describe_request(letter) is None)
    return DeadLetterChoice(tuple(letter for letter in letters if letter not in refused), refused)


def describe_request(letter: DeadLetter) -> str | None:
    """Describe what a message asks for; None if this version cannot read it."""
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
        return "start of waiting refreshes"
    if isinstance(request, ListRequest):
        return f"the listing of rule {request.rule}"
    if isinstance(request, ReferrerNamed):
        return f"late referrers of {request.upstream}@{request.subject}"
    return _tags(request.repository, request.tags)


def _tags(repository: str, tags: Sequence[str]) -> str:
    more = len(tags) - _MAX_TAGS_NAMED
    return f"{repository}:{','.join(tags[:_MAX_TAGS_NAMED])}{f' and {more} more' if more > 0 else ''}"


def _named(found: ReceivedDeadLetters, name: str) -> DeadLetter:
    fitting = [letter for letter in found.letters if letter.id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"{len(fitting)} dead letters begin with {name}; use more characters")
    beyond = f" among the first {len(found.letters)}" if found.more else ""
    raise ConfigError(f"no dead letter{beyond} begins with {name}; list them with `pullahead dead-letters list`")


class DeadLetterQueues:
    """Several dead-letter queues as one. Implements `DeadLetterQueue`; each message goes back where it came from."""

    def __init__(self, queues: Mapping[SourceQueue, DeadLetterQueue]) -> None:
        self._queues = queues

    def take(self, most: int) -> ReceivedDeadLetters:
        """Receive at most so many of each queue, so that a flood in one hides nothing of another."""
        found, more = list[DeadLetter](), 0
        try:
            for name, queue in self._queues.items():
                received = queue.take(most)
                found += (letter._replace(queue=name) for letter in received.letters)
                more += received.more
        except StorageError:
            self.release(found)
            raise
        return ReceivedDeadLetters(tuple(sorted(found, key=lambda letter: (letter.since, letter.id))), more)

    def release(self, letters: Sequence[DeadLetter]) -> None:
        """Make messages visible again, each in its queue."""
        for name, queue in self._queues.items():
            if own := [letter for letter in letters if letter.queue == name]:
                queue.release(own)

    def put_back(self, letter: DeadLetter) -> None:
        """Send a message to its source queue."""
        self._queues[letter.queue].put_back(letter)

    def drop(self, letter: DeadLetter) -> None:
        """Delete a message."""
        self._queues[letter.queue].drop(letter)
