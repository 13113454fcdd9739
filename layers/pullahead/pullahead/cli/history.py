"""`pullahead history`: which states a mirror was in, for how long, what led to them, and why."""

import argparse
import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta

from pullahead.cli.options import add_output_options, describe
from pullahead.cli.output import DONE, terminal_width, write_result
from pullahead.cli.stack import (
    DeployedStack,
    add_mirror_argument,
    add_stack_options,
    deployed_stack,
    now,
)
from pullahead.dashboard.states import trigger_text
from pullahead.errors import ConfigError
from pullahead.mirrors.record import Transition, transitions_of
from pullahead.rules.mirror_key import MirrorKey
from pullahead.text import moment_text, one_line, span_text

_INDENT = " " * 6
_MAX_DAYS = 30  # as long as transitions are kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Show which states a mirror of the deployed stack was in, when each began, how long it lasted, what made "
        "Pullahead notice (schedule, webhook, push, ...), and why. The last ten states keep their causes.",
        "history mirror/python:3.13 --days 30",
    )
    add_mirror_argument(parser)
    parser.add_argument(
        "--days", metavar="N", type=_parse_days, default=7, help=f"Days to look back, 1 to {_MAX_DAYS} (default: 7)"
    )
    add_stack_options(parser)
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command against the deployed stack."""
    with deployed_stack(arguments) as stack:
        return show_history(arguments, stack)


def show_history(arguments: argparse.Namespace, stack: DeployedStack) -> int:
    """Show the transitions of one mirror, oldest first."""
    mirror: MirrorKey = arguments.mirror
    at = now()
    record = stack.records.load([mirror]).get(mirror)
    if record is None:
        raise ConfigError(f"{mirror} has no record; run `pullahead status` to list all mirrors")
    transitions = transitions_of(record, at - timedelta(days=arguments.days))
    document = [
        {
            "at": each.at,
            "state": each.state,
            "trigger": each.trigger or None,
            "sender": each.sender or None,
            "cause": one_line(each.cause) or None,
        }
        for each in transitions
    ]
    text = "\n".join(history_lines(transitions, at, terminal_width()))
    write_result(arguments, text, {"mirror": str(mirror), "transitions": document})
    return DONE


def history_lines(transitions: Sequence[Transition], at: datetime, width: int | None = None) -> list[str]:
    """Describe when each state began, how long it lasted, and why; causes are wrapped to `width` characters."""
    spans = [_span(transitions, number, at) for number in range(len(transitions))]
    span_width = max(map(len, spans), default=0)
    lines = []
    for each, span in zip(transitions, spans, strict=True):
        head = f"{moment_text(each.at)}  {each.state.value:<8} "
        why = ": ".join(filter(None, (trigger_text(each.trigger, each.sender), one_line(each.cause))))
        if not why:
            lines.append(f"{head}{span}")
        elif width is None or len(head) + span_width + 2 + len(why) <= width:
            lines.append(f"{head}{span:<{span_width}}  {why}")
        else:
            lines += [f"{head}{span}", *textwrap.wrap(why, width, initial_indent=_INDENT, subsequent_indent=_INDENT)]
    return lines


def _span(transitions: Sequence[Transition], number: int, at: datetime) -> str:
    is_last = number == len(transitions) - 1
    until = at if is_last else transitions[number + 1].at
    return f"{span_text(until - transitions[number].at)}{' so far' if is_last else ''}"


def _parse_days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number of days from 1 to {_MAX_DAYS}")
    return int(text)
