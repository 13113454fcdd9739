"""Writing layouts: index.json names complete images only, whatever breaks, and what others wrote stays as it is."""

import json
import os
import resource
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.images import LocalImage, SparseBlob, make_image, make_index
from pullahead.errors import (
    ConflictError,
    DigestMismatchError,
    ManifestRefusedError,
    NotFoundError,
    RegistryError,
    Side,
    UnsupportedMediaTypeError,
)
from pullahead.layouts.target import OciLayoutTarget
from pullahead.oci import Descriptor, digest_of, parse_reference
from pullahead.oci.registries import Offered, TaggedManifest
from tests.fakes.upstream import FakeUpstream
from tests.unit.layouts.layouts import blob_path, copied, entry_of, lacks, named, opened, write_layout

MIB = 1024 * 1024
SOURCE = "ghcr.io/team/app:1.0"
AMD64, ARM64 = make_image([3000], seed=1), make_image([2000], seed=2, platform="linux/arm64")
INDEX, OTHER = make_index([AMD64, ARM64]), make_image([500], seed=3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


def copy(folder: Path, image: LocalImage = INDEX, name: str = "1.0", upstream: FakeUpstream | None = None) -> None:
    if upstream is None:
        upstream = FakeUpstream(piece_bytes=100)
        upstream.serve(image, SOURCE)
    copied(parse_reference(SOURCE), named(folder, name), upstream, OciLayoutTarget())


def unfinished(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".pullahead-*")]


def names(folder: Path) -> list[str]:
    """List the names in index.json, in their order."""
    manifests = json.loads((folder / "index.json").read_text())["manifests"]
    return [entry["annotations"]["org.opencontainers.image.ref.name"] for entry in manifests]


