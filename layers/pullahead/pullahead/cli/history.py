"""`pullahead history`: when a mirror entered which state."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pullahead.cli.exits import DONE
from pullahead.cli.output import write_document, write_text
from pullahead.cli.stack import DeployedStack, now
from pullahead.cli.stack_arguments import HistoryArguments
from pullahead.dashboard.spans import moment_text, span_text
from pullahead.errors import ConfigError
from pullahead.mirrors.record import Transition, transitions_of


def run_history(arguments: HistoryArguments, stack: DeployedStack) -> int:
    """Show the transitions of one mirror, oldest first."""
    at, key = now(), arguments.mirror
    record = stack.records.load([key]).get(key)
    if record is None:
        raise ConfigError(f"nothing is known of {key}; `pullahead status` lists what is")
    found = transitions_of(record, at - timedelta(days=arguments.days))
    if arguments.json:
        write_document({"mirror": str(key), "transitions": [{"at": each.at, "state": each.state} for each in found]})
    elif not arguments.quiet:
        write_text("\n".join(history_lines(found, at)))
    return DONE


def history_lines(transitions: Sequence[Transition], at: datetime) -> list[str]:
    """Say when each state began, and how long it lasted."""
    lines = []
    for number, each in enumerate(transitions, 1):
        is_last = number == len(transitions)
        span = span_text((at if is_last else transitions[number].at) - each.at)
        lines.append(f"{moment_text(each.at)}  {each.state.value:<8} {span}{' until now' if is_last else ''}")
    return lines
