"""The command line, parsed once into types. Decides what may be asked for; asks for nothing."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from pullahead.cli.exits import USAGE
from pullahead.cli.failing import say
from pullahead.cli.stack_arguments import StackArguments, add_stack_commands, stack_arguments_of
from pullahead.oci.platforms import is_platform
from pullahead.oci.reference import InvalidReferenceError, Reference, Repository, parse_host, parse_reference

RULES_FILE = "layers/rules/rules.yaml"
STDIN = "-"
_BY_RULES = {
    "plan": "show which tags the rules choose, how each stands, and what a refresh takes",
    "check": "compare what the rules name with what the target serves (3: something is not fresh)",
    "sync": "copy what the rules name and the target does not serve",
}
_EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 nothing to do, 130 interrupted."

_Parsed = TypeVar("_Parsed")


class Common(NamedTuple):
    """What every command takes."""

    insecure: frozenset[str]
    ca: Path | None
    json: bool
    quiet: bool


class CopyArguments(NamedTuple):
    """`pullahead copy`."""

    source: Reference
    target: Reference
    platforms: tuple[str, ...]
    foreign_layers: bool
    common: Common


class TagsArguments(NamedTuple):
    """`pullahead tags`."""

    repository: Repository
    common: Common


class InspectArguments(NamedTuple):
    """`pullahead inspect`."""

    reference: Reference
    platforms: tuple[str, ...]
    common: Common


class ImportArguments(NamedTuple):
    """`pullahead import`."""

    source: Path
    output: Path | None
    prefix: str
    json: bool
    quiet: bool


class ValidateArguments(NamedTuple):
    """`pullahead validate`."""

    file: str
    schema: bool
    json: bool
    quiet: bool


class RulesArguments(NamedTuple):
    """`pullahead plan`, `check` and `sync`. Without a registry the target is the account's ECR."""

    command: str
    file: str
    registry: str | None
    only: frozenset[str]
    common: Common


