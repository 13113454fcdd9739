"""Reading layouts: which image a name means, and that false, cut and hostile files are refused."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from local.images import make_image, make_index
from pullahead.errors import (
    AccessDeniedError,
    ConfigError,
    DigestMismatchError,
    ListingRefusedError,
    NotFoundError,
    ResponseTooLargeError,
    Side,
    UnsupportedMediaTypeError,
)
from pullahead.layouts.files import Archive
from pullahead.layouts.source import REF_NAME
from pullahead.oci import Descriptor, digest_of
from pullahead.oci.referrers import fallback_tag
from tests.unit.layouts.layouts import (
    blob_path,
    entry_of,
    named,
    opened,
    repository,
    write_archive,
    write_index,
    write_layout,
)

AMD64, ARM64 = make_image([3000], seed=1), make_image([2000], seed=2, platform="linux/arm64")
INDEX, DOCKER = make_index([AMD64, ARM64]), make_image([10], seed=3, media="docker")


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    return write_layout(tmp_path / "images", {"1.0": INDEX, "docker": DOCKER})


def test_image_is_found_by_name_and_its_children_by_digest(layout: Path) -> None:
    source = opened(layout)
    assert source.get_manifest(named(layout, "1.0")) == INDEX.root
    assert source.get_manifest(named(layout, "docker")) == DOCKER.root
    assert source.head_manifest(named(layout, "1.0")) == INDEX.root.descriptor
    for digest, manifest in INDEX.manifests.items():
        assert source.get_manifest(named(layout, None, digest)) == manifest


def test_only_image_needs_no_name(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"": INDEX})
    assert opened(layout).get_manifest(named(layout, None)) == INDEX.root


def test_whole_reference_that_containerd_writes_is_a_name(tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "images", {"3.20": INDEX})
    names = {REF_NAME: "3.20", "io.containerd.image.name": "docker.io/library/alpine:3.20"}
    write_index(layout, {**entry_of(INDEX.root, ""), "annotations": names})
    for name in names.values():
        assert opened(layout).get_manifest(named(layout, name)) == INDEX.root


def test_one_of_several_images_has_to_be_named(layout: Path) -> None:
    with pytest.raises(NotFoundError, match=r"several images; it has 1\.0, docker.* Name one: oci:.*:NAME"):
        opened(layout).get_manifest(named(layout, None))


def test_name_that_two_images_have_is_refused(layout: Path) -> None:
    write_index(layout, entry_of(INDEX.root, "1.0"), entry_of(DOCKER.root, "1.0"))
    with pytest.raises(NotFoundError, match="several images of this name"):
        opened(layout).get_manifest(named(layout, "1.0"))


def test_name_that_no_image_has_lists_the_others(layout: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no such image; it has 1\.0, docker") as missing:
        opened(layout).get_manifest(named(layout, "2.0"))
    assert missing.value.side is Side.UPSTREAM


def test_tags_are_the_names_that_are_tags(layout: Path) -> None:
    entries = [entry_of(INDEX.root, name) for name in ("b", "a", "docker.io/library/alpine:3", "b", "")]
    write_index(layout, *entries)
    assert opened(layout).list_tags(repository(layout)) == ("b", "a")


@pytest.mark.parametrize(("first", "end"), [(0, None), (0, 3000), (7, None), (7, 100), (2999, None), (3000, None)])
def test_blob_is_read_from_any_byte_to_any_other(layout: Path, first: int, end: int | None) -> None:
    digest = list(AMD64.blobs)[1]
    blob = Descriptor("application/octet-stream", digest, 3000)
    with opened(layout).open_blob(repository(layout), blob, first, end) as pieces:
        assert b"".join(pieces) == AMD64.read_blob(digest)[first:end]


@pytest.mark.parametrize("damage", [lambda content: content + b" ", lambda content: content[:-1]])
def test_manifest_of_other_bytes_is_refused(layout: Path, damage: Callable[[bytes], bytes]) -> None:
    path = blob_path(layout, INDEX.digest)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DigestMismatchError, match="has the digest sha256"):
        opened(layout).get_manifest(named(layout, "1.0"))


@pytest.mark.parametrize("size", [2999, 3001])
def test_blob_of_another_size_is_refused(layout: Path, size: int) -> None:
    digest = list(AMD64.blobs)[1]
    blob = Descriptor("application/octet-stream", digest, size)
    with pytest.raises(DigestMismatchError, match="3000 bytes"), opened(layout).open_blob(repository(layout), blob):
        pass


def test_blob_that_becomes_shorter_is_refused(layout: Path) -> None:
    digest = list(AMD64.blobs)[1]
    blob = Descriptor("application/octet-stream", digest, 3000)
    with opened(layout).open_blob(repository(layout), blob) as pieces:
        os.truncate(blob_path(layout, digest), 0)
        with pytest.raises(DigestMismatchError, match="became shorter"):
            next(pieces)


def test_missing_file_is_not_found(layout: Path) -> None:
    blob_path(layout, INDEX.digest).unlink()
    with pytest.raises(NotFoundError, match="there is no file blobs/sha256/"):
        opened(layout).get_manifest(named(layout, "1.0"))


def test_folder_without_a_layout_is_not_found(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFoundError, match="no OCI layout"):
            opened(path).get_manifest(named(path, "1.0"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("oci-layout", '{"imageLayoutVersion": "2.0.0"}', "unknown version '2.0.0'"),
        ("oci-layout", "{}", "its file oci-layout is invalid"),
        ("index.json", "[]", "not a JSON manifest"),
        ("index.json", '{"manifests": [{}]}', "index.json is invalid"),
        ("index.json", '{"manifests": [], "manifests": []}', "the same key twice"),
        ("index.json", '{"Manifests": []}', "'Manifests'"),
    ],
)
def test_invalid_layout_is_refused(layout: Path, file: str, content: str, message: str) -> None:
    (layout / file).write_text(content)
    with pytest.raises(UnsupportedMediaTypeError, match=message):
        opened(layout).get_manifest(named(layout, "1.0"))


@pytest.mark.parametrize("manifests", ["null", "[]"])
def test_empty_layout_has_no_image(layout: Path, manifests: str) -> None:
    (layout / "index.json").write_text(f'{{"schemaVersion": 2, "manifests": {manifests}}}')
    assert opened(layout).list_tags(repository(layout)) == ()
    with pytest.raises(NotFoundError, match="no named image"):
        opened(layout).get_manifest(named(layout, None))


def test_manifest_that_clients_read_differently_is_refused(layout: Path) -> None:
    content = json.dumps({"schemaVersion": 2, "Layers": []}).encode()
    blob_path(layout, digest_of(content)).write_bytes(content)
    with pytest.raises(UnsupportedMediaTypeError, match="'Layers'"):
        opened(layout).get_manifest(named(layout, None, digest_of(content)))


def test_media_type_of_the_index_has_to_be_the_manifests_own(layout: Path) -> None:
    write_index(layout, {**entry_of(INDEX.root, "1.0"), "mediaType": DOCKER.root.descriptor.media_type})
    with pytest.raises(UnsupportedMediaTypeError, match="the content says media type"):
        opened(layout).get_manifest(named(layout, "1.0"))


def test_size_of_the_index_has_to_be_the_manifests_own(layout: Path) -> None:
    write_index(layout, {**entry_of(INDEX.root, "1.0"), "size": 3})
    with pytest.raises(DigestMismatchError, match=r"index\.json says 3"):
        opened(layout).get_manifest(named(layout, "1.0"))


@pytest.mark.parametrize("odd", [None, {}, {"x": 3, REF_NAME: None}, {REF_NAME: 3}])
def test_odd_annotations_of_another_image_do_not_matter(layout: Path, odd: object) -> None:
    write_index(layout, {**entry_of(DOCKER.root, "x"), "annotations": odd}, entry_of(INDEX.root, "1.0"))
    assert opened(layout).get_manifest(named(layout, "1.0")) == INDEX.root
    assert opened(layout).list_tags(repository(layout)) == ("1.0",)


def test_digest_that_leads_elsewhere_is_refused(layout: Path) -> None:
    write_index(layout, {**entry_of(INDEX.root, "1.0"), "digest": "sha256:../../oci-layout"})
    with pytest.raises(UnsupportedMediaTypeError, match="cannot be verified"):
        opened(layout).get_manifest(named(layout, "1.0"))


def test_file_that_is_too_large_is_not_read(layout: Path) -> None:
    os.truncate(layout / "index.json", 33 * 1024 * 1024)
    with pytest.raises(ResponseTooLargeError, match="the limit is"):
        opened(layout).get_manifest(named(layout, "1.0"))


@pytest.mark.timeout(20)
def test_pipe_in_place_of_a_file_is_not_found(layout: Path) -> None:
    path = blob_path(layout, INDEX.digest)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(NotFoundError):
        opened(layout).get_manifest(named(layout, "1.0"))


def test_linked_blob_is_read(layout: Path, tmp_path: Path) -> None:
    path = blob_path(layout, INDEX.digest)
    path.symlink_to(path.rename(tmp_path / "elsewhere"))
    assert opened(layout).get_manifest(named(layout, "1.0")) == INDEX.root


def test_nothing_is_downloaded_and_nothing_else_listed(layout: Path) -> None:
    with pytest.raises(AccessDeniedError, match="not downloaded"):
        opened(layout).open_url(repository(layout), "https://a.io/b", AMD64.root.descriptor)
    with pytest.raises(ListingRefusedError):
        opened(layout).list_repositories("oci", "a")


class TestArchive:
    @pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
    def test_image_is_read_without_unpacking(self, layout: Path, tmp_path: Path, transport: str) -> None:
        source = opened(write_archive(layout, tmp_path / "images.tar"), transport)
        assert source.get_manifest(named(layout, "1.0")) == INDEX.root
        for digest in AMD64.blobs:
            content = AMD64.read_blob(digest)
            blob = Descriptor("application/octet-stream", digest, len(content))
            with source.open_blob(repository(layout), blob, 1) as pieces:
                assert b"".join(pieces) == content[1:]

    def test_archive_without_a_layout_is_refused_with_advice(self, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").write_text("[]")
        file = write_archive(tmp_path, tmp_path.parent / "old.tar")
        with pytest.raises(UnsupportedMediaTypeError, match=r"no OCI layout.*skopeo copy docker-archive:FILE oci:DIR"):
            opened(file, "docker-archive")

    @pytest.mark.parametrize("content", [b"", b"\x1f\x8b" + b"x" * 1000, b"x" * 2000])
    def test_file_that_is_no_archive_is_refused(self, tmp_path: Path, content: bytes) -> None:
        file = tmp_path / "a.tar"
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="not an uncompressed tar archive"):
            opened(file, "oci-archive")

    def test_compressed_archive_is_refused_with_advice(self, layout: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="decompress it first"):
            opened(write_archive(layout, tmp_path / "a.tar", "w:gz"), "oci-archive")

    def test_missing_archive_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(Exception, match=r"opening the layout of oci-archive:.*no such file"):
            opened(tmp_path / "nowhere", "oci-archive")

    def test_archive_that_is_cut_off_is_refused(self, layout: Path, tmp_path: Path) -> None:
        file = write_archive(layout, tmp_path / "a.tar")
        whole = Archive(file)
        os.truncate(file, 2048)
        blob = Descriptor("application/octet-stream", list(AMD64.blobs)[1], 3000)
        assert whole.has(f"blobs/{blob.digest.replace(':', '/')}")
        source = opened(layout)
        source._files = whole
        with (
            pytest.raises(DigestMismatchError, match="became shorter"),
            source.open_blob(repository(layout), blob) as pieces,
        ):
            list(pieces)


def test_name_that_is_missing_is_found_to_be_none(layout: Path) -> None:
    source = opened(layout)
    assert source.find_manifest(named(layout, "1.0")) == INDEX.root.descriptor
    assert source.find_manifest(named(layout, "2.0")) is None


def test_referrers_are_those_under_the_fallback_tag(layout: Path) -> None:
    assert opened(layout).list_referrers(named(layout, "1.0"), INDEX.digest) == ()
    listed = make_index([DOCKER])
    blob_path(layout, listed.digest).write_bytes(listed.root.content)
    write_index(layout, entry_of(INDEX.root, "1.0"), entry_of(listed.root, fallback_tag(INDEX.digest)))
    (referrer,) = opened(layout).list_referrers(named(layout, "1.0"), INDEX.digest)
    assert referrer.descriptor == DOCKER.root.descriptor
