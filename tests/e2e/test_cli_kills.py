"""`bin/pullahead copy` killed at random moments: the tag is always all of the old image or all of the new one.

PULLAHEAD_KILLS says how often; the project's goal is 200 without a fault. PULLAHEAD_SEED repeats the moments of a run,
as far as time can be repeated. A registry takes a blob in one stream here, so a kill costs what was sent of the blobs
under way; what is read again is printed.
"""

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
import requests

from local.images import LocalImage, SparseBlob, make_image, make_index, push_image
from local.registry import FakeRegistry
from pullahead.oci import digest_of
from tests.e2e.processes import ROOT
from tests.real_servers import docker_registry

KILLS = int(os.environ.get("PULLAHEAD_KILLS", "6"))
SEED = int(os.environ.get("PULLAHEAD_SEED", time.time_ns() % 1_000_000))
COPIES_FOR_EACH_KILL = 5
LATEST_SECONDS = 1.5
ACCEPT = {"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"}
SLOW_BYTES_PER_SECOND = 12_000_000


def image_of(seed: int) -> LocalImage:
    """Make an image of two platforms, one layer of which is large enough to be killed in the middle of it."""
    large = make_image([SparseBlob(9_000_000, seed=seed), 70_000], seed=seed)
    return make_index([large, make_image([80_000], seed=seed + 1, platform="linux/arm64")])


def was_killed(command: list[str], environment: dict[str, str], seconds: float) -> bool:
    """Start a copy, and kill it so many seconds later unless it has ended."""
    with subprocess.Popen(command, env=environment) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
    return False


def blob_bytes_read(source: FakeRegistry) -> int:
    """Count what was read of blobs."""
    return sum(request.bytes_sent for request in source.requests if "/blobs/" in request.path)


def served(url: str, image: LocalImage) -> None:
    """Read all of an image back, byte for byte."""
    for digest, manifest in image.manifests.items():
        assert requests.get(f"{url}/manifests/{digest}", headers=ACCEPT, timeout=10).content == manifest.content
    for digest in image.blobs:
        assert digest_of(requests.get(f"{url}/blobs/{digest}", timeout=10).content) == digest


@pytest.mark.real_registry
@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_copy_leaves_the_old_or_the_new_image(tmp_path: Path) -> None:
    print(f"PULLAHEAD_KILLS={KILLS} PULLAHEAD_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311
    kills = wanted_bytes = 0
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    with docker_registry(tmp_path) as target, FakeRegistry() as source:
        source.limit_bytes_per_second = SLOW_BYTES_PER_SECOND
        url = f"http://{target}/v2/mirror/app"
        old = image_of(1000)
        push_image(old, f"http://{target}", "mirror/app", "1.0")
        names = [f"{source.host}/team/app:1.0", f"{target}/mirror/app:1.0"]
        hosts = ["--insecure", source.host, "--insecure", target]
        command = [str(ROOT / "bin" / "pullahead"), "copy", *names, *hosts, "--quiet"]
        for number in range(COPIES_FOR_EACH_KILL * KILLS):
            if kills >= KILLS:
                break
            new = image_of(2000 + 10 * number)
            wanted_bytes += sum(len(blob) for blob in new.blobs.values())
            source.push(new, "team/app", "1.0")
            kills += was_killed(command, environment, chance.uniform(0.0, LATEST_SECONDS))
            found = requests.head(f"{url}/manifests/1.0", headers=ACCEPT, timeout=10).headers["Docker-Content-Digest"]
            assert found in {old.digest, new.digest}
            served(url, new if found == new.digest else old)
            assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == 0
            served(url, new)
            old = new
        print(f"{kills} kills, {(blob_bytes_read(source) - wanted_bytes) / kills:,.0f} bytes read again for each")
    assert kills >= KILLS
