"""What is copied. All sizes follow from one, that of the one layer, and all content from the seed of a run."""

from collections.abc import Callable
from typing import NamedTuple

from local.images import LocalImage, make_image, make_index

MIB = 1024 * 1024
LARGE = 4
"""How much larger the layer of the large cases is."""
SLOW_BYTES_PER_SECOND = 40_000_000
SLOW_DELAY_SECONDS = 0.030

_PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/s390x")
_SMALL_LAYER_BYTES = 128 * 1024
_TAG_LAYER_BYTES = 2000


class Case(NamedTuple):
    """One kind of copy, over TLS unless it is plain. `make` makes the image from the size in MiB and a seed."""

    name: str
    title: str
    make: Callable[[int, int], LocalImage]
    all_platforms: bool = False
    slow: bool = False
    plain_http: bool = False


class TagsCase(NamedTuple):
    """All tags of one repository, each an image of its own: mirrored to where none is, or compared with what is."""

    name: str
    title: str
    unchanged: bool


def _one_layer(size_mib: int, seed: int) -> LocalImage:
    return make_image([size_mib * MIB], seed=seed)


def _three_layers(size_mib: int, seed: int) -> LocalImage:
    return make_image([size_mib * MIB // 3] * 3, seed=seed)


def _large_layer(size_mib: int, seed: int) -> LocalImage:
    return make_image([LARGE * size_mib * MIB], seed=seed)


def _forty_layers(_: int, seed: int) -> LocalImage:
    return make_image([_SMALL_LAYER_BYTES] * 40, seed=seed)


def _platforms(size_mib: int, seed: int) -> LocalImage:
    size = LARGE * size_mib * MIB // 100
    shared = make_image([size], seed=seed)
    layer = next(blob for blob in shared.blobs.values() if len(blob) == size)
    images = [
        make_image([layer, size, size], seed=seed + number, platform=platform)
        for number, platform in enumerate(_PLATFORMS, start=1)
    ]
    return make_index(images)


CASES = (
    Case("layer", "one layer", _one_layer),
    Case("three", "three layers of a third each", _three_layers),
    Case("large", "one layer, four times as large", _large_layer),
    Case("plain", "the large layer by plain HTTP on both sides", _large_layer, plain_http=True),
    Case("small", "40 small layers", _forty_layers),
    Case("index", "index of 5 platforms, 3 layers each, one of them shared", _platforms, all_platforms=True),
    Case("slow", "one layer; each upstream connection 40 MB/s and 30 ms", _one_layer, slow=True),
)
TAGS_CASES = (
    TagsCase("unchanged", "tags that have not changed; ours by `pullahead check`", unchanged=True),
    TagsCase("sync", "tags into a registry that has none", unchanged=False),
)


def image_bytes(image: LocalImage) -> int:
    """Add up what a target that has nothing must be sent."""
    manifests = sum(len(manifest.content) for manifest in image.manifests.values())
    return manifests + sum(len(blob) for blob in image.blobs.values())


def tagged_images(count: int, seed: int) -> dict[str, LocalImage]:
    """Make so many small images, by tag."""
    return {f"v{number}": make_image([_TAG_LAYER_BYTES], seed=seed + number) for number in range(count)}
