"""`bin/pullahead copy` of content that is not an everyday image: byte for byte, or a clear refusal."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from local.images import Blob, LocalImage, make_image, make_index, push_image
from local.registry import FakeRegistry
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.oci import Digest, RawManifest, describe, digest_of, media_types
from tests.e2e.cli_copies import Command, Home, failure
from tests.real_servers import docker_registry

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
ZSTD_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
SCHEMA1 = {"schemaVersion": 1, "name": "team/app", "tag": "1.0", "fsLayers": [], "history": [], "signatures": []}
AMD64 = make_image([3000], seed=1)


def described(content: bytes, media_type: str, algorithm: str = "sha256", **more: object) -> dict[str, object]:
    """Make a descriptor with whatever else it is to hold."""
    return {"mediaType": media_type, "digest": digest_of(content, algorithm), "size": len(content), **more}


def manifest_of(document: Mapping[str, object], indent: int | str = "\t") -> RawManifest:
    """Write a manifest as no tool of ours would: with tabs, letters beyond ASCII and a last line feed."""
    content = json.dumps(document, indent=indent, ensure_ascii=False).encode() + b"\n"
    return RawManifest(describe(content, str(document["mediaType"])), content)


def artifact(
    contents: Sequence[tuple[bytes, str]], config: tuple[bytes, str] = (b"{}", CONFIG_TYPE), **more: object
) -> LocalImage:
    """Make an OCI manifest of blobs of any kind; `more` is put into it as it is."""
    blobs: dict[Digest, Blob] = {digest_of(content): content for content, _ in [config, *contents]}
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": described(*config),
        "layers": [described(*layer) for layer in contents],
        **more,
    }
    root = manifest_of(document)
    return LocalImage(root, {root.descriptor.digest: root}, blobs)


def attested() -> LocalImage:
    """Make an index whose second child is an attestation, as BuildKit writes it."""
    statement = artifact([(b'{"predicateType": "https://slsa.dev/provenance/v0.2"}', "application/vnd.in-toto+json")])
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": AMD64.digest}
    children = [
        described(AMD64.root.content, media_types.OCI_MANIFEST, platform={"os": "linux", "architecture": "amd64"}),
        described(
            statement.root.content,
            media_types.OCI_MANIFEST,
            platform={"os": "unknown", "architecture": "unknown"},
            annotations=about,
        ),
    ]
    root = manifest_of({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": children})
    manifests = {**AMD64.manifests, **statement.manifests, root.descriptor.digest: root}
    return LocalImage(root, manifests, {**AMD64.blobs, **statement.blobs})


def by_sha512() -> LocalImage:
    """Make a manifest whose layer has a sha512 digest."""
    content = b"long digest" * 100
    layer = described(content, ZSTD_TYPE, "sha512")
    made = artifact([], layers=[layer])
    return LocalImage(made.root, made.manifests, {**made.blobs, digest_of(content, "sha512"): content})


ODD: dict[str, LocalImage] = {
    "docker schema 2": make_image([3000, 2000], seed=3, media="docker"),
    "docker list": make_index(
        [make_image([3000], seed=n, media="docker", platform=f"linux/{n}") for n in (4, 5)], media="docker"
    ),
    "index of indexes": make_index([make_index([AMD64]), make_index([make_index([make_image([2000], seed=6)])])]),
    "zstd": artifact([(b"\x28\xb5\x2f\xfd zstd", ZSTD_TYPE)]),
    "artifact with an empty config": artifact(
        [(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
        (b"{}", EMPTY_TYPE),
        artifactType="application/vnd.example.chart",
        annotations={"org.example/größe": "ø", "empty": ""},
    ),
    "artifact of nothing but an empty layer": artifact([(b"{}", EMPTY_TYPE)], (b"{}", EMPTY_TYPE)),
    "layers listed twice": artifact([(b"twice", ZSTD_TYPE), (b"once", ZSTD_TYPE), (b"twice", ZSTD_TYPE)]),
    "unknown kinds": artifact([(b"weights", "x-what/ever")], (b"\x00\x01", "application/wasm"), futureField=[1, {}]),
    "attestation": attested(),
}
NOT_IN_ECR: dict[str, LocalImage] = {
    "sha512": by_sha512(),
    "empty blob": artifact([(b"", "application/octet-stream"), (b"more", ZSTD_TYPE)]),
}


class Ends(NamedTuple):
    """Two docker-registries, or a fake registry and ECR's own /v2: a source that can be filled, and homes."""

    source: str
    target: str
    headers: Mapping[str, str]
    command: Command
    fake: FakeRegistry | None = None
    ecr: RunningEcr | None = None
    numbers: Iterator[int] = itertools.count(1)

    def copy(self, image: LocalImage, *options: str) -> tuple[Home, str]:
        """Copy an image that the source is given first, and expect that it goes well."""
        home, name = self.home(), f"team/app{next(self.numbers)}"
        if self.fake is not None:
            self.fake.push(image, name, "1.0")
        else:
            push_image(image, f"http://{self.source}", name, "1.0")
        ran = self.command.copy(f"{self.source}/{name}:1.0", home, *options)
        assert (ran.returncode, ran.stderr) == (0, "")
        return home, ran.stdout

    def home(self) -> Home:
        """Make a repository that nothing was copied to."""
        name = f"mirror/app{next(self.numbers)}"
        if self.ecr is not None:
            self.ecr.client.create_repository(repositoryName=name)
        return Home(self.target, name, self.headers)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    folders = [tmp_path_factory.mktemp(name) for name in ("source", "target", "login")]
    with docker_registry(folders[0]) as source, docker_registry(folders[1]) as target:
        yield Ends(source, target, {}, Command(folders[2]))


