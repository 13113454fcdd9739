"""Manifests: what they name, and what is refused."""

import json

import pytest

from local.images import make_image, make_index
from pullahead.oci import (
    MAX_MANIFEST_BYTES,
    InvalidManifestError,
    digest_of,
    media_types,
    parse_manifest,
    sniff_media_type,
)
from pullahead.oci.manifest import AmbiguousManifestError

IMAGE = make_image([10, 20], seed=1)
DIGEST = digest_of(b"x")


def named(**changes: object) -> bytes:
    return json.dumps({**json.loads(IMAGE.root.content), **changes}).encode()


def test_blobs_are_config_and_layers_in_order() -> None:
    manifest = parse_manifest(IMAGE.root.content, media_types.OCI_MANIFEST)
    assert [blob.digest for blob in manifest.blobs] == list(IMAGE.blobs)
    assert manifest.children == ()


def test_layer_listed_twice_is_named_once() -> None:
    layers = json.loads(IMAGE.root.content)["layers"]
    manifest = parse_manifest(named(layers=layers * 2), media_types.OCI_MANIFEST)
    assert len(manifest.blobs) == 3


def test_index_names_children_and_no_blobs() -> None:
    index = make_index([IMAGE, make_image([5], seed=2)])
    manifest = parse_manifest(index.root.content, media_types.OCI_INDEX)
    assert (len(manifest.children), manifest.blobs) == (2, ())


@pytest.mark.parametrize("media_type", [media_types.OCI_MANIFEST, media_types.OCI_INDEX])
def test_manifest_that_is_also_an_index_is_refused(media_type: str) -> None:
    child = {"mediaType": media_types.OCI_MANIFEST, "digest": DIGEST, "size": 1}
    with pytest.raises(InvalidManifestError, match="both an index and a manifest"):
        parse_manifest(named(manifests=[child]), media_type)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not json", "invalid JSON"),
        (b"[1]", "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
        (b"\xff\xfe", "invalid JSON"),
        (b"{" + b" " * MAX_MANIFEST_BYTES + b"}", "the limit is"),
        (named(layers=[{"mediaType": "x", "digest": "md5:abc", "size": 1}]), "cannot be verified"),
        (named(layers=[{"mediaType": "x", "digest": DIGEST, "size": -1}]), "the size -1"),
        (named(layers=[{"mediaType": "x", "digest": DIGEST}]), "invalid JSON"),
    ],
)
def test_invalid_manifest_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(InvalidManifestError, match=words):
        parse_manifest(content, media_types.OCI_MANIFEST)


@pytest.mark.parametrize("media_type", sorted(media_types.SCHEMA1))
def test_schema_1_is_refused_with_advice(media_type: str) -> None:
    with pytest.raises(InvalidManifestError, match="schema 1"):
        parse_manifest(b"{}", media_type)


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        ({"schemaVersion": 2, "mediaType": media_types.DOCKER_LIST}, media_types.DOCKER_LIST),
        ({"schemaVersion": 1}, media_types.DOCKER_SCHEMA1_SIGNED),
        ({"schemaVersion": 2, "layers": []}, media_types.OCI_MANIFEST),
        (
            {"schemaVersion": 2, "manifests": [{"mediaType": "x", "digest": DIGEST, "size": 1}]},
            media_types.OCI_INDEX,
        ),
    ],
)
def test_media_type_is_detected_from_the_content(document: dict[str, object], media_type: str) -> None:
    assert sniff_media_type(json.dumps(document).encode()) == media_type


LAYER = json.dumps([{"mediaType": "x", "digest": DIGEST, "size": 1}])


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (f'{{"manifests": {LAYER}, "layers": []}}', media_types.OCI_INDEX),
        (f'{{"layers": {LAYER}, "manifests": []}}', media_types.OCI_MANIFEST),
        ('{"layers": [], "manifests": []}', media_types.OCI_INDEX),
        ('{"layers": []}', media_types.OCI_INDEX),
        ('{"manifests": []}', media_types.DOCKER_MANIFEST),
    ],
)
def test_empty_list_of_the_other_kind_is_refused(content: str, media_type: str) -> None:
    with pytest.raises(InvalidManifestError, match="index"):
        parse_manifest(content.encode(), media_type)


@pytest.mark.parametrize(
    "content",
    [
        f'{{"layers": {LAYER}, "layers": []}}',
        f'{{"layers": {LAYER}, "\\u006cayers": []}}',
        f'{{"layers": {LAYER}, "Layers": []}}',
        f'{{"Layers": {LAYER}}}',
        f'{{"layers": {LAYER}, "layer\u017f": []}}',
        '{"layers": [{"mediaType": "x", "digest": "a", "Digest": "b", "size": 1}]}',
        '{"layers": [], "annotations": {"a": "1", "a": "2"}}',
    ],
)
def test_keys_that_clients_read_differently_are_refused(content: str) -> None:
    with pytest.raises(AmbiguousManifestError):
        parse_manifest(content.encode(), media_types.OCI_MANIFEST)


def test_invalid_utf_8_is_refused_wherever_it_is() -> None:
    with pytest.raises(InvalidManifestError, match="invalid JSON"):
        parse_manifest(b'{"layers": [], "annotations": {"a": "\xff"}}', media_types.OCI_MANIFEST)
