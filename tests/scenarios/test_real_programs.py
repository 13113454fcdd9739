"""Programs that others wrote, at both ends: docker-registry as the upstream, skopeo as who pulls."""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from local.images import LocalImage, SparseBlob, make_image, make_index, push_image
from tests.real_servers import docker_registry
from tests.scenarios.deployment import CHECK_EVERY, TAG, MirrorRule, rules_text
from tests.scenarios.scene import PART_BYTES, Scene

INDEX = make_index([make_image([70_000, 1_000], seed=1), make_image([80_000], seed=2, platform="linux/arm64/v8")])
DOCKER_LIST = make_index([make_image([70_000], seed=3, media="docker")], media="docker")
MIRRORING = ("CheckFreshness", "PlanCopy", "CopyBlobs", "RecordOutcome")


@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH")
@pytest.mark.parametrize("image", [INDEX, DOCKER_LIST], ids=["oci", "docker"])
def test_skopeo_pulls_what_was_published(scene: Scene, image: LocalImage, tmp_path: Path) -> None:
    scene.serve(image)
    scene.check()
    password = _password(scene)
    source = f"docker://{scene.aws.url.removeprefix('http://')}/{scene.repository}:{TAG}"
    options = ["--all", "--preserve-digests", "--src-tls-verify=false", "--src-creds", f"AWS:{password}"]
    done = subprocess.run(
        ["skopeo", "copy", *options, source, f"dir:{tmp_path}/pulled"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    manifest = (tmp_path / "pulled" / "manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == image.digest
    assert len(json.loads(manifest)["manifests"]) == len(image.manifests) - 1
    for digest in image.blobs:
        blob = (tmp_path / "pulled" / digest.removeprefix("sha256:")).read_bytes()
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == digest


@pytest.mark.real_registry
def test_docker_registry_is_mirrored_and_moves(scene: Scene, tmp_path: Path) -> None:
    large = make_image([SparseBlob(PART_BYTES + 2_000_000, seed=9)], seed=4)
    first, second = make_index([large, make_image(seed=5, platform="linux/arm64")]), make_index([large])
    with docker_registry(tmp_path) as host:
        mirror = MirrorRule(host, "library/real", scene.repository)
        with scene.deployment.rules(rules_text(mirror), *MIRRORING):
            push_image(first, f"http://{host}", mirror.path, TAG)
            scene.check()
            scene.serves(first)
            sent = len(scene.ecr.calls)
            push_image(second, f"http://{host}", mirror.path, TAG)
            scene.check(CHECK_EVERY)
            scene.serves(second)
            again = [call for call in list(scene.ecr.calls)[sent:] if call.operation == "UploadLayerPart"]
    assert again == []  # every blob was there already
    assert scene.upstream.requests == []
    assert scene.alerts() == []


def _password(scene: Scene) -> str:
    """Get the password for `skopeo login -u AWS`, as `aws ecr get-login-password` does."""
    answer = scene.aws.client("ecr").get_authorization_token()
    user, _, password = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode().partition(":")
    assert user == "AWS"
    return password
