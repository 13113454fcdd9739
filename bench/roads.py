"""Runs the roads into ECR, each in a process of its own, against an ECR in another that throws away what it takes."""

import subprocess
import sys

import msgspec

from bench.copies import Stage
from bench.results import RoadResult
from bench.rounds import Say
from bench.servers import bench_server, own_environment

_ROADS = ("streamed", "parts", "boto3", "bare")
_LONGEST_SECONDS = 600
_PARTS = 8  # of 10 MiB, in each round


def measure_roads(rounds: int, stage: Stage, *, parts: int = _PARTS) -> tuple[RoadResult, ...]:
    """Measure our two roads, boto3's own call, and http.client alone beside them."""
    with bench_server("bench.discarding_ecr", stage.authority.shown, stage.folder / "ecr.log") as host:
        return tuple(_measure(road, f"https://{host}", rounds, parts, stage.say) for road in _ROADS)


def _measure(road: str, url: str, rounds: int, parts: int, say: Say) -> RoadResult:
    command = [sys.executable, "-m", "bench.ecr_road", road, url, str(rounds), str(parts)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=True, env=own_environment()
        )
        result = RoadResult(road, msgspec.json.decode(done.stdout, type=tuple[float, ...]))
    except subprocess.TimeoutExpired:
        result = RoadResult(road, problem=f"it did not end within {_LONGEST_SECONDS} s")
    except subprocess.CalledProcessError as error:
        result = RoadResult(road, problem=(error.stderr.strip().splitlines() or ["no reason given"])[-1])
    say(f"ECR, {road}: {result.problem or ', '.join(f'{ms:.1f}' for ms in result.cpu_ms)} ms for 10 MiB")
    return result
