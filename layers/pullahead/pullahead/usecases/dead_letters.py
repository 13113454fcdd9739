"""Handle what was put aside: choose among it, tell what it asks, put it back. Decides nothing for the human."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from pullahead.errors import ConfigError, InvalidEventError
from pullahead.messages import AwsEvent, FillRequest, ListRequest, read_queued
from pullahead.ports import DeadLetter, DeadLetters, Taken
from pullahead.waking.cloudtrail import Pulled, read_pull
from pullahead.waking.ecr import Home, Ignored, read_ecr_event

MOST_AT_ONCE = 1000
_MOST_TAGS_NAMED = 3


class Chosen(NamedTuple):
    """The messages to act on, and those that are refused since nobody would understand them."""

    letters: tuple[DeadLetter, ...]
    refused: tuple[DeadLetter, ...] = ()


def peek(place: DeadLetters, most: int) -> Taken:
    """Look at messages without keeping them from anybody. Raises: StorageError."""
    with taken(place, most) as (found, _):
        return found


@contextmanager
def taken(place: DeadLetters, most: int = MOST_AT_ONCE) -> Iterator[tuple[Taken, set[str]]]:
    """Take messages, and in the end release them, but for those whose ids were added to the set: they are gone.

    Raises: StorageError.
    """
    found, gone = place.take(most), set[str]()
    try:
        yield found, gone
    finally:
        place.release([letter for letter in found.letters if letter.id not in gone])


def choose(found: Taken, ids: Sequence[str], *, understood_only: bool) -> Chosen:
    """Choose by the beginnings of ids; without any, all. Raises ConfigError where one fits none, or several."""
    letters = tuple(dict.fromkeys(_named(found, name) for name in ids)) if ids else found.letters
    refused = tuple(letter for letter in letters if understood_only and what_it_asks(letter) is None)
    return Chosen(tuple(letter for letter in letters if letter not in refused), refused)


def what_it_asks(letter: DeadLetter) -> str | None:
    """Say in a few words what a message asks to look at; None where this version does not understand it."""
    return _pulled(letter.body) if letter.queue == "pulls" else _checked(letter.body)


def _pulled(body: str) -> str:
    pull = read_pull(body)
    return _tags(pull.repository, pull.tags) if isinstance(pull, Pulled) else f"nothing ({pull.reason})"


def _checked(body: str) -> str | None:
    try:
        request = read_queued(body)
        if isinstance(request, AwsEvent):
            meaning = read_ecr_event(request, Home(request.account, request.region))
            return (
                f"nothing ({meaning.why})" if isinstance(meaning, Ignored) else _tags(meaning.repository, meaning.tags)
            )
    except InvalidEventError:
        return None
    if isinstance(request, FillRequest):
        return "that refreshes which wait be started"
    if isinstance(request, ListRequest):
        return f"the listing of rule {request.rule}"
    return _tags(request.repository, request.tags)


def _tags(repository: str, tags: Sequence[str]) -> str:
    more = len(tags) - _MOST_TAGS_NAMED
    return f"{repository}:{','.join(tags[:_MOST_TAGS_NAMED])}{f' and {more} more' if more > 0 else ''}"


def _named(found: Taken, name: str) -> DeadLetter:
    fitting = [letter for letter in found.letters if letter.id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"{len(fitting)} dead letters begin with {name}; write more of the one that is meant")
    beyond = f" among the first {len(found.letters)}" if found.more else ""
    raise ConfigError(f"no dead letter{beyond} begins with {name}; `pullahead dead-letters list` shows them")
