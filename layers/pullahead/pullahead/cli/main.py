"""`pullahead`: the table of commands, which of them runs, and the exit code of what it raises."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

import pullahead
from pullahead.cli.options import Parser, UsageError
from pullahead.cli.output import FAILED, USAGE
from pullahead.errors import PullaheadError, Side


class Command(NamedTuple):
    """A command, the module of this package that runs it, its line in `pullahead --help`, and whether it asks
    registries."""

    name: str
    module: str
    summary: str
    asks_registries: bool = False


COMMANDS: Final = (
    Command("copy", "copy", "Copy an image from one registry to another", asks_registries=True),
    Command("tags", "tags", "List the tags of a repository", asks_registries=True),
    Command("inspect", "inspect", "Show the manifests, blobs and referrers of an image", asks_registries=True),
    Command("verify", "verify", "Verify who signed an image, and what is attested of it", asks_registries=True),
    Command(
        "login-check", "login_check", "Try the credentials that are configured for a registry", asks_registries=True
    ),
    Command("validate", "validate", "Validate a rules file and report every problem"),
    Command("plan", "plan", "Show what the rules select and what a sync would copy", asks_registries=True),
    Command("check", "check", "Report tags at the target that are stale or missing", asks_registries=True),
    Command("sync", "sync", "Copy every stale or missing tag to the target", asks_registries=True),
    Command("import", "import_rules", "Convert a regsync or skopeo sync file to rules"),
    Command("status", "status", "Show the state of every mirror, worst first"),
    Command("history", "history", "Show which states a mirror was in, and for how long"),
    Command("why", "why", "Explain the state of a mirror, step by step"),
    Command("refresh", "refresh", "Check a mirror now and refresh it if stale, ignoring retry back-off"),
    Command("pause", "pause", "Stop checks and refreshes of a rule's mirrors"),
    Command("resume", "pause", "Resume checks and refreshes of a paused rule"),
    Command("prune", "prune", "Show which tags rules with `prune` would remove from ECR"),
    Command("held", "admission", "List the digests that tags may not serve yet"),
    Command("admit", "admission", "Let a tag serve a digest that is held"),
    Command("reject", "admission", "Never let a tag serve a digest"),
    Command("dead-letters", "dead_letters", "List, redrive or delete messages in the dead-letter queues"),
    Command("completion", "completion", "Write a completion script for bash, zsh or fish"),
)

_UPSTREAM_NAMES: Final = {"copy": "source", "tags": "registry", "inspect": "registry", "verify": "registry"}
"""What the side that is read is called in commands without rules."""
_LAYOUTS: Final = ("oci:", "oci-archive:", "docker-archive:")


def main(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Exits by itself on --help, --version and wrong usage."""
    return run_command(parse_arguments(arguments))


def run_command(parsed: argparse.Namespace) -> int:
    """Run a parsed command line, and turn what it raises into a line on stderr, a document and an exit code."""
    try:
        code: int = parsed.run(parsed)
    except BrokenPipeError:
        # The reader of our output closed it. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (PullaheadError, OSError) as error:
        from pullahead.cli.failures import report_failure  # noqa: PLC0415 - imports YAML

        upstream = _UPSTREAM_NAMES.get(parsed.command, Side.UPSTREAM)
        if upstream == "registry" and getattr(error, "reference", "").startswith(_LAYOUTS):
            upstream = "layout"
        report_failure(error, upstream, as_json=getattr(parsed, "json", False))
        return USAGE if isinstance(error, UsageError) else FAILED
    return code


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line. `run` of the result runs the command."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    name = next((argument for argument in arguments if not argument.startswith("-")), "")
    complete = [command for command in COMMANDS if command.name == name]
    has_own = any(argument.partition("=")[0] == "--ca" for argument in arguments)
    if any(command.asks_registries for command in complete) and not has_own:
        _read_certificates_ahead()
    return make_parser(complete, as_json="--json" in arguments).parse_args(arguments)


def make_parser(complete: Sequence[Command] = COMMANDS, *, as_json: bool = False) -> Parser:
    """Make the parser, with the arguments of the given commands and only the names of the others."""
    parser = Parser(
        "pullahead",
        as_json=as_json,
        description="Copy images between registries, keep mirrors fresh by rules, and operate a deployed Pullahead.",
        epilog="Run `pullahead help COMMAND` for the options, exit codes and examples of a command.",
    )
    parser.add_argument("--version", action="version", version=f"pullahead {pullahead.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        is_complete = command in complete  # the others are only named, and their parsers never run
        added = commands.add_parser(
            command.name, help=command.summary, description=f"{command.summary}.", add_help=is_complete
        )
        if is_complete:
            if command.asks_registries:
                # Not by the modules that need it: CPython maps and unmaps a piece of stack at each call beyond 16 KiB
                # of it, and so deep below other imports that takes 40 ms.
                import_module("requests")
            module = import_module(f"pullahead.cli.{command.module}")
            module.add_arguments(added)
            added.set_defaults(run=module.run)
    helper = commands.add_parser("help", help="Show the help of a command", description="Show the help of a command.")
    names = [command.name for command in COMMANDS]
    helper.add_argument("topic", metavar="COMMAND", nargs="*", choices=names, help="The command, and its action if any")
    return parser


def _read_certificates_ahead() -> None:
    """Read the certificates that a command trusts without --ca while it is imported, rather than 16 ms later."""
    path = os.environ.get("SSL_CERT_FILE")
    import_module("pullahead.registry.sockets").read_trust_ahead(str(Path(path)) if path else None)
