"""Plan a copy: read the manifests below upstream's root, find the blobs that the target lacks, and store the plan.

Decides what is copied, in which units, and in which order it is published.
"""

from collections.abc import Callable, Collection, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import takewhile
from types import MappingProxyType
from typing import Literal

import msgspec

from pullahead.errors import ImageTooLargeError, RepositoryMissingError, Side, UnsupportedMediaTypeError
from pullahead.map_in_threads import AT_ONCE, map_in_threads
from pullahead.messages import PlanResult, RefreshRequest, UnitRequest
from pullahead.oci import Descriptor, Digest, InvalidManifestError, Manifest, RawManifest, Reference, parse_manifest
from pullahead.oci.media_types import INDEXES
from pullahead.oci.platforms import select_platforms
from pullahead.oci.registries import FindMounts, ManifestReader, ReferrersReader
from pullahead.refresh.plan_referrers import (
    MAX_REFERRER_UNITS,
    PlannedReferrers,
    find_referrers,
    missing_blobs,
    referrers_key,
    subjects_of,
)
from pullahead.refresh.ports import PlanStore, PublishTarget
from pullahead.refresh.progress import UnitProgress
from pullahead.refresh.referrers import MAX_SUBJECTS
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.model import Mirror, NewlyCached, Rules, SizeLimits, never_cached
from pullahead.text import size_text


class CopyPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The blobs to copy, in units, and then the manifests to publish, children before parents and the root last."""

    manifests: tuple[Descriptor, ...]
    units: tuple[tuple[Descriptor, ...], ...]
    bytes_missing: int
    bytes_present: int
    has_referrers: bool = False  # what is planned of them is stored beside


def publishing_order(root: Descriptor, graph: Mapping[Digest, Manifest]) -> tuple[Descriptor, ...]:
    """List every manifest of a graph once, so that none lands before what it references."""
    order: list[Descriptor] = []
    entered: set[Digest] = set()
    waiting = [(root, False)]  # no recursion: a chain of indexes may be deeper than Python's stack
    while waiting:
        node, children_are_listed = waiting.pop()
        if children_are_listed:
            order.append(node)
        elif node.digest not in entered:
            entered.add(node.digest)
            waiting.append((node, True))
            waiting.extend((child, False) for child in reversed(graph[node.digest].children))
    return tuple(order)


def blobs_of(graph: Mapping[Digest, Manifest]) -> tuple[Descriptor, ...]:
    """List every blob of a graph once, without foreign layers, which manifests name by URL."""
    blobs = (blob for manifest in graph.values() for blob in manifest.blobs if blob.digest not in manifest.foreign)
    return tuple({blob.digest: blob for blob in blobs}.values())


def foreign_layers_of(graph: Mapping[Digest, Manifest]) -> tuple[Descriptor, ...]:
    """List every layer once that all manifests of a graph call foreign."""
    own = {blob.digest for blob in blobs_of(graph)}
    blobs = (blob for manifest in graph.values() for blob in manifest.blobs)
    return tuple({blob.digest: blob for blob in blobs if blob.digest not in own}.values())


def make_plan(root: Descriptor, graph: Mapping[Digest, Manifest], present: Set[Digest]) -> CopyPlan:
    """Plan the copy of everything below `root` that the target does not have."""
    blobs = blobs_of(graph)
    missing = [blob for blob in blobs if blob.digest not in present]
    total = sum(blob.size for blob in blobs)
    bytes_missing = sum(blob.size for blob in missing)
    return CopyPlan(publishing_order(root, graph), pack_units(missing), bytes_missing, total - bytes_missing)


MAX_UNITS = 40
"""Inline Map of Step Functions runs up to 40 iterations at once (Step Functions Developer Guide, Inline mode)."""
_UNIT_BYTES = 256 * 1024 * 1024  # a smaller unit costs more than it saves


def pack_units(
    blobs: list[Descriptor], max_units: int = MAX_UNITS, unit_bytes: int = _UNIT_BYTES
) -> tuple[tuple[Descriptor, ...], ...]:
    """Pack blobs into units of about the same size: the largest first, each into the smallest unit so far.

    There are never more units than blobs or than `max_units`, and none is empty.
    """
    total = sum(blob.size for blob in blobs)
    count = min(max_units, len(blobs), max(1, -(-total // unit_bytes)))
    units: list[list[Descriptor]] = [[] for _ in range(count)]
    sizes = [0] * count
    for blob in sorted(blobs, key=lambda blob: (-blob.size, blob.digest)):
        smallest = min(range(count), key=lambda index: (sizes[index], len(units[index])))
        units[smallest].append(blob)
        sizes[smallest] += blob.size
    return tuple(tuple(unit) for unit in units)


_NOTHING: Mapping[Digest, RawManifest] = MappingProxyType({})
_MAX_TOTAL_MANIFEST_BYTES = 64 * 1024 * 1024
_MAX_MANIFESTS = 1000  # the largest public indexes name some dozens
_MAX_BLOBS = 20_000  # an image has 127 layers at most where docker is to run it


def plan_copy(
    request: RefreshRequest,
    rules: Rules,
    upstream: ReferrersReader,
    target: PublishTarget,
    plans: PlanStore,
    find_mounts: FindMounts | None = None,
    newly_cached: NewlyCached = never_cached,
) -> PlanResult:
    """Plan and store the copy of a refresh, if the rules still name it.

    With `find_mounts`, blobs that other repositories of the rules have are mounted rather than sent. What belongs to
    the image is planned with it, in units of its own; what cannot be found of that is reported by the publish.

    Raises: what the ports raise, NoLongerWantedError, RepositoryMissingError before anything is asked of upstream,
    UnsupportedMediaTypeError for manifests that cannot be copied, ImageTooLargeError before any blob is looked for,
    InvalidManifestError and ConfigError where the platforms cannot be selected.
    """
    mirror = require_wanted(request, rules, newly_cached)
    sizes = mirror.sizes
    if not target.has_repository(request.repository):
        raise RepositoryMissingError(
            "it does not exist yet", operation="plan", side=Side.TARGET, reference=request.repository
        )
    present_blobs = partial(target.present_blobs, request.repository)
    policy = rules.referrers_of(request.repository, request.tag)
    if request.late:
        plan, raw, subjects = _NO_IMAGE, _NOTHING, read_subjects(request.source, request.platforms, upstream)
    else:
        plan, raw, subjects = _read_image(request, upstream, present_blobs, sizes)
    referrers = find_referrers(request.source, subjects, upstream, policy) if policy.copies_any else None
    if referrers is not None:
        plan, referrers = _with_units(plan, referrers, raw, present_blobs)
        plans.write(referrers_key(request.name), msgspec.json.encode(referrers))
    _store(request.name, plan, raw, _find_mounts(request, plan, rules, find_mounts), plans)
    optional = frozenset(referrers.units if referrers is not None else ())
    units = [
        UnitRequest(
            refresh=request.name,
            unit=unit,
            repository=request.repository,
            upstream=str(request.source),
            optional=unit in optional,
        )
        for unit in range(len(plan.units))
    ]
    return PlanResult(
        units=tuple(unit for unit in units if not unit.optional),
        manifests=len(plan.manifests),
        bytes_missing=plan.bytes_missing,
        bytes_present=plan.bytes_present,
        root=plan.manifests[-1].digest if plan.manifests else request.root.digest,
        referrer_units=tuple(unit for unit in units if unit.optional),
        referrers=len(referrers.referrers) if referrers is not None else 0,
        verify=_verify(request, mirror),
    )


def _verify(request: RefreshRequest, mirror: Mirror) -> Literal["", "enforce", "report"]:
    """Say whether signatures are demanded of what is copied: of an image, unless a person has pinned it."""
    if request.late or mirror.pin is not None or mirror.admit is None or mirror.admit.verify is None:
        return ""
    return mirror.admit.mode.value


_NO_IMAGE = CopyPlan((), (), 0, 0)


def _with_units(
    plan: CopyPlan,
    referrers: PlannedReferrers,
    raw: Mapping[Digest, RawManifest],
    present_blobs: Callable[[Collection[Digest]], Collection[Digest]],
) -> tuple[CopyPlan, PlannedReferrers]:
    """Add units for the blobs of referrers that neither the target nor the image has."""
    parsed = (parse_manifest(manifest.content, manifest.descriptor.media_type) for manifest in raw.values())
    own = frozenset(blob.digest for manifest in parsed for blob in manifest.blobs)
    units = pack_units(missing_blobs(referrers, own, present_blobs), MAX_REFERRER_UNITS)
    first = len(plan.units)
    numbers = tuple(range(first, first + len(units)))
    return (
        msgspec.structs.replace(plan, units=(*plan.units, *units), has_referrers=True),
        msgspec.structs.replace(referrers, units=numbers),
    )


def read_subjects(source: Reference, platforms: tuple[str, ...], upstream: ManifestReader) -> tuple[Digest, ...]:
    """Read which manifests of upstream are published with these platforms, from its indexes alone.

    Raises: what the port raises, UnsupportedMediaTypeError, InvalidManifestError, ConfigError.
    """
    whole = upstream.get_manifest(source)
    chosen = select_platforms(whole, platforms, str(source))
    known = {} if isinstance(chosen, Descriptor) else {chosen.descriptor.digest: chosen}
    root = chosen if isinstance(chosen, Descriptor) else chosen.descriptor
    graph: dict[Digest, Manifest] = {}
    waiting = [root]
    while waiting and len(graph) < MAX_SUBJECTS:
        node = waiting.pop(0)
        if node.media_type in INDEXES and node.digest not in graph:
            reference = source.at(node.digest)
            graph[node.digest] = _parse(reference, known.get(node.digest) or upstream.get_manifest(reference))
            waiting += graph[node.digest].children
    return subjects_of(root, graph, known.keys() - {whole.descriptor.digest})


def read_plan(
    request: RefreshRequest,
    upstream: ManifestReader,
    present_blobs: Callable[[Collection[Digest]], Collection[Digest]],
    sizes: SizeLimits,
) -> tuple[CopyPlan, Mapping[Digest, RawManifest]]:
    """Read the manifests that a refresh copies; return the plan of the copy, and the bytes of its manifests.

    `present_blobs` returns those blobs that the target has. Raises: as `plan_copy`.
    """
    plan, raw, _ = _read_image(request, upstream, present_blobs, sizes)
    return plan, raw


def _read_image(
    request: RefreshRequest,
    upstream: ManifestReader,
    present_blobs: Callable[[Collection[Digest]], Collection[Digest]],
    sizes: SizeLimits,
) -> tuple[CopyPlan, Mapping[Digest, RawManifest], tuple[Digest, ...]]:
    """Read the manifests of an image; return its plan, their bytes, and those that may have referrers upstream."""
    root, rewritten = _choose_root(request, upstream)
    raw, graph = read_graph(request.source, root, upstream, rewritten)
    require_sizes(request.source, graph, sizes)
    plan = make_plan(root, graph, frozenset(present_blobs([blob.digest for blob in blobs_of(graph)])))
    return plan, raw, subjects_of(root, graph, rewritten.keys() - {request.root.digest})


def plan_key(refresh: str) -> str:
    """Return the key of a refresh's plan."""
    return f"plans/{refresh}/plan.json"


