"""What is written to stdout: the result of a command, and nothing else."""

import sys
from typing import Any

import msgspec


def write_text(text: str) -> None:
    """Write lines."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_document(document: Any) -> None:
    """Write one JSON document, readable."""
    write_text(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
