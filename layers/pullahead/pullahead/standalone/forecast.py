"""Forecast the bytes and upstream requests of refreshes, by the plan that a refresh makes. Writes nothing.

Manifests are read as for the plan; blobs are not.
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from pullahead.errors import NotFoundError, PullaheadError
from pullahead.messages import RefreshRequest
from pullahead.oci import Descriptor, Digest, RawManifest, Reference
from pullahead.oci.registries import ManifestReader, Target
from pullahead.refresh.plan import read_plan
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules

_MAX_FORECASTS = 1000  # to read the manifests of more copies would itself be a load on upstream
_AT_ONCE = 8


class CopyForecast(NamedTuple):
    """The forecast of one refresh. It may take more requests, as a large blob may be read in several ranges."""

    blobs: tuple[Descriptor, ...] = ()
    bytes_present: int = 0
    requests: int = 0
    error: str = ""

    @property
    def bytes_missing(self) -> int:
        """Return how many bytes the target lacks."""
        return sum(blob.size for blob in self.blobs)


def forecast(
    requests: Sequence[RefreshRequest],
    upstream: ManifestReader,
    target: Target,
    *,
    rules: Rules,
    limit: int = _MAX_FORECASTS,
) -> Mapping[MirrorKey, CopyForecast]:
    """Forecast refreshes, by mirror. Tags of one digest are planned once."""
    copies = {_copy_of(request): request for request in requests}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        first = list(copies.values())[:limit]
        planned = list(pool.map(lambda request: _forecast(request, upstream, target, rules), first))
    forecasts = dict(zip((_copy_of(request) for request in first), planned, strict=True))
    skipped = CopyForecast(error=f"not planned: of {len(copies)} copies only {limit} are")
    return {
        MirrorKey(request.repository, request.tag): forecasts.get(_copy_of(request), skipped) for request in requests
    }


def _copy_of(request: RefreshRequest) -> tuple[str, Digest, tuple[str, ...]]:
    return request.repository, request.root.digest, request.platforms


def _forecast(request: RefreshRequest, upstream: ManifestReader, target: Target, rules: Rules) -> CopyForecast:
    counted = _CountedManifests(upstream)
    sizes = rules.sizes_of(request.repository, request.tag)
    try:
        plan, _ = read_plan(request, counted, partial(_present_blobs, target, request.repository), sizes)
    except PullaheadError as error:
        return CopyForecast(error=str(error))
    blobs = tuple(blob for unit in plan.units for blob in unit)
    return CopyForecast(blobs, plan.bytes_present, counted.count + len(blobs))


def _present_blobs(target: Target, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
    """Return the blobs that the target has; a missing repository has none, and is not created."""
    try:
        return target.present_blobs(repository, digests)
    except NotFoundError:
        return frozenset()


class _CountedManifests:
    def __init__(self, upstream: ManifestReader) -> None:
        self._upstream = upstream
        self.count = 0

    def get_manifest(self, reference: Reference) -> RawManifest:
        self.count += 1
        return self._upstream.get_manifest(reference)
