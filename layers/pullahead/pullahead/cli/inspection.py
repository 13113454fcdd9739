"""`pullahead inspect`: what a reference names."""

from pullahead.cli.arguments import InspectArguments
from pullahead.cli.connections import Connections
from pullahead.cli.exits import DONE
from pullahead.cli.output import write_document, write_text
from pullahead.cli.tree import read_tree
from pullahead.cli.tree_views import tree_document, tree_text
from pullahead.oci import Descriptor
from pullahead.oci.platforms import select_platforms


def run_inspect(arguments: InspectArguments) -> int:
    """Read the tree below a reference, or below the platforms that were chosen, and show it."""
    reference, common = arguments.reference, arguments.common
    registry = Connections(common).upstream()
    root = select_platforms(registry.get_manifest(reference), arguments.platforms, str(reference))
    if isinstance(root, Descriptor):
        root = registry.get_manifest(reference.at(root.digest))
    tree = read_tree(reference, root, registry)
    if common.json:
        write_document(tree_document(reference, tree))
    elif not common.quiet:
        write_text(tree_text(reference, tree))
    return DONE
