"""`pullahead tags`: the tags of a repository, one per line."""

import argparse

from pullahead.cli.options import RegistryOptions, add_registry_options, describe, parsed_by
from pullahead.cli.output import DONE, write_document, write_text
from pullahead.cli.registries import Registries
from pullahead.oci import Repository
from pullahead.oci.reference import parse_reference


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(parser, "List every tag of a repository, one per line, in the registry's order.", "tags quay.io/team/app")
    parser.add_argument(
        "repository", metavar="REPOSITORY", type=parsed_by(_parse_repository), help="For example: alpine"
    )
    add_registry_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """List tags in the registry's order."""
    repository: Repository = arguments.repository
    tags = Registries(RegistryOptions.of(arguments)).upstream().list_tags(repository)
    if arguments.json:
        write_document({"repository": str(repository), "tags": tags})
    elif tags and not arguments.quiet:
        write_text("\n".join(tags))
    return DONE


def _parse_repository(text: str) -> Repository:
    reference = parse_reference(text, default_tag=None)
    if reference.tag is not None or reference.digest is not None:
        raise ValueError("REPOSITORY must have no tag and no digest")
    return reference.repository
