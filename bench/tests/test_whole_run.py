"""The bench itself, once and small, with real programs: it ends with a page, and requests are counted rightly."""

import shutil
from pathlib import Path

import msgspec
import pytest
import requests

from bench.__main__ import main
from bench.results import Requests, Results
from bench.roads import measure_roads
from bench.servers import bench_server

MIB = 1024 * 1024


@pytest.mark.real_registry
@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is not on PATH")
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH")
def test_skopeo_alone_gives_a_page(tmp_path: Path) -> None:
    asked = ["--size", "16", "--rounds", "1", "--tool", "skopeo", "--case", "large", "--case", "slow"]

    assert main([*asked, "--results", str(tmp_path)]) == 0

    results = msgspec.json.decode((tmp_path / "quick.json").read_bytes(), type=Results)
    large, slow = results.cases
    assert "| skopeo |" in (tmp_path / "quick.md").read_text()
    (skopeo,) = large.tools
    assert skopeo.problem is None
    assert skopeo.requests is not None
    # ping, manifest, config, layer; then a ping, five for each blob (skopeo looks twice) and the manifest
    assert skopeo.requests == Requests(upstream=4, target=11)
    assert slow.tools[0].runs[0].wall_seconds > 4 * MIB / 40e6 + 4 * 0.03


def test_a_run_with_no_tool_at_hand_fails(tmp_path: Path) -> None:
    assert main(["--tool", "no-such-tool", "--results", str(tmp_path)]) == 1
    assert not list(tmp_path.iterdir())


def test_a_road_does_not_reach_ecr(tmp_path: Path) -> None:
    roads = measure_roads(1, tmp_path, lambda _: None)

    assert [(road.road, road.problem, len(road.cpu_ms)) for road in roads] == [
        ("streamed", None, 1),
        ("parts", None, 1),
        ("boto3", None, 1),
    ]


def test_the_discarding_registry_takes_a_blob_in_both_ways_and_keeps_the_manifest(tmp_path: Path) -> None:
    with bench_server("bench.discarding_registry", [], tmp_path / "log") as host, requests.Session() as session:
        base = f"http://{host}/v2/huge"
        begun = session.post(f"{base}/blobs/uploads/", timeout=10)
        upload = f"http://{host}{begun.headers['Location']}"
        patched = session.patch(upload, data=bytes(3 * MIB), timeout=10)
        status = session.get(upload, timeout=10)
        done = session.put(f"{upload}?digest=sha256:{'0' * 64}", data=b"x", timeout=10)
        session.put(f"{base}/manifests/1", data=b"{ }", headers={"Content-Type": "text/x"}, timeout=10)
        manifest = session.get(f"{base}/manifests/1", timeout=10)

        assert session.head(f"{base}/blobs/sha256:{'0' * 64}", timeout=10).status_code == 404
    assert [begun.status_code, patched.status_code, done.status_code] == [202, 202, 201]
    assert patched.headers["Range"] == status.headers["Range"] == f"0-{3 * MIB - 1}"
    assert (manifest.content, manifest.headers["Content-Type"]) == (b"{ }", "text/x")
