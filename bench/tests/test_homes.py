"""A tool in a new home knows nothing of what it copied before."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.copies import Stage
from bench.homes import fresh_home
from bench.servers import Registry
from bench.tools import Copy, find_tools
from local.images import make_image, push_image


def test_a_home_is_empty_again_and_gone_afterwards(tmp_path: Path) -> None:
    with fresh_home(tmp_path) as first:
        (Path(first["XDG_DATA_HOME"]) / "learnt").write_text("much")
    with fresh_home(tmp_path) as second:
        left = [path for path in Path(second["HOME"]).rglob("*") if path.is_file()]

    assert left == []
    assert first["HOME"] != second["HOME"]
    assert list(tmp_path.iterdir()) == []


def test_every_folder_that_a_tool_may_ask_for_is_in_the_home(tmp_path: Path) -> None:
    with fresh_home(tmp_path) as home:
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"):
            assert Path(home[name]).parent == Path(home["HOME"])


@pytest.mark.real_registry
@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH")
def test_skopeo_offers_to_mount_what_an_earlier_copy_left(stage: Stage) -> None:
    folder = stage.folder
    with stage.registries.run(folder / "registry", folder / "content", count=True) as registry:
        push_image(make_image([1000]), registry.url, "source", "1")
        with fresh_home(folder) as home:
            _copy(registry, "first", home)
            _copy(registry, "again", home)
            remembered = _mounts(registry)
        with fresh_home(folder) as home:
            _copy(registry, "fresh", home)
            forgotten = _mounts(registry)

    assert "again" in remembered  # else this test sees nothing
    assert "fresh" not in forgotten


def _copy(registry: Registry, repository: str, home: Mapping[str, str]) -> None:
    (skopeo,) = [tool for tool in find_tools() if tool.name == "skopeo"]
    copy = Copy(f"{registry.host}/source:1", f"{registry.host}/{repository}:1")
    subprocess.run(skopeo.copy(copy), check=True, env=home, capture_output=True, timeout=60)


def _mounts(registry: Registry) -> set[str]:
    lines = [line for line in registry.log.read_text().splitlines() if "mount=" in line]
    return {line.partition("/v2/")[2].partition("/blobs")[0] for line in lines}
