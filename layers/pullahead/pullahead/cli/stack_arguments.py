"""The commands that are about a deployed stack, parsed into types. Decides what may be asked for; asks for nothing."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from pullahead.oci.reference import InvalidReferenceError, parse_reference
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.values import is_repository_name

STACK = "pullahead"
RULES = "layers/rules/rules.yaml"
_MAX_DAYS = 30  # for so long transitions are kept

AddCommand = Callable[[str, str], argparse.ArgumentParser]
"""Adds a command with its summary, and the options that every command has."""


class Place(NamedTuple):
    """Where Pullahead is deployed: the name of its stack, or only its table of records."""

    stack: str
    table: str | None


class StatusArguments(NamedTuple):
    """`pullahead status`."""

    place: Place
    stale: bool
    prefix: str
    watch: bool
    rules: str
    json: bool
    quiet: bool


class HistoryArguments(NamedTuple):
    """`pullahead history`."""

    place: Place
    mirror: MirrorKey
    days: int
    json: bool
    quiet: bool


class WhyArguments(NamedTuple):
    """`pullahead why`."""

    place: Place
    mirror: MirrorKey
    ask: bool
    insecure: frozenset[str]
    rules: str
    json: bool
    quiet: bool


class RefreshArguments(NamedTuple):
    """`pullahead refresh`."""

    place: Place
    mirror: MirrorKey
    rules: str
    json: bool
    quiet: bool


class PauseArguments(NamedTuple):
    """`pullahead pause` and `pullahead resume`."""

    place: Place
    rule: str
    paused: bool
    rules: str
    json: bool
    quiet: bool


class DeadLettersArguments(NamedTuple):
    """`pullahead dead-letters list`, `redrive` and `drop`. Without ids all are meant."""

    place: Place
    action: str
    ids: tuple[str, ...]
    yes: bool
    force: bool
    json: bool
    quiet: bool


StackArguments = (
    StatusArguments | HistoryArguments | WhyArguments | RefreshArguments | PauseArguments | DeadLettersArguments
)


def add_stack_commands(add: AddCommand) -> None:
    """Add the commands."""
    _add_status(add)
    history = _placed(add("history", "show what became of a mirror"))
    _add_mirror(history)
    history.add_argument("--days", metavar="N", type=_parse_days, default=7, help="how far back (7; at most 30)")
    why = _placed(add("why", "explain how a mirror stands, step by step"))
    _add_mirror(why)
    why.add_argument("--ask", action="store_true", help="ask upstream and ECR now: one HEAD and one DescribeImages")
    why.add_argument(
        "--insecure", metavar="HOST", action="append", default=[], help="with --ask: allow plain HTTP to this host"
    )
    refresh = _placed(add("refresh", "check a mirror now and refresh it if it is not fresh, put off by nothing"))
    _add_mirror(refresh)
    pause = _placed(add("pause", "leave the mirrors of a rule alone until it is resumed"))
    resume = _placed(add("resume", "go on with a rule that was paused"))
    for command in (pause, resume):
        command.add_argument("rule", metavar="RULE", help="its name; without `name`, its upstream")
    for command in (why, refresh, pause, resume):
        _add_rules(command)
    _add_dead_letters(add("dead-letters", "show what was put aside and why; put it back, or delete it"))


def stack_arguments_of(parsed: argparse.Namespace) -> StackArguments | None:
    """Read one of these commands; None for any other."""
    if parsed.command not in ("status", "history", "why", "refresh", "pause", "resume", "dead-letters"):
        return None
    place, json, quiet = Place(parsed.stack, parsed.table), parsed.json, parsed.quiet
    if parsed.command == "dead-letters":
        ids = () if parsed.all else tuple(parsed.ids)
        return DeadLettersArguments(place, parsed.action, ids, parsed.yes, parsed.force, json, quiet)
    if parsed.command == "status":
        return StatusArguments(place, parsed.stale, parsed.prefix, parsed.watch, parsed.rules, json, quiet)
    if parsed.command == "history":
        return HistoryArguments(place, parsed.mirror, parsed.days, json, quiet)
    if parsed.command == "why":
        insecure = frozenset(parsed.insecure)
        return WhyArguments(place, parsed.mirror, parsed.ask, insecure, parsed.rules, json, quiet)
    if parsed.command == "refresh":
        return RefreshArguments(place, parsed.mirror, parsed.rules, json, quiet)
    return PauseArguments(place, parsed.rule, parsed.command == "pause", parsed.rules, json, quiet)


def _add_status(add: AddCommand) -> None:
    status = _placed(add("status", "show how every mirror stands, worst first"))
    status.add_argument("--stale", action="store_true", help="only what is not fresh")
    status.add_argument("--prefix", default="", metavar="TEXT", help="only mirrors whose repository:tag begins so")
    status.add_argument("--watch", action="store_true", help="show it anew every 5 seconds, until Ctrl-C")
    _add_rules(status)


def _add_dead_letters(command: argparse.ArgumentParser) -> None:
    command.set_defaults(stack=STACK, table=None, ids=[], all=False, yes=False, force=False)
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)
    summaries = {
        "list": "show them, the oldest first: what each asks, and why it was put aside",
        "redrive": "put each back into the queue that it came from",
        "drop": "delete them for good",
    }
    for name, summary in summaries.items():
        action = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        for option, about in (("--json", "write the result as one JSON document"), ("--quiet", "write errors only")):
            action.add_argument(option, action="store_true", default=argparse.SUPPRESS, help=about)
        action.add_argument("--stack", metavar="NAME", default=argparse.SUPPRESS, help=f"the deployed stack ({STACK})")
        if name == "list":
            continue
        which = action.add_mutually_exclusive_group(required=True)
        which.add_argument("ids", metavar="ID", nargs="*", type=_parse_id, default=[], help="as list shows it")
        which.add_argument("--all", action="store_true", help="all of them (1000 of each queue at once)")
        action.add_argument("--yes", action="store_true", help="do not ask")
        if name == "redrive":
            action.add_argument("--force", action="store_true", help="also what nobody would understand")


def _placed(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    place = command.add_mutually_exclusive_group()
    place.add_argument("--stack", metavar="NAME", default=STACK, help=f"the deployed stack ({STACK})")
    place.add_argument("--table", metavar="NAME", help="the table of records, where the stack may not be described")
    return command


def _add_mirror(command: argparse.ArgumentParser) -> None:
    command.add_argument("mirror", metavar="MIRROR", type=_parse_mirror, help="repository:tag, as it is in ECR")


def _add_rules(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--rules", metavar="FILE", default=RULES, help=f"the rules file that was deployed ({RULES}; not with RulesUri)"
    )


def _parse_mirror(text: str) -> MirrorKey:
    repository, _, tag = text.rpartition(":")
    if not is_repository_name(repository) or not _is_tag(tag):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no mirror; write it like mirror/python:3.13")
    return MirrorKey(repository, tag)


def _is_tag(text: str) -> bool:
    try:
        return parse_reference(f"example.com/a:{text}").tag == text
    except InvalidReferenceError:
        return False


def _parse_id(text: str) -> str:
    if not 4 <= len(text) <= 36 or not set(text) <= set("0123456789abcdef-"):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no id; `pullahead dead-letters list` shows them")
    return text


def _parse_days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_DAYS:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no number of days from 1 to {_MAX_DAYS}")
    return int(text)
