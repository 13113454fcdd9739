"""What commands write: the result to stdout, messages to stderr, and an exit code that means one thing."""

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from pullahead.text import escaped_json, one_line, printable

DONE: Final = 0  # also when there was nothing to do
FAILED: Final = 1
USAGE: Final = 2
STALE: Final = 3  # only where the command line asks whether anything is stale


def write_text(text: str) -> None:
    """Write lines to stdout, without what steers a terminal: some of it may come from outside."""
    sys.stdout.write(f"{printable(text)}\n")
    sys.stdout.flush()


def write_document(document: Any) -> None:
    """Write one indented JSON document to stdout."""
    write_text(escaped_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()))


def write_result(arguments: argparse.Namespace, text: str, document: Any) -> None:
    """Write a result as `--json` and `--quiet` ask for it."""
    if arguments.json:
        write_document(document)
    elif not arguments.quiet:
        write_text(text)


_interruption: list[str] = []


@contextmanager
def said_if_interrupted(note: str) -> Iterator[None]:
    """Say what goes on without the command, should it be interrupted meanwhile."""
    _interruption[:] = [note]
    try:
        yield
    finally:
        _interruption.clear()


def interruption_note() -> str:
    """What to say beside that the command was interrupted; "" for nothing."""
    return f"; {_interruption[0]}" if _interruption else ""


def terminal_width() -> int | None:
    """The width of the terminal that stdout is; None if it is none: then nothing is cut or wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def write_failure(kind: str, message: str, details: Mapping[str, Any] | None = None) -> None:
    """Write the document of a failure: its kind, the message of stderr, and what else is known."""
    write_document({"error": {"kind": kind, "message": message, **(details or {})}})


def say(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"pullahead: {one_line(message)}\n")
    sys.stderr.flush()
