"""What a target of referrers promises: the local ECR by its API, ECR by its Docker endpoint, and docker-registry."""

import base64
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from local import artifacts
from local.images import LocalImage, make_image
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.ecr.target import EcrTarget
from pullahead.oci import digest_of
from pullahead.oci.referrers import fallback_tag, listing_entry
from pullahead.oci.registries import CopyTarget, ReferrersTarget
from pullahead.refresh.publish_referrers import keep_fallback_tag
from pullahead.registry.credentials import Credential
from pullahead.registry.push import OciTarget
from tests.contract.oci.harness import Pieces
from tests.real_servers import docker_registry

HOME = "mirror/app"


class Bench(NamedTuple):
    """A target, and a way to push to it whose rate nothing limits."""

    target: ReferrersTarget
    pushes: CopyTarget
    has_api: bool

    def push(self, image: LocalImage, tag: str | None = None) -> None:
        for digest in image.blobs:
            pieces = Pieces(image.read_blob(digest))
            self.pushes.stream_blob(HOME, pieces.blob, pieces.open)
        self.pushes.put_manifest(HOME, image.root, tag)


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture(params=["ecr-api", "ecr-v2", pytest.param("docker", marks=pytest.mark.real_registry)])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "docker":
        target = OciTarget(request.getfixturevalue("docker"), plain_http=True)
        return Bench(target, target, has_api=False)
    running: RunningEcr = request.getfixturevalue("running")
    running.restart()
    running.client.create_repository(repositoryName=HOME)
    _, _, password = base64.b64decode(running.authorization()["Authorization"].split()[1]).decode().partition(":")
    credential = Credential("AWS", password)
    v2 = OciTarget(running.url.removeprefix("http://"), plain_http=True, credentials=lambda _: credential)
    return Bench(EcrTarget(running.client) if request.param == "ecr-api" else v2, v2, has_api=True)


def test_missing_tag_and_repository_are_no_error(bench: Bench) -> None:
    assert bench.target.read_manifest(HOME, "no-such-tag") is None
    assert bench.target.read_manifest("mirror/nowhere", "1.0") is None


def test_exact_bytes_of_a_tag_are_read(bench: Bench) -> None:
    image = make_image([10], seed=50)
    bench.push(image, "read-me")
    held = bench.target.read_manifest(HOME, "read-me")
    assert held is not None
    assert held.manifest == image.root


def test_target_tells_whether_it_lists_referrers(bench: Bench) -> None:
    image = make_image([10], seed=51)
    bench.push(image)
    assert bench.target.lists_referrers(HOME, image.digest) is bench.has_api
    bench.push(artifacts.sbom(image.root.descriptor))
    assert bench.target.lists_referrers(HOME, image.digest) is bench.has_api


def test_manifests_before_the_first_missing_one_are_present(bench: Bench) -> None:
    first, second = (make_image([10], seed=seed) for seed in (52, 53))
    bench.push(first)
    missing = digest_of(b"missing")
    assert list(bench.target.present_manifests(HOME, [first.digest, missing, second.digest])) == [first.digest]
    assert list(bench.target.present_manifests(HOME, [missing])) == []


def test_fallback_tag_grows(bench: Bench) -> None:
    image = make_image([10], seed=54)
    bench.push(image)
    bills = [artifacts.sbom(image.root.descriptor, content=b"%d" % number) for number in range(3)]
    for bill in bills:
        bench.push(bill)
        waits: list[int] = []
        keep_fallback_tag(HOME, image.digest, {bill.digest: listing_entry(bill.root)}, bench.target, waits.append)
        assert waits == [1]
    held = bench.target.read_manifest(HOME, fallback_tag(image.digest))
    assert held is not None
    assert all(bill.digest.encode() in held.manifest.content for bill in bills)
