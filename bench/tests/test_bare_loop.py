"""The bare loops do the work of a copy and of a check in whole, and end badly where it was not done."""

import contextlib
import http.server
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from bench.bare_check import differing
from bench.discarding_registry import DiscardingHandler
from bench.measure import CommandFailedError, run_measured
from bench.tools import Copy, bare_loop
from local.images import LocalImage, make_image, make_index
from local.registry import FakeRegistry
from local.serving import ServerThread

_BLOCK = 256 * 1024


class _Target(DiscardingHandler):
    """Keeps what came, in the order of its coming: bodies of blobs, and paths of manifests in `manifests`."""

    manifests: ClassVar[dict[str, tuple[str, bytes]]] = {}
    blobs: ClassVar[list[bytes]] = []

    def skip(self) -> int:
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if self.command == "PUT" and len(body) == size:
            self.blobs.append(body)
        return size


@pytest.fixture
def source() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def target() -> Iterator[str]:
    """Host and port of a registry that keeps what it is sent in `_Target`."""
    _Target.manifests.clear()
    _Target.blobs.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Target)
    thread = ServerThread(server)
    thread.start()
    with contextlib.closing(server.socket):
        yield f"127.0.0.1:{server.server_port}"
        thread.stop()


def copy(source: FakeRegistry, target: str, folder: Path) -> None:
    command = bare_loop().copy(Copy(f"{source.host}/team/app:1", f"{target}/mirror/app:1", plain_http=True))
    run_measured(command, folder / "cost")


@pytest.mark.parametrize("size", [1, _BLOCK - 1, _BLOCK, _BLOCK + 1, 3 * _BLOCK + 5])
def test_every_blob_arrives_whole_and_the_manifest_last(
    size: int, source: FakeRegistry, target: str, tmp_path: Path
) -> None:
    image = make_image([size], seed=5)
    source.push(image, "team/app", "1")

    copy(source, target, tmp_path)

    assert sorted(_Target.blobs) == sorted(image.read_blob(digest) for digest in image.blobs)
    assert _Target.manifests["/v2/mirror/app/manifests/1"] == _raw(image)


def test_index_is_copied_after_its_manifests_and_a_shared_blob_once(
    source: FakeRegistry, target: str, tmp_path: Path
) -> None:
    shared = b"shared layer"
    index = make_index([make_image([shared, 10], seed=seed, platform=f"linux/{seed}") for seed in (1, 2)])
    source.push(index, "team/app", "1")

    copy(source, target, tmp_path)

    assert _Target.blobs.count(shared) == 1
    assert len(_Target.blobs) == len(index.blobs)
    assert list(_Target.manifests)[-1] == "/v2/mirror/app/manifests/1"
    assert len(_Target.manifests) == 3
    assert _Target.manifests["/v2/mirror/app/manifests/1"] == _raw(index)


def test_wrong_bytes_are_never_sent_to_their_end(source: FakeRegistry, target: str, tmp_path: Path) -> None:
    image = make_image([_BLOCK + 10], seed=5)
    source.push(image, "team/app", "1")
    layer = next(digest for digest, blob in image.blobs.items() if len(blob) == _BLOCK + 10)
    source.lie_blob(layer, bytes(_BLOCK + 10))

    with pytest.raises(CommandFailedError, match=f"other bytes than {layer}"):
        copy(source, target, tmp_path)

    assert len(_Target.blobs) == 1  # the config
    assert not _Target.manifests


def test_refusal_is_told_with_its_status(source: FakeRegistry, target: str, tmp_path: Path) -> None:
    source.push(make_image([10], seed=5), "team/app", "1")
    source.fail("GET", "/blobs/", status=503)

    with pytest.raises(CommandFailedError, match=r"answered GET /v2/team/app/blobs/sha256:\w+ with HTTP/1.1 503"):
        copy(source, target, tmp_path)


def test_connection_that_ends_too_soon_is_no_copy(source: FakeRegistry, target: str, tmp_path: Path) -> None:
    source.push(make_image([_BLOCK], seed=5), "team/app", "1")
    source.cut("/blobs/", after_bytes=100, times=2)

    with pytest.raises(CommandFailedError, match=f"{source.host} ended the connection"):
        copy(source, target, tmp_path)

    assert not _Target.manifests


def test_check_asks_each_side_once_for_each_tag_and_names_what_differs(source: FakeRegistry) -> None:
    tags = [f"v{number}" for number in range(20)]
    with FakeRegistry() as target:
        for number, tag in enumerate(tags):
            source.push(make_image([10], seed=number), "team/app", tag)
            target.push(make_image([10], seed=number), "mirror/app", tag)
        sides = f"{source.host}/team/app", f"{target.host}/mirror/app"

        assert differing(*sides, tags, None) == []
        assert [source.count("HEAD"), target.count("HEAD")] == [20, 20]
        assert [source.connections, target.connections] == [4, 4]

        target.push(make_image([10], seed=100), "mirror/app", "v3")
        target.delete_tag("mirror/app", "v7")
        assert differing(*sides, tags, None) == ["v3", "v7"]


def _raw(image: LocalImage) -> tuple[str, bytes]:
    return image.root.descriptor.media_type, image.root.content
