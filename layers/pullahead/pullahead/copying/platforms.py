"""Choose platforms of an index. Pure, and deterministic: the same index and platforms give the same bytes.

Source: OCI image specification 1.1, image-index.md, "platform"; platforms are written os/architecture[/variant].
"""

import json
from collections.abc import Sequence
from typing import Any

from pullahead.errors import ConfigError
from pullahead.oci import Descriptor, RawManifest, describe, parse_digest
from pullahead.oci.media_types import INDEXES


def select_platforms(root: RawManifest, platforms: Sequence[str], reference: str) -> RawManifest | Descriptor:
    """Select platforms: the root if none is named, the only child that fits (to be read), else a smaller index.

    Raises ConfigError for a platform that is not there, naming those that are.
    """
    if not platforms or root.descriptor.media_type not in INDEXES:
        return root
    index: dict[str, Any] = json.loads(root.content)
    children = index.get("manifests", [])
    chosen = [child for child in children if any(_matches(child, platform) for platform in platforms)]
    missing = [platform for platform in platforms if not any(_matches(child, platform) for child in children)]
    if missing:
        there = ", ".join(sorted({_name(child) for child in children if child.get("platform")}))
        raise ConfigError(f"{reference} has no platform {', '.join(missing)}; it has {there or 'none that is named'}")
    if len(chosen) == 1:
        child = chosen[0]
        return Descriptor(child["mediaType"], parse_digest(child["digest"]), child["size"])
    content = json.dumps({**index, "manifests": chosen}, separators=(",", ":"), ensure_ascii=False).encode()
    return RawManifest(describe(content, root.descriptor.media_type), content)


def _matches(child: dict[str, Any], platform: str) -> bool:
    name = _name(child)
    return name == platform or name.startswith(f"{platform}/")


def _name(child: dict[str, Any]) -> str:
    platform = child.get("platform") or {}
    parts = (platform.get("os"), platform.get("architecture"), platform.get("variant"))
    return "/".join(str(part) for part in parts if part)
