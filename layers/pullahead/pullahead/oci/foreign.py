"""Foreign layers: where a manifest says that they may be had. Pure; what is found there is not believed.

Source: OCI image specification 1.1, descriptor.md, "urls"; Docker image manifest version 2, schema 2, "layers".
"""

from collections.abc import Iterable, Mapping

import msgspec

from pullahead.oci.digest import Digest
from pullahead.oci.manifest import RawManifest

MAX_URLS = 5
"""How many of a layer's URLs are kept: the longest honest lists name a mirror or two."""


class _Layer(msgspec.Struct):
    digest: str
    urls: list[str] | None = None


class _Wire(msgspec.Struct):
    layers: list[_Layer] = []


def find_urls(manifests: Iterable[RawManifest]) -> Mapping[Digest, tuple[str, ...]]:
    """Map digests of layers to the first URLs that manifests name for them; those without any are left out.

    Where several manifests name URLs for one layer, those of the first one count. A manifest whose URLs make no sense
    names none.
    """
    found: dict[Digest, tuple[str, ...]] = {}
    for manifest in manifests:
        for layer in _layers(manifest.content):
            if layer.urls:
                found.setdefault(Digest(layer.digest), tuple(layer.urls[:MAX_URLS]))
    return found


def _layers(content: bytes) -> list[_Layer]:
    try:
        return msgspec.json.decode(content, type=_Wire).layers
    except msgspec.DecodeError:
        return []
