"""The command line, parsed once into types. Decides what may be asked for; asks for nothing."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from pullahead.cli.exits import USAGE
from pullahead.cli.failing import say
from pullahead.oci.reference import InvalidReferenceError, Reference, Repository, parse_host, parse_reference

_PLATFORM = re.compile(r"[a-z0-9]+(?:/[A-Za-z0-9._-]+){1,2}")
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


Arguments = CopyArguments | TagsArguments | InspectArguments


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Parse a command line; where it makes no sense, say so in one line and exit with 2."""
    parsed = _make_parser().parse_args(arguments)
    common = Common(frozenset(parsed.insecure), parsed.ca, parsed.json, parsed.quiet)
    if parsed.command == "copy":
        return CopyArguments(parsed.source, parsed.target, tuple(parsed.platform), common)
    if parsed.command == "tags":
        return TagsArguments(parsed.repository, common)
    return InspectArguments(parsed.reference, tuple(parsed.platform), common)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{message} (see {self.prog} --help)")
        sys.exit(USAGE)


def _make_parser() -> argparse.ArgumentParser:
    parser = _Parser("pullahead", description="Copy images between registries, and look at them.", epilog=_EPILOG)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    copy = _add(commands, "copy", "copy one image from any registry to any other")
    copy.add_argument(
        "source", metavar="SOURCE", type=_parsed_by(parse_reference), help="like docker.io/library/python:3.13"
    )
    copy.add_argument("target", metavar="TARGET", type=_parsed_by(_parse_target), help="where its tag is to be")
    _add_platform(copy, "copy this platform of an index only")

    tags = _add(commands, "tags", "list the tags of a repository, one a line")
    tags.add_argument(
        "repository", metavar="REPOSITORY", type=_parsed_by(_parse_repository), help="like quay.io/team/app"
    )

    inspect = _add(commands, "inspect", "show what a reference names: manifests, blobs, sizes, referrers")
    inspect.add_argument("reference", metavar="REFERENCE", type=_parsed_by(parse_reference), help="by tag or by digest")
    _add_platform(inspect, "show this platform of an index only")
    return parser


def _add(commands: "argparse._SubParsersAction[_Parser]", name: str, summary: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=_EPILOG)
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
    command.add_argument("--json", action="store_true", help="write the result as one JSON document")
    command.add_argument("--quiet", action="store_true", help="write errors only")
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
    if _PLATFORM.fullmatch(text) is None:
        raise ValueError(f"{text[:80]!r} is no platform; write it like linux/amd64 or linux/arm/v7")
    return text


def _parse_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"{text!r} is no file")
    return path
