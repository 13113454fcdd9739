"""Platforms of an index: chosen by name, and refused where the index cannot be understood."""

import json

import pytest

from local.images import make_image, make_index
from pullahead.errors import ConfigError
from pullahead.oci import InvalidManifestError, RawManifest, describe, media_types
from pullahead.oci.platforms import select_platforms

AMD64, ARM64 = make_image([1], seed=1), make_image([2], seed=2, platform="linux/arm64/v8")
S390X = make_image([3], seed=3, platform="linux/s390x")


def index(content: bytes) -> RawManifest:
    return RawManifest(describe(content, media_types.OCI_INDEX), content)


def test_rewritten_index_keeps_other_fields_and_the_selected_children() -> None:
    document = json.loads(make_index([AMD64, ARM64, S390X]).root.content)
    document["annotations"] = {"a": "b"}
    content = json.dumps(document, indent=3).encode()
    smaller = select_platforms(index(content), ["linux/amd64", "linux/s390x"], "app")
    assert isinstance(smaller, RawManifest)
    first, _, third = document["manifests"]
    assert json.loads(smaller.content) == {**document, "manifests": [first, third]}
    assert smaller.descriptor == describe(smaller.content, media_types.OCI_INDEX)


def test_index_with_all_children_selected_keeps_its_digest() -> None:
    content = make_index([AMD64, ARM64]).root.content + b"\n"
    whole = index(content)
    assert select_platforms(whole, ["linux/arm64", "linux/amd64"], "app") is whole


def test_single_manifest_is_returned_unchanged() -> None:
    assert select_platforms(AMD64.root, ["linux/arm64"], "app") is AMD64.root


@pytest.mark.parametrize(
    "content",
    [
        b'{"manifests": 3}',
        b"[1]",
        b'{"manifests": [{"platform": 3, "mediaType": "m", "digest": "d", "size": 1}]}',
        b'{"manifests": [{"digest": "d", "size": 1}]}',
        b'{"manifests": [null]}',
        b"\xff",
    ],
)
def test_invalid_index_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidManifestError):
        select_platforms(index(content), ["linux/amd64"], "app")


@pytest.mark.parametrize("content", [b'{"manifests": []}', b'{"manifests": null}', b"{}"])
def test_index_without_named_platforms_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigError, match="app has no platform linux/amd64; it has no named platforms"):
        select_platforms(index(content), ["linux/amd64"], "app")