def unit_key(refresh: str, unit: int) -> str:
    """Return the key of a unit's progress."""
    return f"plans/{refresh}/units/{unit:03}.json"


def manifest_key(refresh: str, digest: Digest) -> str:
    """Return the key of a manifest that is yet to be published."""
    return f"plans/{refresh}/manifests/{digest.replace(':', '-')}"


def _choose_root(request: RefreshRequest, upstream: ManifestReader) -> tuple[Descriptor, Mapping[Digest, RawManifest]]:
    """Return what is to be published, and its bytes where upstream has no such manifest or it was read already."""
    if not request.platforms:
        return request.root, _NOTHING
    chosen = select_platforms(upstream.get_manifest(request.source), request.platforms, str(request.source))
    if isinstance(chosen, Descriptor):
        return chosen, _NOTHING
    return chosen.descriptor, {chosen.descriptor.digest: chosen}


def _find_mounts(
    request: RefreshRequest, plan: CopyPlan, rules: Rules, find_mounts: FindMounts | None
) -> Mapping[Digest, str]:
    missing = [blob.digest for blobs in plan.units for blob in blobs]
    if find_mounts is None or not missing:
        return {}
    return find_mounts(missing, _likeliest_first(request.repository, rules))


def _likeliest_first(repository: str, rules: Rules) -> list[str]:
    """List the other repositories of the rules, those whose names have the most in common first."""
    others = rules.repositories - {repository}
    return sorted(others, key=lambda other: (-_common_prefix_length(other, repository), other))


