"""The bench itself, once and small, with real programs: it ends with a page, and requests are counted rightly."""

import shutil
from pathlib import Path

import msgspec
import pytest
import requests

from bench.__main__ import main
from bench.authority import Authority
from bench.cases import TAGS_CASES
from bench.copies import Stage
from bench.ecr_check import count_calls
from bench.huge import measure_huge
from bench.lambda_sizes import measure_lambda_sizes
from bench.results import OURS, Requests, Results
from bench.roads import measure_roads
from bench.servers import bench_server
from bench.tags import measure_tags
from bench.tools import Tool, find_tools

MIB = 1024 * 1024


@pytest.mark.real_registry
@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("docker-registry") is None, reason="docker-registry is not on PATH")
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH")
def test_skopeo_alone_gives_a_page(tmp_path: Path) -> None:
    asked = ["--size", "4", "--rounds", "1", "--tool", "skopeo", "--tool", "crane", "--case", "large", "--case", "slow"]

    assert main([*asked, "--results", str(tmp_path)]) == 0

    results = msgspec.json.decode((tmp_path / "quick.json").read_bytes(), type=Results)
    large, slow = results.cases
    assert "| skopeo |" in (tmp_path / "quick.md").read_text()
    skopeo = large.tools[0]
    assert skopeo.problem is None
    assert skopeo.requests is not None
    # ping, manifest, config, layer; then a ping, five for each blob (skopeo looks twice) and the manifest
    assert skopeo.requests == Requests(upstream=4, target=11)
    assert large.bare_loop is not None
    assert (large.bare_loop.problem, len(large.bare_loop.runs)) == (None, 1)
    assert large.bare_loop.requests == Requests(upstream=3, target=5)  # two for each blob and one for the manifest
    assert slow.bare_loop is None
    assert slow.tools[0].runs[0].wall_seconds > 4 * MIB / 40e6 + 6 * 0.03  # a TLS handshake is a way there and back


def test_a_run_with_no_tool_at_hand_fails(tmp_path: Path) -> None:
    assert main(["--tool", "no-such-tool", "--results", str(tmp_path)]) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.real_registry
def test_all_tags_are_mirrored_and_compared(stage: Stage) -> None:
    for case in TAGS_CASES:
        measured = measure_tags(case, 5, [_ours()], 1, stage)

        (ours,) = measured.tools
        assert ours.problem is None
        assert ours.requests is not None
        assert measured.tags == 5
        assert case.unchanged == (ours.requests == Requests(5, 5))
        assert case.unchanged == (measured.bare_loop is not None)
        if measured.bare_loop is not None:
            assert (measured.bare_loop.problem, measured.bare_loop.requests) == (None, Requests(5, 5))


@pytest.mark.real_registry
def test_calls_of_a_check_in_ecr_are_counted(stage: Stage) -> None:
    counted = count_calls(5, _ours(), stage)

    assert (counted.problem, counted.upstream, counted.ecr) == (None, {"HEAD": 5}, {"DescribeImages": 1})


@pytest.mark.real_registry
def test_layer_goes_by_both_roads_within_a_share_of_a_cpu(stage: Stage) -> None:
    measured = measure_lambda_sizes(1, 1, stage, sizes=[(1769, 1.0)])

    assert [(size.road, size.problem, len(size.sent)) for size in measured.sizes] == [
        ("streamed", None, 1),
        ("parts", None, 1),
    ]


@pytest.mark.real_registry
def test_a_layer_that_nobody_keeps_is_copied(stage: Stage) -> None:
    (ours,) = measure_huge(1 / 8, _ours(), stage).tools

    assert ours.problem is None


@pytest.mark.real_registry
def test_a_road_does_not_reach_ecr(stage: Stage) -> None:
    roads = measure_roads(1, stage, parts=1)

    assert [(road.road, road.problem, len(road.cpu_ms)) for road in roads] == [
        ("streamed", None, 1),
        ("parts", None, 1),
        ("boto3", None, 1),
        ("bare", None, 1),
    ]


def test_the_discarding_registry_takes_a_blob_in_both_ways_and_keeps_the_manifest(
    tmp_path: Path, authority: Authority
) -> None:
    serving = bench_server("bench.discarding_registry", authority.shown, tmp_path / "log")
    with serving as host, requests.Session() as session:
        base = f"https://{host}/v2/huge"
        begun = session.post(f"{base}/blobs/uploads/", timeout=10)
        upload = f"https://{host}{begun.headers['Location']}"
        patched = session.patch(upload, data=bytes(3 * MIB), timeout=10)
        status = session.get(upload, timeout=10)
        done = session.put(f"{upload}?digest=sha256:{'0' * 64}", data=b"x", timeout=10)
        session.put(f"{base}/manifests/1", data=b"{ }", headers={"Content-Type": "text/x"}, timeout=10)
        manifest = session.get(f"{base}/manifests/1", timeout=10)

        assert session.head(f"{base}/blobs/sha256:{'0' * 64}", timeout=10).status_code == 404
    assert [begun.status_code, patched.status_code, done.status_code] == [202, 202, 201]
    assert patched.headers["Range"] == status.headers["Range"] == f"0-{3 * MIB - 1}"
    assert (manifest.content, manifest.headers["Content-Type"]) == (b"{ }", "text/x")


def _ours() -> Tool:
    (ours,) = [tool for tool in find_tools() if tool.name == OURS]
    return ours
