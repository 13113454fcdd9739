"""Plan a copy: read what upstream's root names, ask what ECR lacks, and keep all of it in the plans bucket."""

from collections.abc import Mapping
from itertools import takewhile
from types import MappingProxyType
from typing import Protocol

import msgspec

from pullahead.copying.plan import CopyPlan, blobs_of, make_plan
from pullahead.copying.platforms import select_platforms
from pullahead.copying.progress import UnitProgress
from pullahead.errors import Side, UnsupportedMediaTypeError
from pullahead.messages import PlanResult, RefreshRequest, UnitRequest
from pullahead.oci import (
    Descriptor,
    Digest,
    InvalidManifestError,
    Manifest,
    RawManifest,
    Reference,
    parse_manifest,
)
from pullahead.ports import EnsuresRepositories, FindsBlobs, FindsMounts, GetsManifests, Plans
from pullahead.rules.model import Rules

_NOTHING: Mapping[Digest, RawManifest] = MappingProxyType({})
_MAX_MANIFEST_BYTES_IN_ALL = 64 * 1024 * 1024
_MAX_MANIFESTS = 1000  # the largest public indexes name some dozens


class PlannedTarget(EnsuresRepositories, FindsBlobs, Protocol):
    """What a plan asks of a target."""


def plan_copy(
    request: RefreshRequest,
    rules: Rules,
    upstream: GetsManifests,
    target: PlannedTarget,
    plans: Plans,
    mounts: FindsMounts | None = None,
) -> PlanResult:
    """Plan the copy that a refresh asks for, from its digest. A repository that is missing is made as its rule says.

    With `mounts`, other repositories of the rules are looked through for blobs that need not be sent.

    Raises: what the ports raise, UnsupportedMediaTypeError for a graph that cannot be copied, InvalidManifestError and
    ConfigError where the platforms cannot be chosen.
    """
    target.ensure_repository(request.repository, rules.creation_of(request.repository, request.tag))
    root, rewritten = _choose_root(request, upstream)
    raw, graph = read_graph(request.source, root, upstream, rewritten)
    present = target.present_blobs(request.repository, [blob.digest for blob in blobs_of(graph)])
    plan = make_plan(root, graph, present)
    _keep(request.name, plan, raw, _found(request, plan, rules, mounts), plans)
    units = tuple(
        UnitRequest(refresh=request.name, unit=unit, repository=request.repository, upstream=str(request.source))
        for unit in range(len(plan.units))
    )
    return PlanResult(
        units=units,
        manifests=len(plan.manifests),
        bytes_missing=plan.bytes_missing,
        bytes_present=plan.bytes_present,
    )


def plan_key(refresh: str) -> str:
    """Where the plan of a refresh is kept."""
    return f"plans/{refresh}/plan.json"


def unit_key(refresh: str, unit: int) -> str:
    """Where the progress of a unit is kept."""
    return f"plans/{refresh}/units/{unit:03}.json"


def manifest_key(refresh: str, digest: Digest) -> str:
    """Where a manifest's bytes are kept until they are published."""
    return f"plans/{refresh}/manifests/{digest.replace(':', '-')}"


def _choose_root(request: RefreshRequest, upstream: GetsManifests) -> tuple[Descriptor, Mapping[Digest, RawManifest]]:
    """Find what is to be published, and its bytes where upstream has no such manifest or it was read already."""
    if not request.platforms:
        return request.root, _NOTHING
    chosen = select_platforms(upstream.get_manifest(request.source), request.platforms, str(request.source))
    if isinstance(chosen, Descriptor):
        return chosen, _NOTHING
    return chosen.descriptor, {chosen.descriptor.digest: chosen}


def _found(request: RefreshRequest, plan: CopyPlan, rules: Rules, mounts: FindsMounts | None) -> Mapping[Digest, str]:
    missing = [blob.digest for blobs in plan.units for blob in blobs]
    if mounts is None or not missing:
        return {}
    return mounts.find_mounts(missing, _likely_holders(request.repository, rules))


def _likely_holders(repository: str, rules: Rules) -> list[str]:
    """List the other repositories of the rules, those with the most of the name in common first."""
    others = {mirror.repository for mirror in rules.mirrors} - {repository}
    return sorted(others, key=lambda other: (-_in_common(other, repository), other))


def _in_common(first: str, second: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _keep(
    refresh: str, plan: CopyPlan, raw: dict[Digest, RawManifest], mounts: Mapping[Digest, str], plans: Plans
) -> None:
    for digest, manifest in raw.items():
        plans.write(manifest_key(refresh, digest), manifest.content)
    for number, blobs in enumerate(plan.units):
        held = {blob.digest: mounts[blob.digest] for blob in blobs if blob.digest in mounts}
        plans.write(unit_key(refresh, number), msgspec.json.encode(UnitProgress(blobs, mounts=held)))
    plans.write(plan_key(refresh), msgspec.json.encode(plan))


def read_graph(
    source: Reference, root: Descriptor, upstream: GetsManifests, known: Mapping[Digest, RawManifest] = _NOTHING
) -> tuple[dict[Digest, RawManifest], dict[Digest, Manifest]]:
    """Read every manifest below a root, each once and those in `known` not at all: their bytes, and what they name.

    Raises: what the port raises, and UnsupportedMediaTypeError.
    """
    raw: dict[Digest, RawManifest] = {}
    graph: dict[Digest, Manifest] = {}
    waiting = {root.digest: root}
    while waiting:
        _, node = waiting.popitem()
        reference = source.at(node.digest)
        raw[node.digest] = known.get(node.digest) or upstream.get_manifest(reference)
        graph[node.digest] = _parse(reference, raw[node.digest])
        waiting.update((child.digest, child) for child in graph[node.digest].children if child.digest not in graph)
        if len(graph) + len(waiting) > _MAX_MANIFESTS:
            raise _unsupported(source, f"it has more than {_MAX_MANIFESTS} manifests")
        if sum(len(manifest.content) for manifest in raw.values()) > _MAX_MANIFEST_BYTES_IN_ALL:
            raise _unsupported(source, f"its manifests have more than {_MAX_MANIFEST_BYTES_IN_ALL} bytes together")
    return raw, graph


def _parse(reference: Reference, manifest: RawManifest) -> Manifest:
    try:
        return parse_manifest(manifest.content, manifest.descriptor.media_type)
    except InvalidManifestError as error:
        raise _unsupported(reference, str(error)) from error


def _unsupported(reference: Reference, cause: str) -> UnsupportedMediaTypeError:
    return UnsupportedMediaTypeError(cause, operation="plan", side=Side.UPSTREAM, reference=str(reference))
