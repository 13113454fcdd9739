"""A tree of manifests for people and for programs. Pure."""

from collections.abc import Iterator
from typing import Any

from pullahead.cli.texts import count_text, one_line, size_text
from pullahead.cli.tree import Node, Tree
from pullahead.oci import Descriptor, Digest, Reference, media_types
from pullahead.registry.listings import Referrer


def tree_text(reference: Reference, tree: Tree) -> str:
    """Draw a tree, one line for each manifest, blob and referrer; a manifest that comes again is not drawn again."""
    blobs = tree.blobs
    total = size_text(sum(blob.size for blob in blobs))
    lines = [str(reference), *_lines(tree, tree.root.digest, "", "", set())]
    lines.append(f"{count_text(len(tree.nodes), 'manifest')}, {count_text(len(blobs), 'blob')}, {total}")
    return "\n".join(map(_safe_line, lines))


def tree_document(reference: Reference, tree: Tree) -> dict[str, Any]:
    """Describe a tree as a JSON document: manifests in a list, which name each other by digest."""
    blobs = tree.blobs
    return {
        "reference": str(reference),
        "digest": tree.root.digest,
        "manifests": [_node_document(tree, node) for node in tree.nodes.values()],
        "blobs": len(blobs),
        "bytes": sum(blob.size for blob in blobs),
    }


def _lines(tree: Tree, digest: Digest, platform: str, indent: str, drawn: set[Digest]) -> Iterator[str]:
    node = tree.nodes[digest]
    yield f"{indent}{_head(node, platform)}{' (see above)' if digest in drawn else ''}"
    if digest in drawn or node.manifest is None:
        return
    drawn.add(digest)
    below = f"{indent}  "
    for blob in node.manifest.blobs:
        yield f"{below}blob {blob.digest} {size_text(blob.size)} {blob.media_type}"
    for referrer in node.referrers.found:
        yield f"{below}referrer {referrer.descriptor.digest} {_kind(referrer)}"
    if node.referrers.error:
        yield f"{below}referrers unknown: {node.referrers.error}"
    for child in node.manifest.children:
        yield from _lines(tree, child.digest, node.platforms.get(child.digest, ""), below, drawn)


def _safe_line(line: str) -> str:
    """Make a line safe for a terminal without losing its place in the tree."""
    depth = len(line) - len(line.lstrip(" "))
    return " " * depth + one_line(line)


def _head(node: Node, platform: str) -> str:
    descriptor = node.descriptor
    kind = "index" if descriptor.media_type in media_types.INDEXES else "manifest"
    words = [kind, descriptor.digest, platform, node.artifact_type, size_text(descriptor.size), descriptor.media_type]
    if node.manifest is None:
        words.append("(not there)")
    return " ".join(word for word in words if word)


def _kind(referrer: Referrer) -> str:
    return referrer.artifact_type or referrer.descriptor.media_type


def _node_document(tree: Tree, node: Node) -> dict[str, Any]:
    manifest = node.manifest
    document: dict[str, Any] = {**_descriptor(node.descriptor), "present": manifest is not None}
    platforms = {
        owner.platforms[node.descriptor.digest]
        for owner in tree.nodes.values()
        if node.descriptor.digest in owner.platforms
    }
    document["platform"] = next((platform for platform in sorted(platforms) if platform), None)
    document["artifact_type"] = node.artifact_type or None
    document["manifests"] = [child.digest for child in manifest.children] if manifest is not None else []
    document["blobs"] = [_descriptor(blob) for blob in manifest.blobs] if manifest is not None else []
    document["referrers"] = [
        {**_descriptor(referrer.descriptor), "artifact_type": referrer.artifact_type or None}
        for referrer in node.referrers.found
    ]
    document["referrers_error"] = node.referrers.error or None
    return document


def _descriptor(descriptor: Descriptor) -> dict[str, Any]:
    return {"digest": descriptor.digest, "media_type": descriptor.media_type, "size": descriptor.size}
