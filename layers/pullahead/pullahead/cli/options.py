"""Arguments that several commands share, and how a command line is refused: in one line, with exit code 2."""

import argparse
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from pullahead.cli.output import USAGE, say, write_failure
from pullahead.errors import ConfigError
from pullahead.oci.platforms import parse_platform
from pullahead.oci.reference import InvalidReferenceError, parse_host
from pullahead.settings import OWN_RULES, own_rules_or

EXAMPLE_RULES = "layers/rules/rules.yaml"
RULES_FILE_HELP = f"layers/rules/{OWN_RULES}, or else {EXAMPLE_RULES}"
STDIN = "-"

_Parsed = TypeVar("_Parsed")


class UsageError(ConfigError):
    """Options that do not fit together, or do not fit where the program runs."""


class Parser(argparse.ArgumentParser):
    """Writes what is wrong in one line. Options are not abbreviated, so that new ones break no script.

    `as_json` writes a document on stdout, too, since wrong usage is found before --json is read.
    """

    def __init__(self, *args: Any, as_json: bool = False, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, "formatter_class": _HelpFormatter, **options})
        self._as_json = as_json

    def add_subparsers(self, **options: Any) -> Any:
        """Add commands, whose parsers are like this one."""
        return super().add_subparsers(**{"parser_class": partial(type(self), as_json=self._as_json), **options})

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        line = f"{message} (see {self.prog} --help)"
        say(line)
        if self._as_json:
            write_failure(UsageError.__name__, line)
        sys.exit(USAGE)


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps paragraphs, but keeps the lines of those that have several; never at a hyphen, which a name may have."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = text.split("\n\n")
        return "\n\n".join(block if "\n" in block else "\n".join(_wrapped(block, width, indent)) for block in blocks)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(text, width)


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    words = " ".join(text.split())
    return textwrap.wrap(words, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


class RegistryOptions(NamedTuple):
    """How registries are reached.

    Hosts without verified HTTPS and public addresses, a file of certificates, and hosts of token services that may get
    the credentials of registries which name them.
    """

    insecure: frozenset[str] = frozenset()
    ca: Path | None = None
    token_hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "RegistryOptions":
        """Read the options of a command line."""
        return cls(frozenset(arguments.insecure), arguments.ca, frozenset(arguments.token_host))


def describe(
    parser: argparse.ArgumentParser, description: str, *examples: str, failed: str = "Failure", stale: str = ""
) -> None:
    """Set what `--help` says beside the options. `failed` and `stale` are what exit codes 1 and 3 mean."""
    codes = {
        0: "Success, also when there is nothing to do",
        1: failed,
        2: "Wrong usage",
        3: stale,
        130: "Interrupted",
    }
    parser.description = description
    parser.epilog = "\n".join(
        ("Exit codes:", *(f"  {code:<4} {meaning}" for code, meaning in codes.items() if meaning))
    )
    if examples:
        parser.epilog += "\n".join(("\n\nExamples:", *(f"  pullahead {example}" for example in examples)))


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes."""
    parser.add_argument("--json", action="store_true", help="Write the result as one JSON document")
    parser.add_argument("--quiet", action="store_true", help="Write nothing but errors and the document of --json")


def add_registry_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that connects to registries."""
    add_output_options(parser)
    parser.add_argument(
        "--insecure",
        metavar="HOST",
        action="append",
        default=[],
        type=parsed_by(parse_host),
        help="Allow plain HTTP and private addresses for this host (repeatable)",
    )
    parser.add_argument(
        "--ca",
        metavar="FILE",
        type=parsed_by(parse_file),
        help="Trust the CA certificates in this PEM file (default: $SSL_CERT_FILE, else the system's)",
    )
    parser.add_argument(
        "--token-host",
        metavar="HOST",
        action="append",
        default=[],
        type=parsed_by(parse_host),
        help="Let a registry of another domain have its credentials sent to this host, as its token service "
        "(repeatable)",
    )


def add_platform_option(parser: argparse.ArgumentParser, summary: str) -> None:
    """Add --platform."""
    parser.add_argument(
        "--platform",
        metavar="OS/ARCH[/VARIANT]",
        action="extend",
        default=[],
        type=parsed_by(_parse_platforms),
        help=f"{summary} (repeatable, or separated by commas)",
    )


def add_rules_file(parser: argparse.ArgumentParser) -> None:
    """Add the rules file as an optional argument."""
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default=default_rules_file(),
        help=f"The rules file, - for stdin (default: {RULES_FILE_HELP})",
    )


def default_rules_file() -> str:
    """Return the rules file that a deployment from the current folder takes."""
    return str(own_rules_or(Path(EXAMPLE_RULES)))


def parsed_by(parse: Callable[[str], _Parsed]) -> Callable[[str], _Parsed]:
    """Let argparse show the messages of our own parsers."""

    def parse_argument(text: str) -> _Parsed:
        try:
            return parse(text)
        except (InvalidReferenceError, ValueError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_argument


def parse_file(text: str) -> Path:
    """Check that a file exists. Raises ValueError."""
    path = Path(text)
    if path.is_dir():
        raise ValueError(f"{text!r} is a folder, not a file")
    if not path.is_file():
        raise ValueError(f"no such file: {text!r}")
    return path


def _parse_platforms(text: str) -> list[str]:
    return [str(parse_platform(platform.strip())) for platform in text.split(",")]