def test_image_is_written_byte_for_byte(folder: Path) -> None:
    copy(folder)
    assert lacks(folder, INDEX, "1.0") == []
    assert json.loads((folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((folder / "index.json").read_text())
    assert (index["schemaVersion"], index["manifests"]) == (2, [entry_of(INDEX.root, "1.0")])
    assert unfinished(folder) == []
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()} == {0o644}


def test_layout_is_copied_to_another(folder: Path, tmp_path: Path) -> None:
    copy(folder)
    other = tmp_path / "other"
    copied(named(folder, "1.0"), named(other, "2.0"), opened(folder), OciLayoutTarget())
    assert lacks(other, INDEX, "2.0") == []


def test_same_image_again_writes_nothing(folder: Path) -> None:
    copy(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    copy(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_second_image_stands_beside_the_first_and_a_name_moves(folder: Path) -> None:
    copy(folder)
    copy(folder, OTHER, "2.0")
    copy(folder, OTHER, "1.0")
    assert names(folder) == ["2.0", "1.0"]
    assert lacks(folder, OTHER, "1.0") == lacks(folder, OTHER, "2.0") == []


def test_what_other_tools_wrote_into_the_index_stays(folder: Path) -> None:
    write_layout(folder, {"old": OTHER})
    theirs = {**entry_of(OTHER.root, ""), "platform": {"os": "linux", "architecture": "amd64"}, "x-own": [1, 2.50]}
    document = {"schemaVersion": 2, "manifests": [theirs], "annotations": {"a": "b"}, "x-tool": {"z": 1, "a": 2}}
    (folder / "index.json").write_text(json.dumps(document))
    copy(folder)
    written = json.loads((folder / "index.json").read_text())
    ours = entry_of(INDEX.root, "1.0")
    assert {**document, "manifests": [theirs, ours]} == {
        key: value for key, value in written.items() if key != "mediaType"
    }


def test_copy_that_breaks_leaves_the_index_and_no_unfinished_file(folder: Path) -> None:
    copy(folder, OTHER, "1.0")
    before = (folder / "index.json").read_bytes()
    lying = FakeUpstream(piece_bytes=100)
    lying.serve(INDEX, SOURCE)
    digest = list(AMD64.blobs)[1]
    lying.serve_blob(digest, b"x" * 3000)
    with pytest.raises(DigestMismatchError):
        copy(folder, upstream=lying)
    assert (folder / "index.json").read_bytes() == before
    assert not blob_path(folder, digest).exists()
    assert unfinished(folder) == []


def test_first_copy_that_breaks_leaves_no_index(folder: Path) -> None:
    lying = FakeUpstream()
    lying.serve(INDEX, SOURCE)
    lying.serve_blob(list(AMD64.blobs)[1], b"x" * 3000)
    with pytest.raises(DigestMismatchError):
        copy(folder, upstream=lying)
    assert not (folder / "index.json").exists()
    copy(folder)
    assert lacks(folder, INDEX, "1.0") == []


@pytest.mark.parametrize("damage", [b"", b"x" * 3000])
def test_damaged_blob_is_written_anew(folder: Path, damage: bytes) -> None:
    copy(folder, AMD64, "amd64")
    blob_path(folder, list(AMD64.blobs)[1]).write_bytes(damage)
    copy(folder)
    assert lacks(folder, INDEX, "1.0") == []


def test_blob_that_several_images_share_is_read_once(folder: Path) -> None:
    copy(folder, AMD64, "amd64")
    target = OciLayoutTarget()
    digest = list(AMD64.blobs)[1]
    assert target.present_blobs(str(folder), [digest]) == {digest}
    before = blob_path(folder, digest).stat().st_atime_ns
    os.utime(blob_path(folder, digest), ns=(before - 10**12, before))
    assert target.present_blobs(str(folder), [digest]) == {digest}
    assert blob_path(folder, digest).stat().st_atime_ns == before - 10**12
    blob_path(folder, digest).unlink()
    assert target.present_blobs(str(folder), [digest]) == frozenset()


def test_name_whose_manifest_is_damaged_is_not_served(folder: Path) -> None:
    copy(folder)
    blob_path(folder, INDEX.digest).write_bytes(b"{}")
    assert OciLayoutTarget().published_digests(str(folder), ["1.0"]) == {}
    copy(folder)
    assert lacks(folder, INDEX, "1.0") == []


def test_blob_of_another_digest_than_promised_is_refused(folder: Path) -> None:
    target = OciLayoutTarget()
    target.ensure_repository(str(folder))

    @contextmanager
    def lying() -> Iterator[Iterator[bytes]]:
        yield iter([b"lying"])

    promised = Descriptor("application/octet-stream", digest_of(b"truth"), 5)
    with pytest.raises(DigestMismatchError) as refused:
        target.stream_blob(str(folder), promised, lying)
    assert refused.value.side is Side.TARGET
    assert unfinished(folder) == []


@pytest.mark.parametrize("file", ["readme.txt", "index.json"])
def test_folder_with_other_files_is_refused(folder: Path, file: str) -> None:
    folder.mkdir()
    (folder / file).write_text("{}")
    with pytest.raises(ManifestRefusedError, match="not empty, and no OCI layout"):
        copy(folder)
    assert [path.name for path in folder.iterdir()] == [file]


def test_file_in_the_place_of_the_folder_is_refused(folder: Path) -> None:
    folder.write_text("mine")
    with pytest.raises(ManifestRefusedError, match=r"it is a file, and a layout is a folder. Name a folder"):
        copy(folder)
    assert folder.read_text() == "mine"


def test_layout_of_another_version_is_refused(folder: Path) -> None:
    write_layout(folder, {})
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')
    with pytest.raises(UnsupportedMediaTypeError, match=r"2\.0\.0"):
        copy(folder)


def test_index_that_cannot_be_read_is_not_replaced(folder: Path) -> None:
    write_layout(folder, {})
    (folder / "index.json").write_text("{")
    with pytest.raises(UnsupportedMediaTypeError):
        copy(folder)
    assert (folder / "index.json").read_text() == "{"


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system refuse to write larger files, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_cannot_be_written_ends_the_copy_at_once_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(RegistryError, match="at the target failed: file too large") as refused, files_of_at_most(2500):
        copy(folder)
    assert not refused.value.retryable
    assert unfinished(folder) == []
    assert not (folder / "index.json").exists()
    copy(folder)
    assert lacks(folder, INDEX, "1.0") == []


def test_missing_layout_is_not_found(folder: Path) -> None:
    with pytest.raises(NotFoundError, match="no such layout"):
        OciLayoutTarget().put_manifest(str(folder), OTHER.root, "1.0")


def test_files_that_a_killed_process_left_are_removed_and_others_are_not(folder: Path) -> None:
    copy(folder)
    (folder / ".pullahead-killed").write_bytes(b"half a blob")
    (folder / ".pullahead-new").touch()
    half, go_on = threading.Event(), threading.Event()

    @contextmanager
    def slow() -> Iterator[Iterator[bytes]]:
        def pieces() -> Iterator[bytes]:
            yield b"half "
            half.set()
            assert go_on.wait(20)
            yield b"a blob"

        yield pieces()

    blob = Descriptor("application/octet-stream", digest_of(b"half a blob"), 11)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(OciLayoutTarget().stream_blob, str(folder), blob, slow)
        assert half.wait(20)
        OciLayoutTarget().ensure_repository(str(folder))
        left = unfinished(folder)
        go_on.set()
        assert written.result() is Offered.COPIED
    assert ".pullahead-killed" not in left
    assert len(left) == 2
    assert blob_path(folder, blob.digest).read_bytes() == b"half a blob"


def test_images_that_are_written_at_once_all_get_their_names(folder: Path) -> None:
    copy(folder, OTHER, "0")
    targets = [OciLayoutTarget() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        put = [pool.submit(targets[n % 8].put_manifest, str(folder), OTHER.root, str(n)) for n in range(40)]
        assert [future.result() for future in put] == [None] * 40
    assert sorted(names(folder), key=int) == [str(n) for n in range(40)]


def test_memory_does_not_grow_with_a_blob(folder: Path) -> None:
    large = SparseBlob(48 * MIB, seed=7)
    target = OciLayoutTarget()
    target.ensure_repository(str(folder))

    @contextmanager
    def pieces() -> Iterator[Iterator[bytes]]:
        yield large.pieces()

    blob = Descriptor("application/octet-stream", large.digest, len(large))
    tracemalloc.start()
    try:
        target.stream_blob(str(folder), blob, pieces)
        with opened(folder).open_blob(named(folder, None).repository, blob) as read:
            assert sum(map(len, read)) == len(large)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


def test_manifest_is_read_as_its_name_says_and_manifests_are_found_up_to_the_first_missing_one(folder: Path) -> None:
    copy(folder)
    target, path = OciLayoutTarget(), str(folder)
    assert target.read_manifest(path, "1.0") == TaggedManifest(INDEX.root, INDEX.digest)
    assert target.read_manifest(path, "2.0") is None
    there, missing = INDEX.root.descriptor.digest, OTHER.digest
    assert list(target.present_manifests(path, [there, missing, there])) == [there]
    assert not target.lists_referrers(path, there)


def test_name_that_another_process_moved_is_not_written(folder: Path) -> None:
    copy(folder)
    copy(folder, OTHER, "2.0")
    target, path = OciLayoutTarget(), str(folder)
    with pytest.raises(ConflictError, match="another process moved the tag"):
        target.put_manifest(path, OTHER.root, "1.0", if_version=OTHER.digest)
    assert lacks(folder, INDEX, "1.0") == []
    target.put_manifest(path, OTHER.root, "1.0", if_version=INDEX.digest)
    assert lacks(folder, OTHER, "1.0") == []


def test_damage_of_the_target_is_not_blamed_on_the_source(folder: Path) -> None:
    copy(folder)
    blob_path(folder, INDEX.digest).write_bytes(b"{}")
    with pytest.raises(DigestMismatchError) as damaged:
        OciLayoutTarget().read_manifest(str(folder), "1.0")
    assert damaged.value.side is Side.TARGET
