"""Platforms: how people write them, and which children of an index they select. Pure.

The same index and platforms always give the same bytes. Sources: OCI image specification 1.1, image-index.md,
"platform"; containerd, package platforms, "Normalization": platforms are written os/architecture[/variant], and names
that other systems use for an architecture mean the one that Go has.
"""

import re
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from pullahead.errors import ConfigError
from pullahead.oci import Descriptor, InvalidManifestError, RawManifest, describe, parse_digest
from pullahead.oci.media_types import INDEXES, is_manifest
from pullahead.text import one_line

PLATFORM_PATTERN = r"[a-z0-9]{1,32}(?:/[A-Za-z0-9._-]{1,32}){1,2}"

_ALIASES: Final = MappingProxyType(
    {
        **dict.fromkeys(("x86_64", "x86-64", "x64"), ("amd64", "")),
        **dict.fromkeys(("i386", "i486", "i586", "i686", "x86"), ("386", "")),
        **dict.fromkeys(("aarch64", "arm64v8"), ("arm64", "")),
        **dict.fromkeys(("armhf", "armv7", "armv7l", "arm32v7"), ("arm", "v7")),
        **dict.fromkeys(("armel", "armv6", "armv6l", "arm32v6"), ("arm", "v6")),
        **dict.fromkeys(("armv5", "arm32v5"), ("arm", "v5")),
    }
)
"""Other names of architectures, each with the variant that it stands for."""
_IMPLIED_VARIANTS: Final = MappingProxyType({"amd64": "v1", "arm": "v7", "arm64": "v8"})
"""What an architecture is without a variant."""
_ARCHITECTURES: Final = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", *_ALIASES}
)

_KNOWN_SYSTEMS: Final = frozenset({"android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "wasip1", "windows"})
_KNOWN_ARCHITECTURES: Final = _ARCHITECTURES | {"mips", "mipsle", "mips64", "ppc64", "wasm"}
"""Of the values of GOOS and GOARCH, which platforms have, those that are plausible for an image."""


class Platform(NamedTuple):
    """A platform as indexes name it; without a variant, it stands for those of all variants."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))

    @property
    def is_known(self) -> bool:
        """Whether images are made for such an operating system and architecture; else the name may be misspelled."""
        return self.os in _KNOWN_SYSTEMS and self.architecture in _KNOWN_ARCHITECTURES


def parse_platform(text: str) -> Platform:
    """Parse OS/ARCHITECTURE[/VARIANT], or an architecture alone, for Linux, as containerd does. Raises ValueError.

    `linux/x86_64` is linux/amd64, and `linux/arm/7` is linux/arm/v7.
    """
    written = f"linux/{text}" if text.lower() in _ARCHITECTURES else text
    if re.fullmatch(PLATFORM_PATTERN, written.lower()) is None:
        raise ValueError(f"invalid platform {text[:80]!r}; use OS/ARCH or OS/ARCH/VARIANT, such as linux/arm/v7")
    return _normalized(*written.split("/"))


def _normalized(os: str, architecture: str, variant: str = "") -> Platform:
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    architecture, implied = _ALIASES.get(architecture, (architecture, ""))
    variant = variant or implied
    is_number = architecture.startswith("arm") and variant.isdigit()
    return Platform("darwin" if os == "macos" else os, architecture, f"v{variant}" if is_number else variant)


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

    def matches(self, wanted: Platform) -> bool:
        if self.platform is None or not is_manifest(self.media_type):
            return False
        mine = _normalized(self.platform.os or "", self.platform.architecture or "", self.platform.variant or "")
        if mine[:2] != wanted[:2]:
            return False
        implied = _IMPLIED_VARIANTS.get(wanted.architecture, "")
        return not wanted.variant or (mine.variant or implied) == wanted.variant


_MAX_NAMES, _MAX_NAME = 30, 60  # of platforms, in errors


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
    selected = {platform: parse_platform(platform) for platform in platforms}
    missing = [name for name, platform in selected.items() if not any(child.matches(platform) for child in children)]
    if missing:
        names = {child.platform.name for child in children if child.platform is not None}
        there = sorted(one_line(name, _MAX_NAME) for name in names)
        more = f" and {len(there) - _MAX_NAMES} more" if len(there) > _MAX_NAMES else ""
        shown = f"{', '.join(there[:_MAX_NAMES])}{more}" if there else "no named platforms"
        raise ConfigError(f"{reference} has no platform {', '.join(missing)}; it has {shown}")
    chosen = [number for number, child in enumerate(children) if any(map(child.matches, selected.values()))]
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
