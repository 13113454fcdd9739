"""Manifests that attest something of an image, and are none: BuildKit puts them beside images in an index. Pure.

What their entry in the index says of them is not believed: a platform `unknown/unknown` or an annotation may stand at a
real image. What counts is that no layer of theirs is one of a file system.
"""

from typing import Final

import msgspec

IN_TOTO: Final = "application/vnd.in-toto+json"


class _Layer(msgspec.Struct, rename="camel"):
    media_type: str


class _Manifest(msgspec.Struct):
    layers: tuple[_Layer, ...] = ()


def is_attestation(content: bytes) -> bool:
    """Tell whether a manifest has layers, and all of them are in-toto statements."""
    try:
        layers = msgspec.json.decode(content, type=_Manifest).layers
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return bool(layers) and all(layer.media_type == IN_TOTO for layer in layers)
