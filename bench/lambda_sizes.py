"""One layer from a registry into ECR by `copy_blobs`, with as much of a CPU as Lambda gives by memory.

Lambda gives one vCPU at 1,769 MB and less in proportion (Lambda developer guide, "Configure Lambda function memory").
What it does not give here is its network, and its processor is another one (arm64).
"""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import requests

from bench.authority import environment_of_tools
from bench.cases import MIB
from bench.copies import TAG, Stage
from bench.cpu_limit import cpu_limit
from bench.results import LambdaResult, Sent, SizeResult
from bench.servers import bench_server, own_environment
from local.images import LocalImage, make_image, push_image

SIZES = ((512, 0.29), (1024, 0.58), (1769, 1.0))
"""Memory in MB, and the share of a CPU that comes with it."""
ROADS = {"streamed": 840.0, "parts": 60.0}
"""Seconds left to the function: what may not be done by then goes by parts, with which another one can go on."""
_LEAST_MIB = 128  # so much does not surely stream in a minute
_REPOSITORY = "layer"
_LONGEST_SECONDS = 900


class _CopyFailedError(Exception):
    """A layer was not copied, or not by the road that was meant."""


class _CopyResult(Sent, frozen=True):
    bytes_copied: int = 0


def measure_lambda_sizes(
    size_mib: int, rounds: int, stage: Stage, sizes: Sequence[tuple[int, float]] = SIZES
) -> LambdaResult:
    """Copy a layer in each size by each road, in turn, `rounds` times after a warm-up."""
    size_mib = max(size_mib, _LEAST_MIB)
    image = make_image([size_mib * MIB], seed=stage.seed)
    stage.say(f"lambda: a layer of {size_mib} MiB by copy_blobs")
    folder = stage.folder / "lambda"
    sent: dict[tuple[int, str], list[Sent]] = defaultdict(list)
    problems: dict[tuple[int, str], str] = {}
    with (
        stage.registries.run(folder, folder / "content") as upstream,
        bench_server("bench.discarding_ecr", stage.authority.shown, folder / "ecr.log") as ecr,
    ):
        push_image(image, upstream.url, _REPOSITORY, TAG)
        copies = _Copies(image, upstream.host, ecr, folder)
        for number in range(rounds + 1):
            for memory, share in sizes:
                for road in ROADS:
                    if (memory, road) in problems:
                        continue
                    try:
                        found = copies.copy(share, road)
                    except _CopyFailedError as error:
                        problems[memory, road] = str(error)
                        stage.say(f"  {memory} MB, {road}: {error}")
                        continue
                    stage.say(f"  {memory} MB, {road}: {copies.size / 1e6 / found.seconds:.0f} MB/s")
                    if number > 0:
                        sent[memory, road].append(found)
        upstream.empty()
    results = tuple(
        SizeResult(memory, share, road, tuple(sent[memory, road]), problems.get((memory, road)))
        for memory, share in sizes
        for road in ROADS
    )
    return LambdaResult(copies.size, copies.limited_by, results)


class _Copies:
    """Runs the handlers, each time in a process of its own, as a function that was just started."""

    def __init__(self, image: LocalImage, upstream: str, ecr: str, folder: Path) -> None:
        self._image, self._upstream, self._ecr, self._folder = image, upstream, ecr, folder
        self._number = 0
        self.limited_by = ""
        self.size = sum(len(blob) for blob in image.blobs.values())

    def copy(self, share: float, road: str) -> Sent:
        """Copy the layer within a share of a CPU. Raises _CopyFailedError."""
        self._number += 1
        self._write_rules()
        before = self._taken()
        asked = json.dumps({"refresh": self._refresh(), "seconds_left": ROADS[road]})
        with cpu_limit(share) as limit:
            self.limited_by = limit.how
            answer = self._run([*limit.prefix, sys.executable, "-m", "bench.lambda_copy", asked])
        took = {name: count - before[name] for name, count in self._taken().items()}
        if answer.bytes_copied != self.size or took[road] < max(len(blob) for blob in self._image.blobs.values()):
            raise _CopyFailedError(f"{answer.bytes_copied} of {self.size} bytes were copied, and of these {took}")
        return Sent(answer.seconds, answer.cpu_seconds, answer.peak_rss_mib)

    def _write_rules(self) -> None:
        mirror = {"upstream": f"{self._upstream}/{_REPOSITORY}", "tags": [TAG], "repository": self._repository}
        rules = {"version": 1, "upstreams": {self._upstream: {"private_addresses": True}}, "mirrors": [mirror]}
        (self._folder / "rules.yaml").write_text(json.dumps(rules))

    @property
    def _repository(self) -> str:
        return f"mirror/{_REPOSITORY}-{self._number}"

    def _run(self, command: list[str]) -> _CopyResult:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_LONGEST_SECONDS, check=True, env=self._environment()
            )
        except subprocess.TimeoutExpired as error:
            raise _CopyFailedError(f"it did not end within {_LONGEST_SECONDS} s") from error
        except subprocess.CalledProcessError as error:
            raise _CopyFailedError((error.stderr.strip().splitlines() or ["no reason given"])[-1][-300:]) from error
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=_CopyResult)  # before it are logs and metrics

    def _refresh(self) -> Mapping[str, object]:
        root = self._image.root.descriptor
        return {
            "name": f"bench-{self._number}",
            "repository": self._repository,
            "tag": TAG,
            "upstream": f"{self._upstream}/{_REPOSITORY}:{TAG}",
            "root": {"mediaType": root.media_type, "digest": root.digest, "size": root.size},
            "episode": 1,
            "stale_since": "2026-01-05T10:00:00Z",
        }

    def _environment(self) -> dict[str, str]:
        own = own_environment()
        return {
            **environment_of_tools(own),
            "AWS_CA_BUNDLE": own["AWS_CA_BUNDLE"],
            "AWS_ENDPOINT_URL": f"https://{self._ecr}",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",  # else S3's bodies come in chunks of AWS's own form
            "POWERTOOLS_LOG_LEVEL": "ERROR",
            "POWERTOOLS_SERVICE_NAME": "pullahead",
            "POWERTOOLS_METRICS_NAMESPACE": "Pullahead",
            "PLANS_BUCKET": "plans",
            "RULES_PATH": str(self._folder / "rules.yaml"),
        }

    def _taken(self) -> dict[str, int]:
        answer = requests.get(f"https://{self._ecr}/taken", timeout=30)
        return msgspec.json.decode(answer.content, type=dict[str, int])
