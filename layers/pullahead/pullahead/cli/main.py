"""`pullahead`: which command runs, and how its end becomes an exit code."""

import os
import sys
from collections.abc import Sequence

from pullahead.cli.arguments import (
    Arguments,
    CopyArguments,
    ImportArguments,
    InspectArguments,
    RulesArguments,
    TagsArguments,
    ValidateArguments,
    parse_arguments,
)
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
    if isinstance(arguments, ImportArguments):
        from pullahead.cli.importing import run_import  # noqa: PLC0415

        return run_import(arguments)
    if isinstance(arguments, ValidateArguments):
        from pullahead.cli.validation import run_validate  # noqa: PLC0415

        return run_validate(arguments)
    if isinstance(arguments, RulesArguments):
        return _run_by_rules(arguments)
    if isinstance(arguments, InspectArguments):
        from pullahead.cli.inspection import run_inspect  # noqa: PLC0415

        return run_inspect(arguments)
    from pullahead.cli.stack_commands import run_stack_command  # noqa: PLC0415

    return run_stack_command(arguments)


def _run_by_rules(arguments: RulesArguments) -> int:
    if arguments.command == "plan":
        from pullahead.cli.planning import run_plan  # noqa: PLC0415

        return run_plan(arguments)
    if arguments.command == "check":
        from pullahead.cli.checking import run_check  # noqa: PLC0415

        return run_check(arguments)
    from pullahead.cli.syncing import run_sync  # noqa: PLC0415

    return run_sync(arguments)
