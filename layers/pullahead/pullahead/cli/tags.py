"""`pullahead tags`: the tags of a repository, one per line."""

import argparse

from pullahead.cli.options import RegistryOptions, add_registry_options, describe, parsed_by
from pullahead.cli.output import DONE, write_document, write_text
from pullahead.cli.registries import Registries
from pullahead.layouts.names import parse_location
from pullahead.oci import Repository
from pullahead.rules.tag_patterns import sort_key

_ORDERS = ("registry", "version")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "List every tag of a repository, one per line, in the registry's order or from the oldest version on.",
        "tags quay.io/team/app",
        "tags quay.io/team/app --sort version | tail -5",
    )
    parser.add_argument(
        "repository", metavar="REPOSITORY", type=parsed_by(_parse_repository), help="For example: alpine, or oci:DIR"
    )
    parser.add_argument(
        "--sort",
        metavar="ORDER",
        choices=_ORDERS,
        default="registry",
        help="registry: as the registry lists them (default); version: the oldest first, after tags without a version",
    )
    add_registry_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """List tags."""
    repository: Repository = arguments.repository
    tags = Registries(RegistryOptions.of(arguments)).reader(repository).list_tags(repository)
    if arguments.sort == "version":
        tags = tuple(sorted(tags, key=sort_key))
    if arguments.json:
        write_document({"repository": str(repository), "tags": tags})
    elif tags and not arguments.quiet:
        write_text("\n".join(tags))
    return DONE


def _parse_repository(text: str) -> Repository:
    reference = parse_location(text)
    if reference.tag is not None or reference.digest is not None:
        raise ValueError("REPOSITORY must have no tag and no digest")
    return reference.repository
