"""`bin/pullahead copy` killed at random moments: the tag is always all of the old image or all of the new one.

PULLAHEAD_KILLS says how often; the project's goal is 200 without a fault.
"""

import os
import random
import subprocess
from pathlib import Path

import pytest
import requests

from local.images import LocalImage, SparseBlob, make_image, make_index, push_image
from local.registry import FakeRegistry
from pullahead.oci import digest_of
from tests.e2e.processes import ROOT
from tests.real_servers import docker_registry

KILLS = int(os.environ.get("PULLAHEAD_KILLS", "6"))
LATEST_SECONDS = 1.5
ACCEPT = {"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"}
SLOW_BYTES_PER_SECOND = 12_000_000


def image_of(seed: int) -> LocalImage:
    """Make an image of two platforms, one layer of which is large enough to be killed in the middle of it."""
    large = make_image([SparseBlob(9_000_000, seed=seed), 70_000], seed=seed)
    return make_index([large, make_image([80_000], seed=seed + 1, platform="linux/arm64")])


def served(url: str, image: LocalImage) -> None:
    """Read all of an image back, byte for byte."""
    for digest, manifest in image.manifests.items():
        assert requests.get(f"{url}/manifests/{digest}", headers=ACCEPT, timeout=10).content == manifest.content
    for digest in image.blobs:
        assert digest_of(requests.get(f"{url}/blobs/{digest}", timeout=10).content) == digest


@pytest.mark.real_registry
def test_kill_leaves_half_of_an_image(tmp_path: Path) -> None:
    chance = random.Random(KILLS)  # noqa: S311 - the same moments in every run
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    with docker_registry(tmp_path) as target, FakeRegistry() as source:
        source.limit_bytes_per_second = SLOW_BYTES_PER_SECOND
        url = f"http://{target}/v2/mirror/app"
        old = image_of(1000)
        push_image(old, f"http://{target}", "mirror/app", "1.0")
        names = [f"{source.host}/team/app:1.0", f"{target}/mirror/app:1.0"]
        hosts = ["--insecure", source.host, "--insecure", target]
        command = [str(ROOT / "bin" / "pullahead"), "copy", *names, *hosts, "--quiet"]
        for number in range(KILLS):
            new = image_of(2000 + 10 * number)
            source.push(new, "team/app", "1.0")
            with subprocess.Popen(command, env=environment) as process:
                try:
                    process.wait(timeout=chance.uniform(0.0, LATEST_SECONDS))
                except subprocess.TimeoutExpired:
                    process.kill()
            found = requests.head(f"{url}/manifests/1.0", headers=ACCEPT, timeout=10).headers["Docker-Content-Digest"]
            assert found in {old.digest, new.digest}
            served(url, new if found == new.digest else old)
            assert subprocess.run(command, env=environment, timeout=60, check=False).returncode in {0, 3}
            served(url, new)
            old = new
