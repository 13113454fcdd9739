"""`pullahead`: which command runs, and how its end becomes an exit code."""

import os
import sys
from collections.abc import Sequence

from pullahead.cli.arguments import Arguments, CopyArguments, TagsArguments, parse_arguments
from pullahead.cli.exits import FAILED
from pullahead.cli.failing import say
from pullahead.errors import PullaheadError


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    parsed = parse_arguments(arguments)
    try:
        return _run(parsed)
    except PullaheadError as error:
        say(str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        say(f"{type(error).__name__}: {error.strerror or 'an operation failed'}")
    return FAILED


def _run(arguments: Arguments) -> int:
    # Each command imports what it needs, so that none waits for the libraries of another.
    if isinstance(arguments, CopyArguments):
        from pullahead.cli.copying import run_copy  # noqa: PLC0415

        return run_copy(arguments)
    if isinstance(arguments, TagsArguments):
        from pullahead.cli.listing import run_tags  # noqa: PLC0415

        return run_tags(arguments)
    from pullahead.cli.inspection import run_inspect  # noqa: PLC0415

    return run_inspect(arguments)
