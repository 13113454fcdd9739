"""What a reference names, all the way down: manifests level by level, then who refers to each. Reads; shows nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from pullahead.errors import NotFoundError, RegistryError, ResponseTooLargeError, Side, UnsupportedMediaTypeError
from pullahead.oci import Descriptor, Digest, InvalidManifestError, Manifest, RawManifest, Reference, parse_manifest
from pullahead.registry.listings import Referrer

_MAX_MANIFESTS = 1000
_MAX_BYTES = 32 * 1024 * 1024  # of all manifests together
_MAX_DEPTH = 20  # of indexes within indexes; two is already unusual
_MAX_REFERRERS = 10_000
_THREADS = 8

_Asked = TypeVar("_Asked")
_Found = TypeVar("_Found")


class ReadsManifests(Protocol):
    """What a tree is read from."""

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest."""
        ...

    def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
        """List who refers to a manifest."""
        ...


class Referrers(NamedTuple):
    """Who refers to a manifest; `error` says why that is not known."""

    found: tuple[Referrer, ...] = ()
    error: str = ""


class Node(NamedTuple):
    """One manifest. `manifest` is None where an index names what its registry does not have."""

    descriptor: Descriptor
    manifest: Manifest | None
    artifact_type: str
    platforms: dict[Digest, str]
    referrers: Referrers


class Tree(NamedTuple):
    """Every manifest below a root, each once, and the root itself."""

    root: Descriptor
    nodes: dict[Digest, Node]

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
    manifests: list[_Child] = []


def read_tree(reference: Reference, root: RawManifest, registry: ReadsManifests) -> Tree:
    """Read everything below a root. Raises: what reading manifests raises, but for children that are not there."""
    with ThreadPoolExecutor(_THREADS) as pool:
        nodes = _read_nodes(reference, root, registry, pool)
        there = [node.descriptor.digest for node in nodes.values() if node.manifest is not None]
        listed = 0
        asked = _each(pool, lambda digest: (digest, _referrers(reference, digest, registry)), there)
        for digest, referrers in asked:
            listed += len(referrers.found)
            if listed > _MAX_REFERRERS:
                raise _failed(ResponseTooLargeError, f"it has more than {_MAX_REFERRERS} referrers", reference)
            nodes[digest] = nodes[digest]._replace(referrers=referrers)
    return Tree(root.descriptor, nodes)


def _read_nodes(
    reference: Reference, root: RawManifest, registry: ReadsManifests, pool: ThreadPoolExecutor
) -> dict[Digest, Node]:
    level = [_node(reference, root)]
    nodes = {root.descriptor.digest: level[0]}
    for _ in range(_MAX_DEPTH):
        wanted = _below(reference, level, nodes)
        if not wanted:
            return nodes
        level = []
        for node in _each(pool, lambda child: _read_node(reference, child, registry), wanted):
            level.append(node)
            nodes[node.descriptor.digest] = node
            _check_size(reference, nodes)
    raise _failed(ResponseTooLargeError, f"its indexes are nested more than {_MAX_DEPTH} deep", reference)


def _each(pool: ThreadPoolExecutor, ask: Callable[[_Asked], _Found], asked: Sequence[_Asked]) -> Iterator[_Found]:
    """Ask about each, a few at once; never many ahead of whoever looks at the answers and may have seen enough."""
    for start in range(0, len(asked), _THREADS):
        yield from pool.map(ask, asked[start : start + _THREADS])


def _below(reference: Reference, level: Iterable[Node], nodes: dict[Digest, Node]) -> list[Descriptor]:
    children = (child for node in level if node.manifest is not None for child in node.manifest.children)
    wanted = {child.digest: child for child in children if child.digest not in nodes}
    if len(nodes) + len(wanted) > _MAX_MANIFESTS:
        raise _failed(ResponseTooLargeError, f"it names more than {_MAX_MANIFESTS} manifests", reference)
    return list(wanted.values())


def _check_size(reference: Reference, nodes: dict[Digest, Node]) -> None:
    if sum(node.descriptor.size for node in nodes.values() if node.manifest is not None) > _MAX_BYTES:
        raise _failed(ResponseTooLargeError, f"its manifests have more than {_MAX_BYTES} bytes together", reference)


def _read_node(reference: Reference, child: Descriptor, registry: ReadsManifests) -> Node:
    try:
        return _node(reference, registry.get_manifest(reference.at(child.digest)))
    except NotFoundError:  # an index may name platforms that were never copied with it
        return Node(child, None, "", {}, Referrers())


def _referrers(reference: Reference, digest: Digest, registry: ReadsManifests) -> Referrers:
    try:
        return Referrers(registry.list_referrers(reference, digest))
    except RegistryError as error:  # all else is known, and shown
        return Referrers(error=str(error))


def _node(reference: Reference, raw: RawManifest) -> Node:
    try:
        manifest = parse_manifest(raw.content, raw.descriptor.media_type)
        document = msgspec.json.decode(raw.content, type=_Document)
    except (InvalidManifestError, msgspec.DecodeError) as error:
        raise _failed(UnsupportedMediaTypeError, str(error), reference.at(raw.descriptor.digest)) from error
    platforms = {Digest(child.digest): _platform_text(child.platform) for child in document.manifests}
    return Node(raw.descriptor, manifest, document.artifact_type or "", platforms, Referrers())


def _platform_text(platform: _Platform | None) -> str:
    parts = (platform.os, platform.architecture, platform.variant) if platform is not None else ()
    return "/".join(part for part in parts if part)


def _failed(kind: type[RegistryError], cause: str, reference: Reference) -> RegistryError:
    return kind(cause, operation="inspect", side=Side.UPSTREAM, reference=str(reference))
