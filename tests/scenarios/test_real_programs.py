"""The same stack with programs that we did not write: skopeo pulls, Debian's docker-registry is the upstream."""

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.images import LocalImage, SparseBlob, make_image, make_index, push_image
from tests.real_servers import docker_registry
from tests.scenarios.deployment import CHECK_EVERY, TAG, MirrorRule, rules_text
from tests.scenarios.scene import PART_BYTES, Scene

INDEX = make_index([make_image([3_000_000], seed=1), make_image(seed=2, platform="linux/arm64")])


@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH (apt install skopeo)")
@pytest.mark.parametrize("image", [INDEX, make_image(seed=3, media="docker")], ids=["oci-index", "docker-manifest"])
def test_skopeo_pulls_what_was_published(scene: Scene, image: LocalImage, tmp_path: Path) -> None:
    scene.serve(image)
    scene.check()
    ecr = scene.aws.client("ecr")
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    source = f"docker://{scene.aws.url.removeprefix('http://')}/{scene.repository}:{TAG}"
    command = ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"]
    command += ["--src-creds", base64.b64decode(token).decode(), source, f"dir:{tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert f"sha256:{_sha256(tmp_path / 'manifest.json')}" == image.digest
    for digest in image.blobs:
        assert _sha256(tmp_path / digest.removeprefix("sha256:")) == digest.removeprefix("sha256:")


@pytest.fixture
def real(scene: Scene, tmp_path: Path) -> Iterator[tuple[Scene, str]]:
    """Follow a tag of a docker-registry instead of the scene's own upstream; give the registry's address too."""
    with docker_registry(tmp_path) as host:
        rule = MirrorRule(host, "team/app", scene.repository)
        functions = ("ScheduleChecks", "CheckFreshness", "PlanCopy", "CopyBlobs", "RecordOutcome")
        with scene.deployment.rules(rules_text(rule), *functions):
            yield scene, f"http://{host}"


@pytest.mark.real_registry
def test_docker_registry_is_copied_and_followed(real: tuple[Scene, str]) -> None:
    scene, registry = real
    shared = SparseBlob(2 * PART_BYTES + 12_345, seed=9)
    first = make_index([make_image([shared, 1000], seed=4), make_image(seed=5, platform="linux/arm64")])
    second = make_index([make_image([shared, 1000], seed=6), make_image(seed=7, platform="linux/arm64")])
    for image in (first, second):
        push_image(image, registry, "team/app", TAG)
        scene.check(CHECK_EVERY)
        scene.serves(image)
    assert scene.tag_moves() == [first.digest, second.digest]
    assert sum(part.size for part in scene.parts(shared.size)) < 1.5 * shared.size  # the shared layer went once
    assert scene.upstream.requests == []


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
