"""One image copied in one process: what is sent, what is not, and that the tag moves last or not at all."""

from collections.abc import Sequence

import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.errors import (
    AccessDeniedError,
    ConfigError,
    DigestMismatchError,
    RegistryUnavailableError,
    Side,
    UploadLostError,
)
from pullahead.oci import Descriptor, parse_manifest, parse_reference
from pullahead.oci.registries import Offered
from pullahead.standalone.copy_image import CopyOptions, CopySummary, copy_image
from tests.fakes.samples import failed
from tests.fakes.streaming import StreamingFakeTarget
from tests.fakes.upstream import FakeUpstream

SOURCE, TARGET = "ghcr.io/team/app:1.0", "registry.example/mirror/app:1.0"
SHARED = bytes(range(200))
AMD64 = make_image([SHARED, 3000], seed=1)
ARM64 = make_image([SHARED, 2000], seed=2, platform="linux/arm64/v8")
INDEX = make_index([AMD64, ARM64])


class Progress:
    def __init__(self) -> None:
        self.blobs: list[Descriptor] = []
        self.what: list[Offered] = []
        self.bytes = 0

    def planned(self, blobs: Sequence[Descriptor]) -> None:
        self.blobs += blobs

    def offered(self, blob: Descriptor, what: Offered) -> None:
        assert blob in self.blobs
        self.what.append(what)

    def sent(self, blob: Descriptor, count_bytes: int) -> None:
        assert blob in self.blobs
        self.bytes += count_bytes


class Copy:
    def __init__(self, image: LocalImage = INDEX) -> None:
        self.image = image
        self.upstream = FakeUpstream(piece_bytes=100)
        self.upstream.serve(image, SOURCE)
        self.target = StreamingFakeTarget()
        self.progress = Progress()
        self.waits: list[int] = []

    def run(self, *platforms: str, target: str = TARGET) -> CopySummary:
        return copy_image(
            parse_reference(SOURCE),
            parse_reference(target),
            upstream=self.upstream,
            destination=self.target,
            wait_after_break=self.waits.append,
            progress=self.progress,
            clock=lambda: 0.0,
            cpu_clock=lambda: 0.0,
            options=CopyOptions(platforms),
        )

    def published(self) -> str | None:
        return self.target.published_digests("mirror/app", ["1.0"]).get("1.0")


def test_everything_is_copied_once_and_the_tag_moves_last() -> None:
    copy = Copy()
    summary = copy.run()
    assert copy.published() == INDEX.digest == summary.digest
    assert copy.target.blobs("mirror/app") == {digest: INDEX.read_blob(digest) for digest in INDEX.blobs}
    assert copy.target.pushes[-1] == (INDEX.digest, "1.0")
    assert [tag for _, tag in copy.target.pushes[:-1]] == [None, None]
    assert (summary.blobs_copied, summary.blobs_present, summary.blobs_mounted) == (len(INDEX.blobs), 0, 0)
    assert summary.bytes_copied == copy.progress.bytes == copy.upstream.bytes_sent
    assert (copy.upstream.heads, copy.upstream.script.count("get_manifest")) == (0, 3)


def test_image_that_is_served_costs_one_request_on_each_side() -> None:
    copy = Copy()
    copy.run()
    copy.upstream.script.resume()
    copy.target.script.resume()
    summary = copy.run()
    assert summary.already_there
    assert copy.upstream.script.calls == ["get_manifest"]
    assert copy.target.script.calls == ["published_digests"]


def test_blob_that_the_target_has_is_not_read() -> None:
    copy = Copy(AMD64)
    first, second, third = AMD64.blobs
    copy.target.ensure_repository("team/other")
    copy.target.ensure_repository("mirror/app")
    copy.target.hold("mirror/app", {first: AMD64.read_blob(first)})
    summary = copy.run()
    assert (summary.blobs_copied, summary.blobs_present) == (2, 1)
    assert copy.upstream.script.count("open_blob") == 2
    assert set(copy.target.streamed) == {second, third}


def test_blob_of_another_repository_of_the_same_registry_is_mounted() -> None:
    copy = Copy(AMD64)
    copy.target.mountable = {("team/app", digest): AMD64.read_blob(digest) for digest in AMD64.blobs}
    summary = copy.run(target="ghcr.io/mirror/app:1.0")
    assert (summary.blobs_mounted, summary.bytes_copied) == (len(AMD64.blobs), 0)
    assert copy.upstream.script.count("open_blob") == 0


@pytest.mark.parametrize("wrong", list(INDEX.blobs))
def test_tag_does_not_move_where_a_blob_is_wrong(wrong: str) -> None:
    copy = Copy()
    digest = next(digest for digest in INDEX.blobs if digest == wrong)
    content = INDEX.read_blob(digest)
    copy.upstream.serve_blob(digest, bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(DigestMismatchError):
        copy.run()
    assert copy.published() is None
    assert digest not in copy.target.blobs("mirror/app")


def test_tag_does_not_move_where_a_blob_is_refused() -> None:
    copy = Copy()
    copy.upstream.script.fail("open_blob", failed(AccessDeniedError), passing=2)
    with pytest.raises(AccessDeniedError):
        copy.run()
    assert copy.published() is None


def test_source_that_breaks_is_resumed_in_the_same_stream() -> None:
    copy = Copy(AMD64)
    copy.upstream.cut(50, 60)
    copy.run()
    assert copy.published() == AMD64.digest
    assert copy.target.script.count("stream_blob") == len(AMD64.blobs)


@pytest.mark.parametrize("kind", [RegistryUnavailableError, UploadLostError])
def test_blob_is_sent_again_where_the_target_breaks_its_stream(
    kind: type[RegistryUnavailableError | UploadLostError],
) -> None:
    copy = Copy(AMD64)
    copy.target.script.fail("stream_blob", failed(kind, side=Side.TARGET), times=2)
    copy.run()
    assert copy.published() == AMD64.digest


def test_blobs_go_by_parts_where_the_target_takes_no_streams() -> None:
    copy = Copy(AMD64)
    copy.target.script.fail("stream_blob", failed(RegistryUnavailableError, side=Side.TARGET), times=100)
    summary = copy.run()
    assert copy.published() == AMD64.digest
    assert summary.blobs_copied == len(AMD64.blobs)
    assert copy.target.script.count("upload_part") > 0


class TestPlatforms:
    def test_one_platform_is_its_manifest_alone(self) -> None:
        copy = Copy()
        assert copy.run("linux/arm64").digest == ARM64.digest
        assert copy.published() == ARM64.digest
        assert set(copy.target.blobs("mirror/app")) == set(ARM64.blobs)

    def test_several_platforms_make_the_same_smaller_index_every_time(self) -> None:
        third = make_image([500], seed=3, platform="linux/s390x")
        digests = {Copy(make_index([AMD64, ARM64, third])).run("linux/amd64", "linux/arm64/v8").digest for _ in "ab"}
        assert len(digests) == 1
        copy = Copy(make_index([AMD64, ARM64, third]))
        digest = copy.run("linux/amd64", "linux/arm64").digest
        manifest = copy.target.manifests("mirror/app")[digest]
        children = parse_manifest(manifest.content, manifest.descriptor.media_type).children
        assert [child.digest for child in children] == [AMD64.digest, ARM64.digest]

    def test_missing_platform_is_named_with_those_that_exist(self) -> None:
        copy = Copy()
        with pytest.raises(ConfigError, match=r"no platform windows/amd64; it has linux/amd64, linux/arm64/v8"):
            copy.run("windows/amd64")
        assert copy.target.script.calls == []
