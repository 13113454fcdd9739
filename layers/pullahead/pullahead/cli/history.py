"""`pullahead history`: which states a mirror was in, and for how long."""

import argparse
from collections.abc import Sequence
from datetime import datetime, timedelta

from pullahead.cli.options import add_output_options, describe
from pullahead.cli.output import DONE, write_result
from pullahead.cli.stack import (
    DeployedStack,
    add_mirror_argument,
    add_stack_options,
    deployed_stack,
    now,
)
from pullahead.errors import ConfigError
from pullahead.mirrors.record import Transition, transitions_of
from pullahead.rules.mirror_key import MirrorKey
from pullahead.text import moment_text, span_text

_MAX_DAYS = 30  # as long as transitions are kept


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Show which states a mirror of the deployed stack was in, when each began, and how long it lasted.",
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
    document = [{"at": each.at, "state": each.state} for each in transitions]
    text = "\n".join(history_lines(transitions, at))
    write_result(arguments, text, {"mirror": str(mirror), "transitions": document})
    return DONE


def history_lines(transitions: Sequence[Transition], at: datetime) -> list[str]:
    """Describe when each state began, and how long it lasted."""
    lines = []
    for number, each in enumerate(transitions, 1):
        is_last = number == len(transitions)
        span = span_text((at if is_last else transitions[number].at) - each.at)
        lines.append(f"{moment_text(each.at)}  {each.state.value:<8} {span}{' so far' if is_last else ''}")
    return lines


def _parse_days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a number of days from 1 to {_MAX_DAYS}")
    return int(text)
