"""Runs a command about a deployed stack. Decides only which."""

from pullahead.cli.stack import DeployedStack, told_plainly
from pullahead.cli.stack_arguments import (
    DeadLettersArguments,
    HistoryArguments,
    RefreshArguments,
    StackArguments,
    StatusArguments,
    WhyArguments,
)


def run_stack_command(arguments: StackArguments) -> int:
    """Run it and return its exit code. Raises PullaheadError."""
    with told_plainly():
        return _run(arguments, DeployedStack(arguments.place))


def _run(arguments: StackArguments, stack: DeployedStack) -> int:
    if isinstance(arguments, StatusArguments):
        from pullahead.cli.status import run_status  # noqa: PLC0415

        return run_status(arguments, stack)
    if isinstance(arguments, HistoryArguments):
        from pullahead.cli.history import run_history  # noqa: PLC0415

        return run_history(arguments, stack)
    if isinstance(arguments, WhyArguments):
        from pullahead.cli.why import run_why  # noqa: PLC0415

        return run_why(arguments, stack)
    if isinstance(arguments, RefreshArguments):
        from pullahead.cli.refreshing import run_refresh  # noqa: PLC0415

        return run_refresh(arguments, stack)
    if isinstance(arguments, DeadLettersArguments):
        from pullahead.cli.dead_letters import run_dead_letters  # noqa: PLC0415

        return run_dead_letters(arguments, stack)
    from pullahead.cli.pausing import run_pause  # noqa: PLC0415

    return run_pause(arguments, stack)
