"""The images that are copied, and between what. All sizes follow from one: that of the one large layer."""

from collections.abc import Callable
from typing import NamedTuple

from local.images import LocalImage, make_image, make_index

MIB = 1024 * 1024
SLOW_BYTES_PER_SECOND = 40_000_000
SLOW_DELAY_SECONDS = 0.030

_PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/s390x")
_SMALL_LAYER_BYTES = 128 * 1024


class Case(NamedTuple):
    """One kind of copy. `make` makes the image from the size of the one large layer, in MiB."""

    name: str
    title: str
    make: Callable[[int], LocalImage]
    all_platforms: bool = False
    slow: bool = False


def _one_layer(size_mib: int) -> LocalImage:
    return make_image([size_mib * MIB], seed=1)


def _three_layers(size_mib: int) -> LocalImage:
    return make_image([size_mib * MIB * 700 // 2048] * 3, seed=2)


def _forty_layers(_: int) -> LocalImage:
    return make_image([_SMALL_LAYER_BYTES] * 40, seed=3)


def _platforms(size_mib: int) -> LocalImage:
    size = size_mib * MIB // 100
    shared = make_image([size], seed=4)
    layer = next(blob for blob in shared.blobs.values() if len(blob) == size)
    images = [
        make_image([layer, size, size], seed=10 + number, platform=platform)
        for number, platform in enumerate(_PLATFORMS)
    ]
    return make_index(images)


def _slow_layer(size_mib: int) -> LocalImage:
    return make_image([size_mib * MIB // 4], seed=5)


CASES = (
    Case("large", "one large layer", _one_layer),
    Case("three", "three layers of about a third each", _three_layers),
    Case("small", "40 small layers", _forty_layers),
    Case("index", "index of 5 platforms, 3 layers each, one of them shared", _platforms, all_platforms=True),
    Case("slow", "one layer; each upstream connection 40 MB/s and 30 ms", _slow_layer, slow=True),
)


def image_bytes(image: LocalImage) -> int:
    """Add up what a target that has nothing must be sent."""
    manifests = sum(len(manifest.content) for manifest in image.manifests.values())
    return manifests + sum(len(blob) for blob in image.blobs.values())
