"""A real client against the strict local ECR: what skopeo pushes it can pull back, digest for digest.

Decides what an OCI client sees; the rules of the registry are in local/tests/ecr.
"""

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from local.tests.ecr.harness import MIB, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, RunningEcr, running_ecr

pytestmark = [
    pytest.mark.skopeo,
    pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH (apt install skopeo)"),
]

REPOSITORY = "team/pushed-by-skopeo"
GZIPPED_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class OciLayout:
    """An OCI image layout on disk (OCI image-spec 1.1, image-layout.md), written blob by blob."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs" / "sha256").mkdir(parents=True)
        (path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def add(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        """Keep a blob and give its descriptor."""
        sha256 = hashlib.sha256(data).hexdigest()
        (self.path / "blobs" / "sha256" / sha256).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": len(data), **more}

    def add_image(self, architecture: str, contents: Sequence[bytes]) -> dict[str, Any]:
        tars = [tar_of(content) for content in contents]
        layers = [self.add(gzip.compress(tar, 1, mtime=0), GZIPPED_LAYER) for tar in tars]
        diff_ids = [f"sha256:{hashlib.sha256(tar).hexdigest()}" for tar in tars]
        config = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.add(json.dumps(config).encode(), OCI_CONFIG),
            "layers": layers,
        }
        platform = {"architecture": architecture, "os": "linux"}
        return self.add(json.dumps(manifest, indent=2).encode(), OCI_MANIFEST, platform=platform)

    def add_index(self, children: Sequence[dict[str, Any]]) -> dict[str, Any]:
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children}
        return self.add(json.dumps(index, indent=2).encode(), OCI_INDEX)

    def name(self, root: dict[str, Any], tag: str) -> str:
        """Tag the one root of the layout, and give skopeo's name for it."""
        named = {**root, "annotations": {"org.opencontainers.image.ref.name": tag}}
        (self.path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
        return f"oci:{self.path}:{tag}"


def tar_of(content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def incompressible(size_bytes: int) -> bytes:
    """Make bytes that gzip cannot make small, the same in each run."""
    return hashlib.shake_128(b"incompressible").digest(size_bytes)


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture
def registry(_server: RunningEcr) -> RunningEcr:
    _server.restart()
    _server.client.create_repository(repositoryName=REPOSITORY)
    return _server


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path / "layout")


def credentials(registry: RunningEcr) -> str:
    token = registry.client.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return base64.b64decode(token).decode()


def copy(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def push(registry: RunningEcr, source: str, tag: str, repository: str = REPOSITORY) -> subprocess.CompletedProcess[str]:
    target = f"docker://{registry.url.removeprefix('http://')}/{repository}:{tag}"
    return copy("--dest-tls-verify=false", "--dest-creds", credentials(registry), source, target)


def pull(registry: RunningEcr, tag: str, target: Path) -> list[Path]:
    """Pull into a directory and give the blobs' files; skopeo verifies every digest on the way."""
    source = f"docker://{registry.url.removeprefix('http://')}/{REPOSITORY}:{tag}"
    done = copy("--src-tls-verify=false", "--src-creds", credentials(registry), source, f"oci:{target}:{tag}")
    assert done.returncode == 0, done.stderr
    return sorted((target / "blobs" / "sha256").iterdir())


def pushed_digest(registry: RunningEcr, tag: str) -> str:
    found = registry.client.describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": tag}])
    return found["imageDetails"][0]["imageDigest"]


def test_pulled_image_has_the_pushed_digest_and_blobs(registry: RunningEcr, layout: OciLayout, tmp_path: Path) -> None:
    image = layout.add_image("amd64", [b"one", b"two", incompressible(6 * MIB)])
    pushed = push(registry, layout.name(image, "latest"), "latest")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed_digest(registry, "latest") == image["digest"]
    pulled = pull(registry, "latest", tmp_path / "pulled")
    assert [file.name for file in pulled] == sorted(file.name for file in (layout.path / "blobs/sha256").iterdir())
    assert registry.ecr.calls.count("DownloadBlob") == 4  # followed our redirects, without the login


def test_pulled_index_has_all_its_children(registry: RunningEcr, layout: OciLayout, tmp_path: Path) -> None:
    children = [layout.add_image(architecture, [architecture.encode()]) for architecture in ("amd64", "arm64")]
    index = layout.add_index(children)
    pushed = push(registry, layout.name(index, "multi"), "multi")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed_digest(registry, "multi") == index["digest"]
    assert [event["detail"].get("image-tag") for event in registry.events] == [None, None, "multi"]
    assert len(pull(registry, "multi", tmp_path / "pulled")) == 7


def test_second_push_sends_no_blob(registry: RunningEcr, layout: OciLayout) -> None:
    source = layout.name(layout.add_image("amd64", [b"one", b"two"]), "latest")
    assert push(registry, source, "first").returncode == 0
    assert registry.ecr.calls.count("v2:FinishUpload") == 3
    assert push(registry, source, "second").returncode == 0
    assert registry.ecr.calls.count("v2:FinishUpload") == 3


def test_push_to_a_missing_repository_fails_and_creates_none(registry: RunningEcr, layout: OciLayout) -> None:
    source = layout.name(layout.add_image("amd64", [b"one"]), "latest")
    refused = push(registry, source, "latest", "team/none")
    assert refused.returncode != 0
    assert "name unknown" in refused.stderr
    assert len(registry.client.describe_repositories()["repositories"]) == 1


def test_tags_are_listed(registry: RunningEcr, layout: OciLayout) -> None:
    source = layout.name(layout.add_image("amd64", [b"one"]), "latest")
    for tag in ("b", "a"):
        assert push(registry, source, tag).returncode == 0
    repository = f"docker://{registry.url.removeprefix('http://')}/{REPOSITORY}"
    command = ["skopeo", "list-tags", "--tls-verify=false", "--creds", credentials(registry), repository]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(listed.stdout)["Tags"] == ["a", "b"]