Arguments = (
    CopyArguments
    | TagsArguments
    | InspectArguments
    | ImportArguments
    | ValidateArguments
    | RulesArguments
    | StackArguments
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Parse a command line; where it makes no sense, say so in one line and exit with 2."""
    parsed = _make_parser().parse_args(arguments)
    if (about_stack := stack_arguments_of(parsed)) is not None:
        return about_stack
    if parsed.command == "validate":
        return ValidateArguments(parsed.file, parsed.schema, parsed.json, parsed.quiet)
    if parsed.command == "import":
        return ImportArguments(parsed.source, parsed.output, parsed.prefix, parsed.json, parsed.quiet)
    common = Common(frozenset(parsed.insecure), parsed.ca, parsed.json, parsed.quiet)
    if parsed.command in _BY_RULES:
        return RulesArguments(parsed.command, parsed.file, parsed.registry, frozenset(parsed.only), common)
    if parsed.command == "copy":
        return CopyArguments(parsed.source, parsed.target, tuple(parsed.platform), parsed.foreign_layers, common)
    if parsed.command == "tags":
        return TagsArguments(parsed.repository, common)
    return InspectArguments(parsed.reference, tuple(parsed.platform), common)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{message} (see {self.prog} --help)")
        sys.exit(USAGE)


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "pullahead", description="Copy images between registries, look at them, and mirror by rules.", epilog=_EPILOG
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    copy = _add(commands, "copy", "copy one image from any registry to any other")
    copy.add_argument(
        "source", metavar="SOURCE", type=_parsed_by(parse_reference), help="like docker.io/library/python:3.13"
    )
    copy.add_argument("target", metavar="TARGET", type=_parsed_by(_parse_target), help="where its tag is to be")
    _add_platform(copy, "copy this platform of an index only")
    copy.add_argument(
        "--foreign-layers", action="store_true", help="copy layers that the source names by URL only, too"
    )

    tags = _add(commands, "tags", "list the tags of a repository, one a line")
    tags.add_argument(
        "repository", metavar="REPOSITORY", type=_parsed_by(_parse_repository), help="like quay.io/team/app"
    )

    inspect = _add(commands, "inspect", "show what a reference names: manifests, blobs, sizes, referrers")
    inspect.add_argument("reference", metavar="REFERENCE", type=_parsed_by(parse_reference), help="by tag or by digest")
    _add_platform(inspect, "show this platform of an index only")
    _add_import(commands)
    _add_validate(commands)
    for name, summary in _BY_RULES.items():
        _add_by_rules(commands, name, summary)
    add_stack_commands(partial(_add_plain, commands))
    return parser


def _add_import(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = _add_plain(commands, "import", "write rules from a file of regsync or skopeo sync")
    command.add_argument("source", metavar="FILE", type=_parsed_by(_parse_file), help="regsync.yml or skopeo.yml")
    command.add_argument("--output", metavar="FILE", type=Path, help="write the rules here; it must not be there yet")
    command.add_argument(
        "--prefix",
        metavar="NAME",
        default="mirror",
        help="name repositories so, where the file names no targets (skopeo; mirror by default)",
    )


def _add_validate(commands: "argparse._SubParsersAction[_Parser]") -> None:
    command = _add_plain(commands, "validate", "say what is wrong with a rules file, all of it")
    command.add_argument("file", metavar="FILE", nargs="?", default=RULES_FILE, help=f"{RULES_FILE}, or - for stdin")
    command.add_argument("--schema", action="store_true", help="write the JSON Schema of rules files instead")


def _add_by_rules(commands: "argparse._SubParsersAction[_Parser]", name: str, summary: str) -> None:
    command = _add(commands, name, summary)
    command.add_argument("file", metavar="FILE", nargs="?", default=RULES_FILE, help=f"{RULES_FILE}, or - for stdin")
    command.add_argument(
        "--registry",
        metavar="HOST",
        type=_parsed_by(parse_host),
        help="the target is this registry instead of the ECR of the AWS account",
    )
    command.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="only the rule of this name (may be given again)",
    )


def _add_plain(commands: "argparse._SubParsersAction[_Parser]", name: str, summary: str) -> argparse.ArgumentParser:
    """Add a command that talks to no registry."""
    command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=_EPILOG)
    command.add_argument("--json", action="store_true", help="write the result as one JSON document")
    command.add_argument("--quiet", action="store_true", help="write errors only")
    return command


def _add(commands: "argparse._SubParsersAction[_Parser]", name: str, summary: str) -> argparse.ArgumentParser:
    command = _add_plain(commands, name, summary)
    command.add_argument(
        "--insecure",
        metavar="HOST",
        action="append",
        default=[],
        type=_parsed_by(parse_host),
        help="allow plain HTTP and private addresses for this host (may be given again)",
    )
    command.add_argument(
        "--ca",
        metavar="FILE",
        type=_parsed_by(_parse_file),
        help="trust the certificates in this file (or SSL_CERT_FILE)",
    )
    return command


def _add_platform(command: argparse.ArgumentParser, summary: str) -> None:
    command.add_argument(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        action="append",
        default=[],
        type=_parsed_by(_parse_platform),
        help=f"{summary} (may be given again)",
    )


def _parsed_by(parse: Callable[[str], _Parsed]) -> Callable[[str], _Parsed]:
    """Let argparse show what our own parsers say is wrong."""

    def parse_argument(text: str) -> _Parsed:
        try:
            return parse(text)
        except (InvalidReferenceError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


def _parse_target(text: str) -> Reference:
    reference = parse_reference(text)
    if reference.digest is not None:
        raise ValueError("a target is named by its tag; the digest is the source's")
    return reference


def _parse_repository(text: str) -> Repository:
    reference = parse_reference(text, default_tag=None)
    if reference.tag is not None or reference.digest is not None:
        raise ValueError("a repository is named without tag and digest")
    return reference.repository


def _parse_platform(text: str) -> str:
    if not is_platform(text):
        raise ValueError(f"{text[:80]!r} is no platform; write it like linux/amd64 or linux/arm/v7")
    return text


def _parse_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text!r} is no file")
    return path
