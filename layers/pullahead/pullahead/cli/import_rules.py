"""`pullahead import`: a rules file from another tool's configuration, and a list of what could not be converted."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from pullahead.cli.options import STDIN, add_output_options, describe, parse_file, parsed_by
from pullahead.cli.output import DONE, say, write_document, write_text
from pullahead.errors import ConfigError
from pullahead.oci import parse_host
from pullahead.rules.importers import ImportResult, import_rules, write_valid_rules
from pullahead.rules.problems import MAX_DOCUMENT_BYTES
from pullahead.text import count_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Convert the configuration of regsync or skopeo sync to a rules file. A line on stderr names each setting that "
        "has no equivalent. Credentials are never copied.",
        "import regsync.yml --output rules.yaml",
    )
    parser.add_argument(
        "source", metavar="FILE", type=parsed_by(_parse_source), help="File of regsync or skopeo sync, - for stdin"
    )
    parser.add_argument("--output", metavar="FILE", type=Path, help="Write the rules to this new file, not to stdout")
    parser.add_argument(
        "--prefix",
        metavar="NAME",
        default="mirror",
        help="First part of repository names if FILE has no targets, as for skopeo (default: mirror)",
    )
    parser.add_argument(
        "--target",
        metavar="HOST",
        type=parsed_by(parse_host),
        help="Convert the targets in this registry, of several in FILE (default: the first of Amazon ECR)",
    )
    add_output_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, convert, write, and report what is missing."""
    source: Path | None = arguments.source
    name = source.name if source is not None else "stdin"
    result = import_rules(_read(source, name), source=name, prefix=arguments.prefix, target=arguments.target)
    text = write_valid_rules(result, source=source.name if source is not None else STDIN)
    if arguments.output is not None:
        _write(arguments.output, text)
    if arguments.json:
        left_out = [left._asdict() for left in result.left_out]
        write_document({"rules": text, "mirrors": len(result.mirrors), "left_out": left_out})
    else:
        if arguments.output is None:
            write_text(text.rstrip("\n"))
        _report(result, quiet=arguments.quiet)
    return DONE


def _report(result: ImportResult, *, quiet: bool) -> None:
    for left in result.left_out:
        say(f"not converted: {left.where}: {left.message}")
    if not quiet:
        converted = f"converted {count_text(len(result.mirrors), 'mirror')} from {result.tool}"
        say(f"{converted}; {count_text(len(result.left_out), 'setting')} not converted")


def _parse_source(text: str) -> Path | None:
    return None if text == STDIN else parse_file(text)


def _read(path: Path | None, name: str) -> str:
    with nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as file:
        content = file.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_DOCUMENT_BYTES:,} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8. Save it as UTF-8.") from error


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} already exists; choose another file for --output, or remove it first") from error
