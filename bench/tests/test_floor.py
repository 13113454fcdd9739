"""What the target alone takes: pushed as it is, and never taken for less than it is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bench.copies import Stage
from bench.floor import FloorFailedError, blob_files, push_alone
from bench.servers import Registry
from local.images import make_image

IMAGE = make_image([2_000_000, 1000], seed=3)

pytestmark = [pytest.mark.real_registry, pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")]


@pytest.fixture
def target(stage: Stage) -> Iterator[Registry]:
    with stage.registries.run(stage.folder / "registry", stage.folder / "content") as running:
        yield running


def test_large_blobs_arrive_whole_and_small_ones_are_left_out(target: Registry, tmp_path: Path) -> None:
    with blob_files(IMAGE, tmp_path) as files:
        assert push_alone(files, target) > 0
    held: dict[str, int] = {
        digest: requests.head(f"{target.url}/v2/floor/blobs/{digest}", timeout=5).status_code for digest in IMAGE.blobs
    }
    assert sorted(held.values()) == [200, 404, 404]
    assert held[files[0].digest] == 200
    assert not files[0].path.exists()


def test_push_that_is_refused_is_no_figure(target: Registry, tmp_path: Path) -> None:
    with blob_files(IMAGE, tmp_path) as files:
        files[0].path.write_bytes(b"something else")
        with pytest.raises(FloorFailedError, match="was answered 400"):
            push_alone(files, target)
