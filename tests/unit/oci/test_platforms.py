"""Platforms of an index: chosen by name, and refused where the index cannot be understood."""

import json

import pytest

from local.images import make_image, make_index
from pullahead.errors import ConfigError
from pullahead.oci import Descriptor, InvalidManifestError, RawManifest, describe, media_types
from pullahead.oci.platforms import parse_platform, select_platforms

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


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("linux/amd64", "linux/amd64"),
        ("amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("x86-64", "linux/amd64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8"),
        ("linux/arm64/8", "linux/arm64/v8"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/i386", "linux/386"),
        ("Linux/AMD64", "linux/amd64"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
        ("unknown/unknown", "unknown/unknown"),
    ],
)
def test_platform_is_named_as_indexes_do(written: str, named: str) -> None:
    assert str(parse_platform(written)) == named


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/amd64,linux/arm64", "a b/c"]
)
def test_text_that_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid platform"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("wanted", "there", "is_selected"),
    [
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64/v9", False),
        ("linux/arm64", "linux/arm64/v9", True),
        ("linux/aarch64", "linux/arm64/v8", True),
        ("linux/amd64/v1", "linux/amd64", True),
        ("linux/amd64/v2", "linux/amd64", False),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm", "linux/arm/v6", True),
        ("linux/arm/v7", "linux/arm/v6", False),
        ("linux/arm", "linux/arm64", False),
        ("linux/amd64", "linux/x86_64", True),
        ("windows/amd64", "linux/amd64", False),
    ],
)
def test_variant_is_what_the_architecture_implies(wanted: str, there: str, is_selected: bool) -> None:
    other = make_image([9], seed=9, platform="plan9/mips")
    found = make_index([make_image([1], seed=1, platform=there), other])
    if is_selected:
        selected = select_platforms(found.root, [wanted], "app")
        assert isinstance(selected, Descriptor)
        assert selected.digest != other.digest
    else:
        with pytest.raises(ConfigError, match=f"app has no platform {wanted}; it has {there}, plan9/mips"):
            select_platforms(found.root, [wanted], "app")


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
