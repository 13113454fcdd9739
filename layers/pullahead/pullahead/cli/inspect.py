"""`pullahead inspect`: a reference's manifests level by level, their blobs, and their referrers. Reads no blob."""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import msgspec

from pullahead.cli.options import RegistryOptions, add_platform_option, add_registry_options, describe, parsed_by
from pullahead.cli.output import DONE, write_result
from pullahead.cli.registries import Registries
from pullahead.errors import NotFoundError, RegistryError, ResponseTooLargeError, Side, UnsupportedMediaTypeError
from pullahead.layouts.names import complete_source, parse_location
from pullahead.map_in_threads import AT_ONCE, map_in_threads
from pullahead.oci import (
    Descriptor,
    Digest,
    InvalidManifestError,
    Manifest,
    RawManifest,
    Reference,
    media_types,
    parse_manifest,
)
from pullahead.oci.platforms import select_platforms
from pullahead.oci.referrers import Referrer, cosign_tags
from pullahead.text import count_text, one_line, size_text

_MAX_MANIFESTS = 1000
_MAX_BYTES = 32 * 1024 * 1024  # of all manifests together
_MAX_DEPTH = 20  # of indexes within indexes; two is already unusual
_MAX_REFERRERS = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Show everything that a reference names: its manifests with platform and size, their blobs, and the "
        "signatures, SBOMs and other artifacts that refer to them. No blob is downloaded.",
        "inspect docker.io/library/python:3.13",
        "inspect ghcr.io/team/app@sha256:... --platform linux/arm64 --json",
        "inspect ghcr.io/team/app:1 123456789012.dkr.ecr.eu-west-1.amazonaws.com/mirror/app:1",
        "inspect oci:images:3.13",
    )
    parser.add_argument(
        "reference",
        metavar="REFERENCE",
        type=parsed_by(parse_location),
        help="Image or artifact, by tag or by digest; also of a layout or an archive (oci:DIR, oci-archive:FILE)",
    )
    parser.add_argument(
        "copy",
        metavar="COPY",
        nargs="?",
        type=parsed_by(parse_location),
        help="A copy of it: show which of the referrers are there, too",
    )
    add_platform_option(parser, "Show only this platform of a multi-platform image")
    add_registry_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read the tree below a reference, or below the chosen platforms, and show it."""
    reference = complete_source(arguments.reference)
    registries = Registries(RegistryOptions.of(arguments))
    registry = registries.reader(reference.repository)
    root = select_platforms(registry.get_manifest(reference), tuple(arguments.platform), str(reference))
    if isinstance(root, Descriptor):
        root = registry.get_manifest(reference.at(root.digest))
    tree = read_tree(reference, root, registry)
    if arguments.copy is None:
        write_result(arguments, tree_text(reference, tree), tree_document(reference, tree))
        return DONE
    copy = complete_source(arguments.copy)
    sides = compare_referrers(tree, copy, registries.reader(copy.repository))
    text = f"{tree_text(reference, tree)}\n{sides_text(reference, copy, sides)}"
    write_result(arguments, text, {**tree_document(reference, tree), "copy": sides_document(copy, sides)})
    return DONE


class ReadsManifests(Protocol):
    """The registry that a tree is read from."""

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest."""
        ...

    def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
        """List the referrers of a manifest."""
        ...

    def find_manifest(self, reference: Reference) -> Descriptor | None:
        """Resolve a tag that may not exist."""
        ...


