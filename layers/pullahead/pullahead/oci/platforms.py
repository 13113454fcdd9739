"""Select platforms of an index. Pure; the same index and platforms always give the same bytes.

Source: OCI image specification 1.1, image-index.md, "platform"; platforms are written os/architecture[/variant].
"""

import re
from collections.abc import Sequence

import msgspec

from pullahead.errors import ConfigError
from pullahead.oci import Descriptor, InvalidManifestError, RawManifest, describe, parse_digest
from pullahead.oci.media_types import INDEXES, is_manifest

PLATFORM_PATTERN = r"[a-z0-9]{1,32}(?:/[A-Za-z0-9._-]{1,32}){1,2}"


def is_platform(text: str) -> bool:
    """Tell whether a text is a platform, OS/ARCHITECTURE with or without a variant."""
    return re.fullmatch(PLATFORM_PATTERN, text) is not None


class _Platform(msgspec.Struct):
    os: str | None = None  # Go writes what it does not know as null
    architecture: str | None = None
    variant: str | None = None

    @property
    def name(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class _Child(msgspec.Struct, rename="camel"):
    media_type: str
    digest: str
    size: int
    platform: _Platform | None = None

    def matches(self, wanted: str) -> bool:
        name = self.platform.name if self.platform is not None and is_manifest(self.media_type) else ""
        return name == wanted or name.startswith(f"{wanted}/")


class _Index(msgspec.Struct):
    manifests: list[msgspec.Raw] | None = None


def select_platforms(root: RawManifest, platforms: Sequence[str], reference: str) -> RawManifest | Descriptor:
    """Select platforms: returns a smaller index, or the descriptor of the only matching child.

    The root is returned unchanged where it is no index, no platform is named, or all of its children match.

    Raises: ConfigError for a missing platform, naming those that are there; InvalidManifestError.
    """
    if not platforms or root.descriptor.media_type not in INDEXES:
        return root
    raw, children = _children(root)
    missing = [platform for platform in platforms if not any(child.matches(platform) for child in children)]
    if missing:
        there = sorted({child.platform.name for child in children if child.platform is not None})
        raise ConfigError(
            f"{reference} has no platform {', '.join(missing)}; it has {', '.join(there) or 'no named platforms'}"
        )
    chosen = [number for number, child in enumerate(children) if any(child.matches(wanted) for wanted in platforms)]
    if len(chosen) == len(children):
        return root
    if len(chosen) == 1:
        child = children[chosen[0]]
        return Descriptor(child.media_type, parse_digest(child.digest), child.size)
    return _rewritten(root, [raw[number] for number in chosen])


def _children(root: RawManifest) -> tuple[list[msgspec.Raw], list[_Child]]:
    try:
        raw = msgspec.json.decode(root.content, type=_Index).manifests or []
        return raw, [msgspec.json.decode(child, type=_Child) for child in raw]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidManifestError(f"invalid index: {error}") from error


def _rewritten(root: RawManifest, children: list[msgspec.Raw]) -> RawManifest:
    """Keep other fields, and the selected children, byte for byte."""
    fields = msgspec.json.decode(root.content, type=dict[str, msgspec.Raw])
    fields["manifests"] = msgspec.Raw(msgspec.json.encode(children))
    content = msgspec.json.encode(fields)
    return RawManifest(describe(content, root.descriptor.media_type), content)
