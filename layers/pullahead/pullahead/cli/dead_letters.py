"""`pullahead dead-letters`: list, redrive or delete the messages in the dead-letter queues."""

import argparse
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from pullahead.cli.options import UsageError, add_output_options, describe
from pullahead.cli.output import DONE, FAILED, say, write_document, write_result, write_text
from pullahead.cli.stack import add_stack_option, deployed_stack, now
from pullahead.dead_letters import (
    DeadLetter,
    DeadLetterQueue,
    ReceivedDeadLetters,
    choose,
    describe_request,
    peek,
    receive_all,
)
from pullahead.text import count_text, one_line, span_text

_MAX_LISTED: Final = 100
_SHORT_ID: Final = 8
_MAX_BODY_LENGTH: Final = 60
_NO_REASON: Final = "unknown: the function ended before it could report one (timeout or out of memory); see its log"
_DONE: Final = {"redrive": "redriven", "drop": "deleted"}
_ACTIONS: Final = {
    "list": "List messages, oldest first: what each requests and why it failed",
    "redrive": "Send messages back to the queues that they came from",
    "drop": "Delete messages for good",
}

Confirm = Callable[[str], bool]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command and its actions."""
    describe(
        parser,
        "List, redrive or delete the messages that functions of the deployed stack could not handle.",
        "dead-letters list",
        "dead-letters redrive --all",
        "dead-letters drop 1f0c3b7a",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True, title="actions")
    for name, summary in _ACTIONS.items():
        action = actions.add_parser(name, help=summary)
        describe(action, f"{summary}.")
        if name != "list":
            which = action.add_mutually_exclusive_group(required=True)
            which.add_argument(
                "ids", metavar="ID", nargs="*", type=_parse_id, default=[], help="ID, or its first 4 or more characters"
            )
            which.add_argument("--all", action="store_true", help="All messages, up to 1000 of each queue")
            action.add_argument("--yes", action="store_true", help="Do not prompt for confirmation")
        if name == "redrive":
            action.add_argument(
                "--force", action="store_true", help="Also redrive messages that this version cannot read"
            )
        add_stack_option(action)
        add_output_options(action)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        if arguments.action == "list":
            return list_dead_letters(arguments, stack.dead_letters)
        return redrive_or_drop(arguments, stack.dead_letters, ask_on_terminal)


def list_dead_letters(arguments: argparse.Namespace, queue: DeadLetterQueue) -> int:
    """Show messages, and how many more there are."""
    found, at = peek(queue, _MAX_LISTED), now()
    if arguments.json:
        letters = [_document(letter, at) for letter in found.letters]
        write_document({"at": at, "dead_letters": letters, "more": found.more})
    elif not arguments.quiet:
        for letter in found.letters:
            write_text("\n".join(lines_of(letter, at)))
        write_text(f"{count_text(len(found.letters), 'message')}{_more(found)}")
    return DONE


def redrive_or_drop(arguments: argparse.Namespace, queue: DeadLetterQueue, confirm: Confirm) -> int:
    """Send back or delete the chosen messages, once that is confirmed."""
    is_redrive, done = arguments.action == "redrive", _DONE[arguments.action]
    with receive_all(queue) as (found, gone):
        chosen = choose(found, tuple(arguments.ids), understood_only=is_redrive and not arguments.force)
        for letter in chosen.refused:
            say(f"{letter.id[:_SHORT_ID]} skipped: this version cannot read it; use --force to redrive it anyway")
        has_failed = bool(chosen.refused)
        if not chosen.letters:
            text = "nothing to do"
        elif arguments.yes or confirm(f"{count_text(len(chosen.letters), 'message')} will be {done}. Continue?"):
            for letter in chosen.letters:
                (queue.put_back if is_redrive else queue.drop)(letter)
                gone.add(letter.id)
            text = f"{count_text(len(gone), 'message')} {done}{_more(found)}"
        else:
            text, has_failed = "canceled", True
    write_result(arguments, text, {"action": arguments.action, "ids": sorted(gone), "more": found.more})
    return FAILED if has_failed else DONE


def ask_on_terminal(question: str) -> bool:
    """Prompt for confirmation. Raises UsageError without a terminal."""
    if not sys.stdin.isatty():
        raise UsageError("cannot prompt for confirmation without a terminal; use --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def lines_of(letter: DeadLetter, at: datetime) -> list[str]:
    """Describe a message in three lines."""
    tries = "" if letter.tries is None else f", tries: {letter.tries}"
    request = describe_request(letter)
    reason = f"{letter.reason}: {letter.text}" if letter.reason else _NO_REASON
    return [
        f"{letter.id[:_SHORT_ID]}  {letter.queue}, {span_text(at - letter.since)} ago{tries}",
        f"  request  {one_line(request) if request is not None else _unreadable(letter.body)}",
        f"  reason   {one_line(reason)}",
    ]


def _unreadable(body: str) -> str:
    return f"unreadable: {one_line(body, _MAX_BODY_LENGTH)}"


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
    return f", about {found.more} more in the queues" if found.more else ""


def _parse_id(text: str) -> str:
    if not 4 <= len(text) <= 36 or not set(text) <= set("0123456789abcdef-"):
        raise argparse.ArgumentTypeError(f"invalid ID {text[:40]!r}; run `pullahead dead-letters list` for the IDs")
    return text
