"""What any upstream registry must do for us, asked of our fake and of a real one with the same tests."""

import concurrent.futures
import hashlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from local.images import LocalImage, SparseBlob, make_image, make_index, push_image
from local.registry import FakeRegistry
from pullahead.errors import DigestMismatchError, NotFoundError
from pullahead.oci import Descriptor, Digest, Reference, Repository, digest_of
from pullahead.oci.registries import Upstream
from pullahead.registry.client import UpstreamRegistry
from pullahead.rules.model import UpstreamSettings
from tests.real_servers import docker_registry

MIB = 1024 * 1024


class Served(NamedTuple):
    """A registry that is up, and the way to put images into it."""

    host: str
    push: Callable[[LocalImage, str, str], None]

    def reference(self, repository: str, tag: str | None = None, digest: Digest | None = None) -> Reference:
        return Reference(Repository(self.host, repository), tag, digest)


@pytest.fixture(scope="module")
def fake() -> Iterator[Served]:
    with FakeRegistry() as registry:
        yield Served(registry.host, registry.push)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield Served(host, lambda image, repository, tag: push_image(image, f"http://{host}", repository, tag))


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real_registry)])
def served(request: pytest.FixtureRequest) -> Served:
    chosen: Served = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def upstream() -> Upstream:
    return UpstreamRegistry(lambda host: UpstreamSettings(host, plain_http=True))


IMAGES = {
    "OCI manifest": make_image([1000, 2000], seed=1),
    "Docker manifest": make_image([1000], seed=2, media="docker"),
    "OCI index": make_index([make_image(seed=3), make_image(seed=4, platform="linux/arm64/v8")]),
    "Docker list": make_index([make_image(seed=5, media="docker")], media="docker"),
}


@pytest.fixture(params=IMAGES)
def image(request: pytest.FixtureRequest) -> LocalImage:
    return IMAGES[request.param]


def blob_of(image: LocalImage, number: int = -1) -> Descriptor:
    digest = list(image.blobs)[number]
    return Descriptor("application/octet-stream", digest, len(image.blobs[digest]))


def test_head_of_a_tag_returns_the_pushed_descriptor(served: Served, upstream: Upstream, image: LocalImage) -> None:
    served.push(image, "team/app", "1.0")
    assert upstream.head_manifest(served.reference("team/app", "1.0")) == image.root.descriptor


def test_head_by_digest_returns_the_same_descriptor(served: Served, upstream: Upstream, image: LocalImage) -> None:
    served.push(image, "team/app", "1.0")
    assert upstream.head_manifest(served.reference("team/app", None, image.digest)) == image.root.descriptor


def test_every_manifest_comes_back_byte_for_byte(served: Served, upstream: Upstream, image: LocalImage) -> None:
    served.push(image, "team/app", "1.0")
    assert upstream.get_manifest(served.reference("team/app", "1.0")) == image.root
    for digest, manifest in image.manifests.items():
        assert upstream.get_manifest(served.reference("team/app", "1.0", digest)) == manifest


def test_a_moved_tag_names_the_new_manifest_and_the_old_one_stays(served: Served, upstream: Upstream) -> None:
    old, new = make_image(seed=11), make_image(seed=12)
    served.push(old, "moved", "latest")
    served.push(new, "moved", "latest")
    assert upstream.head_manifest(served.reference("moved", "latest")).digest == new.digest
    assert upstream.get_manifest(served.reference("moved", None, old.digest)) == old.root


@pytest.mark.parametrize(
    ("repository", "tag", "digest"),
    [("team/app", "missing", None), ("team/missing", "1.0", None), ("team/app", None, digest_of(b"missing"))],
)
def test_a_missing_manifest_is_not_found(
    served: Served, upstream: Upstream, repository: str, tag: str | None, digest: Digest | None
) -> None:
    served.push(make_image(), "team/app", "1.0")
    reference = served.reference(repository, tag, digest)
    with pytest.raises(NotFoundError):
        upstream.head_manifest(reference)
    with pytest.raises(NotFoundError):
        upstream.get_manifest(reference)