class Referrers(NamedTuple):
    """The referrers of a manifest, or why they are unknown; and what stands under cosign's tags of it."""

    listed: tuple[Referrer, ...] = ()
    error: str = ""
    tagged: tuple[tuple[str, Descriptor], ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Name each by its digest, those of cosign with their tag."""
        by_tag = (f"{tag}@{descriptor.digest}" for tag, descriptor in self.tagged)
        return frozenset([*(each.descriptor.digest for each in self.listed), *by_tag])


class ManifestNode(NamedTuple):
    """One manifest. `manifest` is None if an index names it and the registry does not have it."""

    descriptor: Descriptor
    manifest: Manifest | None
    artifact_type: str
    platforms: dict[Digest, str]
    referrers: Referrers


class Tree(NamedTuple):
    """A root and every manifest below it, each once."""

    root: Descriptor
    nodes: dict[Digest, ManifestNode]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Every blob once."""
        manifests = (node.manifest for node in self.nodes.values() if node.manifest is not None)
        return tuple({blob.digest: blob for manifest in manifests for blob in manifest.blobs}.values())


class _Platform(msgspec.Struct):
    os: str | None = None
    architecture: str | None = None
    variant: str | None = None


class _Child(msgspec.Struct):
    digest: str
    platform: _Platform | None = None


class _Document(msgspec.Struct, rename="camel"):
    artifact_type: str | None = None
    manifests: list[_Child] | None = None


def read_tree(reference: Reference, root: RawManifest, registry: ReadsManifests) -> Tree:
    """Read everything below a root. A child that is not found is no error."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        nodes = _read_nodes(reference, root, registry, pool)
        present = [node.descriptor.digest for node in nodes.values() if node.manifest is not None]
        count = 0
        read = map_in_threads(pool, lambda digest: (digest, _referrers(reference, digest, registry)), present)
        for digest, referrers in read:
            count += len(referrers.listed)
            if count > _MAX_REFERRERS:
                raise _failed(ResponseTooLargeError, f"it has more than {_MAX_REFERRERS} referrers", reference)
            nodes[digest] = nodes[digest]._replace(referrers=referrers)
    return Tree(root.descriptor, nodes)


def _read_nodes(
    reference: Reference, root: RawManifest, registry: ReadsManifests, pool: ThreadPoolExecutor
) -> dict[Digest, ManifestNode]:
    level = [_node(reference, root)]
    nodes = {root.descriptor.digest: level[0]}
    for _ in range(_MAX_DEPTH):
        children = _children(reference, level, nodes)
        if not children:
            return nodes
        level = []
        for node in map_in_threads(pool, lambda child: _read_node(reference, child, registry), children):
            level.append(node)
            nodes[node.descriptor.digest] = node
            _check_size(reference, nodes)
    raise _failed(ResponseTooLargeError, f"its indexes are nested more than {_MAX_DEPTH} deep", reference)


def _children(
    reference: Reference, level: Iterable[ManifestNode], nodes: dict[Digest, ManifestNode]
) -> list[Descriptor]:
    children = (child for node in level if node.manifest is not None for child in node.manifest.children)
    new = {child.digest: child for child in children if child.digest not in nodes}
    if len(nodes) + len(new) > _MAX_MANIFESTS:
        raise _failed(ResponseTooLargeError, f"it names more than {_MAX_MANIFESTS} manifests", reference)
    return list(new.values())


def _check_size(reference: Reference, nodes: dict[Digest, ManifestNode]) -> None:
    if sum(node.descriptor.size for node in nodes.values() if node.manifest is not None) > _MAX_BYTES:
        raise _failed(ResponseTooLargeError, f"its manifests have more than {_MAX_BYTES} bytes together", reference)


def _read_node(reference: Reference, child: Descriptor, registry: ReadsManifests) -> ManifestNode:
    try:
        return _node(reference, registry.get_manifest(reference.at(child.digest)))
    except NotFoundError:  # an index may name platforms that were not copied with it
        return ManifestNode(child, None, "", {}, Referrers())


def _referrers(reference: Reference, digest: Digest, registry: ReadsManifests) -> Referrers:
    try:
        tags = [(tag, registry.find_manifest(Reference(reference.repository, tag))) for tag in cosign_tags(digest)]
        tagged = tuple((tag, found) for tag, found in tags if found is not None)
        return Referrers(registry.list_referrers(reference, digest), tagged=tagged)
    except RegistryError as error:  # the rest of the tree is shown all the same
        return Referrers(error=str(error))


class Sides(NamedTuple):
    """What belongs to one manifest at both sides, named as `Referrers.names`; the errors of either, or none."""

    subject: Digest
    both: tuple[str, ...]
    missing: tuple[str, ...]
    more: tuple[str, ...]
    error: str = ""


def compare_referrers(tree: Tree, copy: Reference, registry: ReadsManifests) -> list[Sides]:
    """Compare what belongs to each manifest of a tree with what a copy has of it."""
    subjects = [node for node in tree.nodes.values() if node.manifest is not None]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        there = map_in_threads(pool, lambda node: _referrers(copy, node.descriptor.digest, registry), subjects)
        return [_sides(node, other) for node, other in zip(subjects, there, strict=True)]


def _sides(node: ManifestNode, other: Referrers) -> Sides:
    own, theirs = node.referrers.names, other.names
    error = node.referrers.error or other.error
    return Sides(
        node.descriptor.digest,
        tuple(sorted(own & theirs)),
        tuple(sorted(own - theirs)),
        tuple(sorted(theirs - own)),
        error,
    )


def sides_text(reference: Reference, copy: Reference, sides: Sequence[Sides]) -> str:
    """Draw both sides: the referrers of each manifest that only one of them has, and how many both have."""
    lines = [f"referrers at {copy}"]
    for each in sides:
        if each.error:
            lines.append(f"  {each.subject}: unknown: {each.error}")
        elif each.both or each.missing or each.more:
            lines.append(f"  {each.subject}: {len(each.both)} at both sides")
            lines += [f"    only at {reference.repository}: {name}" for name in each.missing]
            lines += [f"    only at {copy.repository}: {name}" for name in each.more]
    both, missing = sum(len(each.both) for each in sides), sum(len(each.missing) for each in sides)
    lines.append(f"{both} at both sides, {missing} missing at {copy}")
    return "\n".join(map(_safe_line, lines))


def sides_document(copy: Reference, sides: Sequence[Sides]) -> dict[str, Any]:
    """Describe both sides as JSON."""
    return {"reference": str(copy), "referrers": [each._asdict() | {"error": each.error or None} for each in sides]}


def _node(reference: Reference, raw: RawManifest) -> ManifestNode:
    try:
        manifest = parse_manifest(raw.content, raw.descriptor.media_type)
        document = msgspec.json.decode(raw.content, type=_Document)
    except (InvalidManifestError, msgspec.DecodeError) as error:
        raise _failed(UnsupportedMediaTypeError, str(error), reference.at(raw.descriptor.digest)) from error
    platforms = {Digest(child.digest): _platform_text(child.platform) for child in document.manifests or ()}
    return ManifestNode(raw.descriptor, manifest, document.artifact_type or "", platforms, Referrers())


def _platform_text(platform: _Platform | None) -> str:
    parts = (platform.os, platform.architecture, platform.variant) if platform is not None else ()
    return "/".join(part for part in parts if part)


def _failed(kind: type[RegistryError], cause: str, reference: Reference) -> RegistryError:
    return kind(cause, operation="inspect", side=Side.UPSTREAM, reference=str(reference))


def tree_text(reference: Reference, tree: Tree) -> str:
    """Draw a tree, a line for each manifest, blob and referrer. A repeated manifest is not drawn again."""
    blobs = tree.blobs
    total = size_text(sum(blob.size for blob in blobs))
    lines = [str(reference), *_lines(tree, tree.root.digest, "", "", set())]
    lines.append(f"{count_text(len(tree.nodes), 'manifest')}, {count_text(len(blobs), 'blob')}, {total}")
    return "\n".join(map(_safe_line, lines))


def tree_document(reference: Reference, tree: Tree) -> dict[str, Any]:
    """Describe a tree as a JSON document: a list of manifests, which name each other by digest."""
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
    for referrer in node.referrers.listed:
        yield f"{below}referrer {referrer.descriptor.digest} {_kind(referrer)}"
    for tag, descriptor in node.referrers.tagged:
        yield f"{below}tag {tag} {descriptor.digest}"
    if node.referrers.error:
        yield f"{below}referrers unknown: {node.referrers.error}"
    for child in node.manifest.children:
        yield from _lines(tree, child.digest, node.platforms.get(child.digest, ""), below, drawn)


def _safe_line(line: str) -> str:
    """Make a line safe for a terminal and keep its indentation."""
    depth = len(line) - len(line.lstrip(" "))
    return " " * depth + one_line(line)


def _head(node: ManifestNode, platform: str) -> str:
    descriptor = node.descriptor
    kind = "index" if descriptor.media_type in media_types.INDEXES else "manifest"
    words = [kind, descriptor.digest, platform, node.artifact_type, size_text(descriptor.size), descriptor.media_type]
    if node.manifest is None:
        words.append("(not found)")
    return " ".join(word for word in words if word)


def _kind(referrer: Referrer) -> str:
    return referrer.artifact_type or referrer.descriptor.media_type


def _node_document(tree: Tree, node: ManifestNode) -> dict[str, Any]:
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
        for referrer in node.referrers.listed
    ]
    document["tagged"] = [{"tag": tag, **_descriptor(descriptor)} for tag, descriptor in node.referrers.tagged]
    document["referrers_error"] = node.referrers.error or None
    return document


def _descriptor(descriptor: Descriptor) -> dict[str, Any]:
    return {"digest": descriptor.digest, "media_type": descriptor.media_type, "size": descriptor.size}
