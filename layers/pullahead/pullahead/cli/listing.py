"""`pullahead tags`: the tags of a repository, one a line."""

from pullahead.cli.arguments import TagsArguments
from pullahead.cli.connections import Connections
from pullahead.cli.exits import DONE
from pullahead.cli.output import write_document, write_text


def run_tags(arguments: TagsArguments) -> int:
    """List tags in the registry's order."""
    repository, common = arguments.repository, arguments.common
    tags = Connections(common).upstream().list_tags(repository)
    if common.json:
        write_document({"repository": str(repository), "tags": tags})
    elif tags and not common.quiet:
        write_text("\n".join(tags))
    return DONE