@pytest.mark.parametrize("first_byte", [0, 1, 4095, 4096, 99_999, 100_000])
def test_a_blob_is_read_from_any_byte(served: Served, upstream: Upstream, first_byte: int) -> None:
    image = make_image([100_000], seed=21)
    served.push(image, "blobs", "1")
    blob = blob_of(image)
    with upstream.open_blob(Repository(served.host, "blobs"), blob, first_byte) as pieces:
        assert b"".join(pieces) == image.read_blob(blob.digest)[first_byte:]


@pytest.mark.parametrize(("first_byte", "end"), [(0, 1), (0, 99_999), (4095, 4097), (99_999, 100_000), (5, 5)])
def test_a_part_of_a_blob_is_read(served: Served, upstream: Upstream, first_byte: int, end: int) -> None:
    image = make_image([100_000], seed=21)
    served.push(image, "blobs", "1")
    blob = blob_of(image)
    with upstream.open_blob(Repository(served.host, "blobs"), blob, first_byte, end) as pieces:
        assert b"".join(pieces) == image.read_blob(blob.digest)[first_byte:end]


def test_a_large_blob_comes_in_pieces_of_at_most_256_kib(served: Served, upstream: Upstream) -> None:
    image = make_image([SparseBlob(20 * MIB + 7, seed=22)])
    served.push(image, "blobs", "large")
    sha256, largest = hashlib.sha256(), 0
    with upstream.open_blob(Repository(served.host, "blobs"), blob_of(image)) as pieces:
        for piece in pieces:
            sha256.update(piece)
            largest = max(largest, len(piece))
    assert f"sha256:{sha256.hexdigest()}" == blob_of(image).digest
    assert 0 < largest <= MIB


def test_a_reader_that_stops_in_the_middle_can_go_on_from_there(served: Served, upstream: Upstream) -> None:
    image = make_image([SparseBlob(3 * MIB, seed=23)])
    served.push(image, "blobs", "stopped")
    repository, blob = Repository(served.host, "blobs"), blob_of(image)
    with upstream.open_blob(repository, blob) as pieces:
        read = next(pieces)
    with upstream.open_blob(repository, blob, len(read)) as pieces:
        read += b"".join(pieces)
    assert digest_of(read) == blob.digest


def test_a_missing_blob_is_not_found(served: Served, upstream: Upstream) -> None:
    served.push(make_image(), "blobs", "1")
    missing = Descriptor("application/octet-stream", digest_of(b"missing"), 7)
    with pytest.raises(NotFoundError), upstream.open_blob(Repository(served.host, "blobs"), missing):
        pass


@pytest.mark.parametrize("first_byte", [0, 10])
@pytest.mark.parametrize("promised", [999, 1001])
def test_a_blob_of_another_size_than_promised_is_refused(
    served: Served, upstream: Upstream, promised: int, first_byte: int
) -> None:
    image = make_image([1000], seed=24)
    served.push(image, "blobs", "size")
    blob = Descriptor("application/octet-stream", blob_of(image).digest, promised)
    with (
        pytest.raises(DigestMismatchError),
        upstream.open_blob(Repository(served.host, "blobs"), blob, first_byte) as pieces,
    ):
        list(pieces)


def test_an_offset_after_the_true_end_is_refused_without_waiting(served: Served, upstream: Upstream) -> None:
    image = make_image([1000], seed=24)
    served.push(image, "blobs", "size")
    blob = Descriptor("application/octet-stream", blob_of(image).digest, 5000)
    with pytest.raises(DigestMismatchError), upstream.open_blob(Repository(served.host, "blobs"), blob, 4000):
        pass


def test_many_threads_share_one_client(served: Served, upstream: Upstream) -> None:
    image = make_image([50_000 + number for number in range(12)], seed=25)
    served.push(image, "blobs", "threads")

    def read(number: int) -> bool:
        blob = blob_of(image, number)
        with upstream.open_blob(Repository(served.host, "blobs"), blob) as pieces:
            return digest_of(b"".join(pieces)) == blob.digest

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(len(image.blobs))))