@pytest.fixture(scope="module")
def ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    login = tmp_path_factory.mktemp("login")
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running, FakeRegistry() as fake:
        yield ecr_ends(running, fake, login)


def ecr_ends(running: RunningEcr, fake: FakeRegistry, login: Path) -> Ends:
    target, headers = running.url.removeprefix("http://"), running.authorization()
    auths = {target: {"auth": headers["Authorization"].removeprefix("Basic ")}}
    (login / "config.json").write_text(json.dumps({"auths": auths}))
    return Ends(fake.host, target, headers, Command(login), fake, running)


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.real_registry), "ecr"])
def ends(request: pytest.FixtureRequest) -> Ends:
    chosen: Ends = request.getfixturevalue(request.param)
    return chosen


@pytest.mark.parametrize("kind", list(ODD))
def test_odd_content_is_copied_byte_for_byte(ends: Ends, kind: str) -> None:
    home, _ = ends.copy(ODD[kind])
    assert home.lacks(ODD[kind]) == []


@pytest.mark.real_registry
@pytest.mark.parametrize("kind", list(NOT_IN_ECR))
def test_content_that_only_distribution_accepts_is_copied(docker: Ends, kind: str) -> None:
    home, _ = docker.copy(NOT_IN_ECR[kind])
    assert home.lacks(NOT_IN_ECR[kind]) == []


def test_empty_blob_to_ecr_fails_with_its_reason(ecr: Ends) -> None:
    said = refused(ecr, NOT_IN_ECR["empty blob"])
    assert f"@{digest_of(b'')} at the target failed: an empty blob is refused, as ECR does" in said


def test_sha512_to_ecr_fails_with_its_reason(ecr: Ends) -> None:
    assert "is not a sha256 digest" in refused(ecr, NOT_IN_ECR["sha512"])


def refused(ecr: Ends, image: LocalImage) -> str:
    """Copy something that ECR does not keep, and see that nothing is published."""
    assert ecr.fake is not None
    home, name = ecr.home(), f"team/app{next(ecr.numbers)}"
    ecr.fake.push(image, name, "1.0")
    said = failure(ecr.command.copy(f"{ecr.source}/{name}:1.0", home))
    assert home.served() is None
    return said


@pytest.mark.parametrize("content_type", [media_types.DOCKER_SCHEMA1_SIGNED, "application/json; charset=utf-8"])
def test_schema_1_is_refused_with_its_reason(ecr: Ends, content_type: str) -> None:
    assert ecr.fake is not None
    home = ecr.home()
    ecr.fake.fail(
        "GET", "/old/manifests/", 200, headers={"Content-Type": content_type}, body=json.dumps(SCHEMA1).encode()
    )
    said = failure(ecr.command.copy(f"{ecr.source}/team/old:1.0", home))
    assert f"media type '{media_types.DOCKER_SCHEMA1_SIGNED}' cannot be copied" in said
    assert home.served() is None