def _common_prefix_length(first: str, second: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _store(
    refresh: str, plan: CopyPlan, raw: Mapping[Digest, RawManifest], mounts: Mapping[Digest, str], plans: PlanStore
) -> None:
    for digest, manifest in raw.items():
        plans.write(manifest_key(refresh, digest), manifest.content)
    for number, blobs in enumerate(plan.units):
        mountable = {blob.digest: mounts[blob.digest] for blob in blobs if blob.digest in mounts}
        plans.write(unit_key(refresh, number), msgspec.json.encode(UnitProgress(blobs, mounts=mountable)))
    plans.write(plan_key(refresh), msgspec.json.encode(plan))


def read_graph(
    source: Reference, root: Descriptor, upstream: ManifestReader, known: Mapping[Digest, RawManifest] = _NOTHING
) -> tuple[dict[Digest, RawManifest], dict[Digest, Manifest]]:
    """Read every manifest below a root once, except those in `known`; return their bytes, and what they name.

    Those of a level are read a few at once.

    Raises: what the port raises, and UnsupportedMediaTypeError.
    """
    raw: dict[Digest, RawManifest] = {}
    graph: dict[Digest, Manifest] = {}
    level = [root]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while level:
            if len(graph) + len(level) > _MAX_MANIFESTS:
                raise _unsupported(source, f"more than {_MAX_MANIFESTS} manifests")
            manifests = map_in_threads(pool, partial(_read_node, source, upstream, known), level)
            for node, manifest in zip(level, manifests, strict=True):
                raw[node.digest], graph[node.digest] = manifest, _parse(source.at(node.digest), manifest)
                _check_totals(source, raw, graph)
            children = (child for node in level for child in graph[node.digest].children)
            level = list({child.digest: child for child in children if child.digest not in graph}.values())
    _check_descriptors(source, raw, graph)
    return raw, graph


def _read_node(
    source: Reference, upstream: ManifestReader, known: Mapping[Digest, RawManifest], node: Descriptor
) -> RawManifest:
    return known.get(node.digest) or upstream.get_manifest(source.at(node.digest))


def _check_totals(source: Reference, raw: Mapping[Digest, RawManifest], graph: Mapping[Digest, Manifest]) -> None:
    if sum(len(manifest.content) for manifest in raw.values()) > _MAX_TOTAL_MANIFEST_BYTES:
        raise _unsupported(source, f"manifests of more than {_MAX_TOTAL_MANIFEST_BYTES} bytes in total")
    if sum(len(manifest.blobs) for manifest in graph.values()) > _MAX_BLOBS:
        raise _unsupported(source, f"more than {_MAX_BLOBS} layers")


def _check_descriptors(source: Reference, raw: Mapping[Digest, RawManifest], graph: Mapping[Digest, Manifest]) -> None:
    """Check that every manifest is what the indexes call it, and that no blob has two sizes: clients refuse others."""
    sizes: dict[Digest, int] = {}
    for digest, manifest in graph.items():
        for child in manifest.children:
            found, named = raw[child.digest].descriptor, source.at(child.digest)
            if child.size != found.size:
                raise _unsupported(named, f"it has {found.size} bytes, and {digest} says {child.size}")
            if (child.media_type in INDEXES) != (found.media_type in INDEXES):
                raise _unsupported(named, f"its media type is {found.media_type}, and {digest} says {child.media_type}")
        for blob in manifest.blobs:
            if sizes.setdefault(blob.digest, blob.size) != blob.size:
                raise _unsupported(source.at(digest), f"it says another size of {blob.digest} than others do")


def require_sizes(source: Reference, graph: Mapping[Digest, Manifest], sizes: SizeLimits) -> None:
    """Compare the sizes that manifests name with the limits, before any blob is read. Raises ImageTooLargeError."""
    blobs = blobs_of(graph)
    largest = max(blobs, key=lambda blob: blob.size, default=None)
    if largest is not None and largest.size > sizes.layer:
        size, limit = size_text(largest.size), size_text(sizes.layer)
        raise _too_large(source, f"the layer {largest.digest} has {size}, and `max_layer_size` is {limit}")
    total = sum(blob.size for blob in blobs)
    if total > sizes.image:
        size, limit = size_text(total), size_text(sizes.image)
        raise _too_large(source, f"its layers have {size} in all, and `max_image_size` is {limit}")


def _too_large(source: Reference, cause: str) -> ImageTooLargeError:
    return ImageTooLargeError(
        cause,
        operation="plan",
        side=Side.UPSTREAM,
        reference=str(source),
        advice="If it is meant to be so large, raise the limit in its rule, and run `pullahead refresh`.",
    )


def _parse(reference: Reference, manifest: RawManifest) -> Manifest:
    try:
        return parse_manifest(manifest.content, manifest.descriptor.media_type)
    except InvalidManifestError as error:
        raise _unsupported(reference, str(error)) from error


def _unsupported(reference: Reference, cause: str) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(cause, operation="plan", side=Side.UPSTREAM, reference=str(reference))
