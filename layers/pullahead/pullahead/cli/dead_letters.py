"""`pullahead dead-letters`: what was put aside and why, and what is to become of it."""

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from pullahead.cli.exits import DONE, FAILED, NOTHING_TO_DO
from pullahead.cli.failing import say
from pullahead.cli.output import write_document, write_text
from pullahead.cli.stack import DeployedStack, now
from pullahead.cli.stack_arguments import DeadLettersArguments
from pullahead.cli.texts import count_text, one_line
from pullahead.dead_letters import (
    DeadLetter,
    DeadLetterQueue,
    ReceivedDeadLetters,
    choose,
    describe_request,
    peek,
    receive_all,
)
from pullahead.errors import ConfigError
from pullahead.text import span_text

_MOST_LISTED: Final = 100
_SHORT_ID: Final = 8
_NOT_UNDERSTOOD_CHARACTERS: Final = 60
_UNSAID: Final = "not said: the function was ended before it could (timeout or memory); see its log"
_DONE: Final = {"redrive": "put back", "drop": "deleted"}

Confirm = Callable[[str], bool]


def run_dead_letters(arguments: DeadLettersArguments, stack: DeployedStack) -> int:
    """List dead letters, or put them back, or delete them."""
    if arguments.action == "list":
        return _list(arguments, stack.dead_letters)
    return act(arguments, stack.dead_letters, ask_on_terminal)


def act(arguments: DeadLettersArguments, place: DeadLetterQueue, confirm: Confirm) -> int:
    """Put back or delete what was chosen, once it is confirmed."""
    is_redrive, done = arguments.action == "redrive", _DONE[arguments.action]
    with receive_all(place) as (found, gone):
        chosen = choose(found, arguments.ids, understood_only=is_redrive and not arguments.force)
        for letter in chosen.refused:
            say(f"{letter.id[:_SHORT_ID]} is refused: nobody would understand it; --force puts it back all the same")
        if not chosen.letters:
            return _tell(arguments, "nothing to do", [], found, FAILED if chosen.refused else NOTHING_TO_DO)
        if not arguments.yes and not confirm(f"{count_text(len(chosen.letters), 'message')} will be {done}. Go on?"):
            return _tell(arguments, "nothing was done", [], found, FAILED)
        for letter in chosen.letters:
            (place.put_back if is_redrive else place.drop)(letter)
            gone.add(letter.id)
    text = f"{count_text(len(gone), 'message')} {done}{_more(found)}"
    return _tell(arguments, text, sorted(gone), found, FAILED if chosen.refused else DONE)


def ask_on_terminal(question: str) -> bool:
    """Ask whoever sits there. Raises ConfigError where nobody does."""
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here; say --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _list(arguments: DeadLettersArguments, place: DeadLetterQueue) -> int:
    found, at = peek(place, _MOST_LISTED), now()
    if arguments.json:
        letters = [_document(letter, at) for letter in found.letters]
        write_document({"at": at, "dead_letters": letters, "more": found.more})
    elif not arguments.quiet:
        for letter in found.letters:
            write_text("\n".join(lines_of(letter, at)))
        write_text(f"{count_text(len(found.letters), 'message')} put aside{_more(found)}")
    return DONE


def lines_of(letter: DeadLetter, at: datetime) -> list[str]:
    """Write a dead letter as people read it."""
    tries = "" if letter.tries is None else f", tries: {letter.tries}"
    asks = describe_request(letter)
    said = f"{letter.reason}: {letter.text}" if letter.reason else _UNSAID
    return [
        f"{letter.id[:_SHORT_ID]}  {letter.queue}, {span_text(at - letter.since)} ago{tries}",
        f"  asks  {one_line(asks) if asks is not None else _not_understood(letter.body)}",
        f"  why   {one_line(said)}",
    ]


def _not_understood(body: str) -> str:
    cut = "..." if len(body) > _NOT_UNDERSTOOD_CHARACTERS else ""
    return f"what nobody understands: {one_line(body[:_NOT_UNDERSTOOD_CHARACTERS])}{cut}"


def _document(letter: DeadLetter, at: datetime) -> dict[str, Any]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "since": letter.since,
        "age_seconds": (at - letter.since).total_seconds(),
        "tries": letter.tries,
        "reason": letter.reason,
        "text": letter.text,
        "asks": describe_request(letter),
        "body": letter.body,
    }


def _more(found: ReceivedDeadLetters) -> str:
    return f", and about {found.more} more wait" if found.more else ""


def _tell(arguments: DeadLettersArguments, text: str, ids: list[str], found: ReceivedDeadLetters, code: int) -> int:
    if arguments.json:
        write_document({"action": arguments.action, "ids": ids, "more": found.more})
    elif not arguments.quiet:
        write_text(text)
    return code
