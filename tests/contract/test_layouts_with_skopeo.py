"""Layouts exchanged with skopeo, digest for digest: what we write it reads, and what it writes we read."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from local.images import LocalImage, make_image, make_index
from local.registry import FakeRegistry
from pullahead.cli.main import main
from pullahead.layouts.names import LayoutRepository
from pullahead.layouts.source import open_layout
from pullahead.oci import digest_of
from tests.contract.test_local_ecr_with_skopeo import OciLayout

pytestmark = [
    pytest.mark.skopeo,
    pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH (apt install skopeo)"),
]

INDEX = make_index([make_image([70_000, 10], seed=1), make_image([80_000], seed=2, platform="linux/arm64/v8")])
SINGLE = make_image([1000], seed=3)


def skopeo(*arguments: str) -> bytes:
    return subprocess.run(["skopeo", *arguments], capture_output=True, check=True, timeout=60).stdout


def pullahead(*arguments: str) -> None:
    assert main([*arguments, "--quiet"]) == 0


def blobs_of(folder: Path) -> set[str]:
    """Name the blobs of a layout, each by the digest of its bytes."""
    return {digest_of(path.read_bytes()) for path in (folder / "blobs" / "sha256").iterdir()}


@pytest.mark.parametrize("image", [INDEX, SINGLE], ids=["index", "manifest"])
def test_skopeo_reads_what_is_copied_into_a_layout(tmp_path: Path, image: LocalImage) -> None:
    with FakeRegistry() as registry:
        registry.push(image, "team/app", "1.0")
        pullahead("copy", f"{registry.host}/team/app:1.0", f"oci:{tmp_path}/ours", "--insecure", registry.host)
    assert digest_of(skopeo("inspect", "--raw", f"oci:{tmp_path}/ours:1.0")) == image.digest
    skopeo("copy", "--all", "--preserve-digests", f"oci:{tmp_path}/ours:1.0", f"dir:{tmp_path}/dir")
    assert digest_of((tmp_path / "dir" / "manifest.json").read_bytes()) == image.digest


def test_layout_of_skopeo_is_copied_and_copied_back(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "made")
    root = layout.add_index([layout.add_image("amd64", [b"a" * 5000]), layout.add_image("arm64", [b"b" * 70])])
    skopeo("copy", "--all", "--preserve-digests", layout.name(root, "v1"), f"oci:{tmp_path}/theirs:1.0")
    pullahead("copy", f"oci:{tmp_path}/theirs", f"oci:{tmp_path}/ours:2.0")
    assert blobs_of(tmp_path / "ours") == blobs_of(tmp_path / "theirs")
    skopeo("copy", "--all", "--preserve-digests", f"oci:{tmp_path}/ours:2.0", f"oci:{tmp_path}/back:3.0")
    (entry,) = json.loads((tmp_path / "back" / "index.json").read_text())["manifests"]
    assert entry["digest"] == root["digest"]


def test_skopeo_adds_to_our_layout_and_we_to_its(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "made")
    source = layout.name(layout.add_image("amd64", [b"a"]), "v1")
    for number, copy in enumerate([pullahead, skopeo, pullahead, skopeo]):
        copy("copy", source, f"oci:{tmp_path}/shared:{number}")
    names = {digest_of(skopeo("inspect", "--raw", f"oci:{tmp_path}/shared:{number}")) for number in range(4)}
    assert len(names) == 1
    shared = LayoutRepository("oci", str(tmp_path / "shared"))
    assert open_layout(shared).list_tags(shared) == ("0", "1", "2", "3")


def test_archive_of_skopeo_is_read(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "made")
    root = layout.add_image("amd64", [b"a" * 5000])
    skopeo("copy", "--preserve-digests", layout.name(root, "v1"), f"oci-archive:{tmp_path}/a.tar:1.0")
    pullahead("copy", f"oci-archive:{tmp_path}/a.tar:1.0", f"oci:{tmp_path}/ours:1.0")
    assert digest_of(skopeo("inspect", "--raw", f"oci:{tmp_path}/ours:1.0")) == root["digest"]
