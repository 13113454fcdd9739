"""Made-up images: the same for the same seed, true to their own digests, and never in memory when large."""

import hashlib
import json
import shutil
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.images import PIECE_BYTES, SPARSE_FROM_BYTES, Media, SparseBlob, make_image, make_index
from local.registry import FakeRegistry
from pullahead.oci import digest_of, media_types, parse_manifest


def test_same_arguments_make_the_same_image() -> None:
    assert make_image([1000], seed=1) == make_image([1000], seed=1)
    assert len({make_image([1000], seed=seed).digest for seed in range(5)}) == 5
    assert make_image([1000], platform="linux/arm64").digest != make_image([1000]).digest


@pytest.mark.parametrize("media", ["oci", "docker"])
def test_every_named_blob_and_manifest_exists(media: Media) -> None:
    index = make_index([make_image([10, b"given"], media=media), make_image([20], seed=1, media=media)], media=media)
    named = set()
    for digest, manifest in index.manifests.items():
        assert digest_of(manifest.content) == digest == manifest.descriptor.digest
        graph = parse_manifest(manifest.content, manifest.descriptor.media_type)
        named |= {blob.digest for blob in graph.blobs}
        assert all(len(index.blobs[blob.digest]) == blob.size for blob in graph.blobs)
        assert all(child.digest in index.manifests for child in graph.children)
    assert named == set(index.blobs)
    assert all(digest_of(index.read_blob(digest)) == digest for digest in named)


def test_children_come_before_their_index() -> None:
    index = make_index([make_index([make_image()]), make_image(seed=2)])
    assert list(index.manifests)[-1] == index.digest
    assert index.root.descriptor.media_type == media_types.OCI_INDEX


def test_index_names_the_platforms_of_its_children() -> None:
    index = make_index([make_image(platform="linux/arm64/v8")])
    platform = json.loads(index.root.content)["manifests"][0]["platform"]
    assert platform == {"os": "linux", "architecture": "arm64", "variant": "v8"}


def test_large_layer_is_not_held_in_memory() -> None:
    tracemalloc.start()
    image = make_image([SPARSE_FROM_BYTES + 1, SPARSE_FROM_BYTES])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(blob) for blob in image.blobs.values()] == [bytes, SparseBlob, bytes]
    assert peak < 2 * SPARSE_FROM_BYTES + 4 * PIECE_BYTES


BLOB = SparseBlob(3 * PIECE_BYTES + 17, seed=3)
WHOLE = b"".join(BLOB.pieces())


@given(st.integers(0, len(BLOB)), st.integers(0, len(BLOB)))
def test_sparse_blob_is_the_same_at_any_offset(first_byte: int, length: int) -> None:
    assert BLOB.read(first_byte, length) == WHOLE[first_byte : first_byte + length]


def test_blocks_of_a_sparse_blob_are_unique() -> None:
    assert len(WHOLE) == BLOB.size == len(BLOB)
    blocks = {
        hashlib.sha256(WHOLE[start : start + PIECE_BYTES]).digest() for start in range(0, len(WHOLE), PIECE_BYTES)
    }
    assert len(blocks) == 4
    assert BLOB.digest == digest_of(WHOLE) != SparseBlob(BLOB.size, seed=4).digest


@pytest.mark.skopeo
def test_skopeo_pulls_from_the_fake(tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not on PATH")
    image = make_index([make_image([1000]), make_image([2000], seed=1, platform="linux/arm64")])
    with FakeRegistry() as registry, FakeRegistry() as storage:
        registry.push(image, "team/app", "1.0")
        registry.token_auth = True
        registry.redirect_blobs_to = storage
        source, copied = f"docker://{registry.host}/team/app:1.0", tmp_path / "copied"
        command = ["skopeo", "copy", "--all", "--src-tls-verify=false", source, f"dir:{copied}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert (copied / "manifest.json").read_bytes() == image.root.content
    for digest in image.blobs:
        assert (copied / digest.partition(":")[2]).read_bytes() == image.read_blob(digest)
