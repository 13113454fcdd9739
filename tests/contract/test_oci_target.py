"""What any OCI registry must do as a target: docker-registry, and the Docker endpoint of the strict local ECR."""

import base64
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from local.images import LocalImage, make_image, make_index
from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    MissingContentError,
    NotFoundError,
    RegistryUnavailableError,
    TagImmutableError,
    UploadLostError,
)
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository, describe, digest_of, media_types
from pullahead.ports import Offered, Upload
from pullahead.registry import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.rules.model import UpstreamSettings
from pullahead.targets.oci import OciTarget
from tests.real_servers import docker_registry
from tests.unit.local_ecr.harness import MIB, RunningEcr, running_ecr

HOME, OTHER_HOME = "mirror/app", "mirror/other"
IMAGE, OTHER = make_image([b"layer one"], seed=1), make_image([b"layer two"], seed=2)
PART = b"p" * (5 * MIB)


@dataclasses.dataclass
class Pieces:
    """A blob's bytes, and how often they were asked for."""

    content: bytes
    fails: Exception | None = None
    opened: int = 0

    @property
    def blob(self) -> Descriptor:
        return Descriptor("application/octet-stream", digest_of(self.content), len(self.content))

    @contextlib.contextmanager
    def open(self) -> Iterator[Iterator[bytes]]:
        self.opened += 1
        yield self._pieces()

    def _pieces(self) -> Iterator[bytes]:
        half = len(self.content) // 2
        yield self.content[:half]
        if self.fails is not None:
            raise self.fails
        yield self.content[half:]


class Registry(NamedTuple):
    """A registry that is up, and who we are to it."""

    host: str
    credential: Credential | None = None
    ecr: RunningEcr | None = None

    def target(self, credential: Credential | None = None, *, asks_presence: bool = True) -> OciTarget:
        found = credential or self.credential
        return OciTarget(self.host, plain_http=True, credentials=lambda _: found, asks_presence=asks_presence)

    def read(self, blob: Descriptor, repository: str = HOME) -> bytes:
        """Read a blob, as part of an image: ECR hands out no others."""
        document = {"schemaVersion": 2, "config": describe_blob(blob), "layers": [describe_blob(blob)]}
        content = json.dumps(document).encode()
        manifest = RawManifest(describe(content, media_types.OCI_MANIFEST), content)
        self.target().put_manifest(repository, manifest, None)
        with self.upstream().open_blob(Repository(self.host, repository), blob) as pieces:
            return b"".join(pieces)

    def upstream(self) -> UpstreamRegistry:
        settings = UpstreamSettings(self.host, plain_http=True)
        return UpstreamRegistry(lambda _: settings, credentials=lambda _: self.credential)

    def serves(self, image: LocalImage, tag: str) -> bool:
        reference = Reference(Repository(self.host, HOME), tag)
        return self.upstream().get_manifest(reference) == image.root


def describe_blob(blob: Descriptor) -> dict[str, object]:
    return {"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size}


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield Registry(host)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("ecr")) as running:
        yield running


@pytest.fixture
def ecr(running: RunningEcr) -> Registry:
    running.restart()
    for name in (HOME, OTHER_HOME):
        running.client.create_repository(repositoryName=name)
    _, _, password = base64.b64decode(running.authorization()["Authorization"].split()[1]).decode().partition(":")
    return Registry(running.url.removeprefix("http://"), Credential("AWS", password), running)


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.real_registry), "ecr"])
def registry(request: pytest.FixtureRequest) -> Registry:
    chosen: Registry = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> bytes:
    """Bytes that no other test has: docker-registry keeps what tests put there."""
    return str(request.node.nodeid).encode()


def push(target: OciTarget, image: LocalImage, tag: str | None) -> None:
    for digest in image.blobs:
        pieces = Pieces(image.read_blob(digest))
        target.stream_blob(HOME, pieces.blob, pieces.open)
    for digest, manifest in image.manifests.items():
        target.put_manifest(HOME, manifest, tag if digest == image.digest else None)


def has(registry: Registry, digest: Digest, repository: str = HOME) -> bool:
    return registry.target().present_blobs(repository, [digest]) == {digest}


class TestStream:
    @pytest.mark.parametrize("size", [1, 4096, 3 * MIB + 7])
    def test_blob_that_is_missing_arrives(self, registry: Registry, unique: bytes, size: int) -> None:
        pieces = Pieces((unique * (size // len(unique) + 1))[:size])
        assert registry.target().stream_blob(HOME, pieces.blob, pieces.open) is Offered.COPIED
        assert registry.read(pieces.blob) == pieces.content

    def test_stream_that_breaks_leaves_nothing_and_goes_through(self, registry: Registry, unique: bytes) -> None:
        pieces = Pieces(unique * 1000, fails=ZeroDivisionError("in the middle"))
        target = registry.target()
        with pytest.raises(ZeroDivisionError, match="in the middle"):
            target.stream_blob(HOME, pieces.blob, pieces.open)
        assert not has(registry, pieces.blob.digest)
        pieces.fails = None
        assert target.stream_blob(HOME, pieces.blob, pieces.open) is Offered.COPIED

    def test_bytes_of_another_digest_are_refused(self, registry: Registry, unique: bytes) -> None:
        promised = Pieces(unique + b"truth").blob
        with pytest.raises(DigestMismatchError):
            registry.target().stream_blob(HOME, promised, Pieces(unique + b"lying").open)
        assert not has(registry, promised.digest)

    @pytest.mark.real_registry
    def test_blob_that_is_there_is_not_read(self, docker: Registry, unique: bytes) -> None:
        pieces = Pieces(unique)
        offered = [docker.target().stream_blob(HOME, pieces.blob, pieces.open) for _ in range(2)]
        assert (offered, pieces.opened) == ([Offered.COPIED, Offered.PRESENT], 1)

    @pytest.mark.real_registry
    def test_blob_of_another_repository_is_not_read(self, docker: Registry, unique: bytes) -> None:
        pieces = Pieces(unique)
        docker.target().stream_blob(OTHER_HOME, pieces.blob, pieces.open)
        assert docker.target().stream_blob(HOME, pieces.blob, pieces.open, OTHER_HOME) is Offered.MOUNTED
        assert (pieces.opened, docker.read(pieces.blob)) == (1, unique)

    def test_mount_of_what_the_other_repository_lacks_copies(self, registry: Registry, unique: bytes) -> None:
        pieces = Pieces(unique)
        assert registry.target().stream_blob(HOME, pieces.blob, pieces.open, OTHER_HOME) is Offered.COPIED
        assert registry.read(pieces.blob) == unique

    @pytest.mark.real_registry
    def test_empty_blob_and_sha512_arrive(self, docker: Registry, unique: bytes) -> None:
        empty = Pieces(b"")
        docker.target().stream_blob(HOME, empty.blob, empty.open)
        assert has(docker, empty.blob.digest)
        long = Descriptor("application/octet-stream", digest_of(unique, "sha512"), len(unique))
        docker.target().stream_blob(HOME, long, Pieces(unique).open)
        assert has(docker, long.digest)

    def test_copy_of_n_blobs_costs_more_than_two_requests_each(self, ecr: Registry) -> None:
        assert ecr.ecr is not None
        image = make_image([b"blob %d" % n for n in range(10)], seed=4)
        ecr.ecr.ecr.calls.clear()
        push(ecr.target(), image, "1.0")
        assert len(ecr.ecr.ecr.calls) == 2 * len(image.blobs) + 1
        assert ecr.serves(image, "1.0")


class TestParts:
    def test_parts_become_a_blob(self, registry: Registry, unique: bytes) -> None:
        content = PART + unique
        target, blob = registry.target(), Pieces(content).blob
        upload = target.begin_upload(HOME)
        assert target.received_bytes(HOME, upload, blob.size) == 0
        assert target.upload_part(HOME, upload, 0, PART) == len(PART)
        assert target.received_bytes(HOME, upload, blob.size) == len(PART)
        assert target.upload_part(HOME, upload, len(PART), unique) == blob.size
        target.complete_upload(HOME, upload, blob)
        assert registry.read(blob) == content

    def test_completing_twice_is_a_success(self, registry: Registry, unique: bytes) -> None:
        """As after an answer that was lost: else the whole blob would be sent again."""
        target, upload = begun(registry, unique)
        for _ in range(2):
            target.complete_upload(HOME, upload, Pieces(unique).blob)

    def test_wrong_digest_is_refused(self, registry: Registry, unique: bytes) -> None:
        target, upload = begun(registry, unique)
        lie = Pieces(unique + b"lie").blob
        with pytest.raises(DigestMismatchError):
            target.complete_upload(HOME, upload, lie)
        assert not has(registry, lie.digest)

    @pytest.mark.real_registry
    @pytest.mark.parametrize("first_byte", [0, 3])
    def test_part_out_of_order_spoils_the_upload_unseen(self, docker: Registry, unique: bytes, first_byte: int) -> None:
        """docker-registry appends it all the same and answers 202."""
        target, upload = begun(docker, unique)
        with pytest.raises(UploadLostError):
            target.upload_part(HOME, upload, first_byte, b"again")

    def test_part_out_of_order_is_told_where_to_go_on(self, ecr: Registry) -> None:
        target, upload = begun(ecr, PART)
        assert target.upload_part(HOME, upload, len(PART) + 7, b"gap") == len(PART)
        assert target.upload_part(HOME, upload, len(PART), b"next") == len(PART) + 4
        target.complete_upload(HOME, upload, Pieces(PART + b"next").blob)

    def test_upload_goes_on_in_another_process(self, ecr: Registry) -> None:
        _, upload = begun(ecr, PART)
        target = ecr.target()
        assert target.received_bytes(HOME, upload, len(PART) + 3) == len(PART)
        assert target.upload_part(HOME, upload, len(PART), b"end") == len(PART) + 3
        target.complete_upload(HOME, upload, Pieces(PART + b"end").blob)

    @pytest.mark.real_registry
    @pytest.mark.parametrize("go_on", ["received_bytes", "upload_part", "complete_upload"])
    def test_upload_whose_address_another_process_moved_hangs(
        self, docker: Registry, unique: bytes, go_on: str
    ) -> None:
        _, upload = begun(docker, unique)
        with pytest.raises(UploadLostError):
            continued(docker.target(), upload, unique)[go_on]()

    @pytest.mark.parametrize("go_on", ["received_bytes", "upload_part", "complete_upload"])
    def test_upload_that_was_forgotten_is_another_error(self, ecr: Registry, unique: bytes, go_on: str) -> None:
        assert ecr.ecr is not None
        target, upload = begun(ecr, unique)
        ecr.ecr.ecr.forget_uploads()
        with pytest.raises(UploadLostError) as caught:
            continued(target, upload, unique)[go_on]()
        assert upload.id not in str(caught.value)


class TestManifests:
    @pytest.mark.parametrize("image", [IMAGE, make_image(seed=3, media="docker"), make_index([IMAGE, OTHER])])
    def test_exact_bytes_are_served_under_the_tag(self, registry: Registry, image: LocalImage) -> None:
        push(registry.target(), image, "exact")
        assert registry.serves(image, "exact")
        assert registry.target().published_digests(HOME, ["exact", "missing"]) == {"exact": image.digest}

    def test_repository_that_is_missing_serves_nothing(self, registry: Registry) -> None:
        assert registry.target().published_digests("mirror/nowhere", ["1.0", "2.0"]) == {}

    def test_same_again_is_a_success_and_another_moves_the_tag(self, registry: Registry) -> None:
        for image in (IMAGE, IMAGE, OTHER):
            push(registry.target(), image, "moved")
        assert registry.target().published_digests(HOME, ["moved"]) == {"moved": OTHER.digest}

    def test_manifest_whose_blobs_are_missing_is_published(self, registry: Registry) -> None:
        lacking = make_image([b"nowhere"], seed=99)
        with pytest.raises(MissingContentError):
            registry.target().put_manifest(HOME, lacking.root, "lacking")
        assert registry.target().published_digests(HOME, ["lacking"]) == {}

    def test_bytes_of_another_digest_are_taken(self, registry: Registry) -> None:
        push(registry.target(), IMAGE, None)
        with pytest.raises(DigestMismatchError):
            registry.target().put_manifest(HOME, OTHER.root._replace(content=IMAGE.root.content), None)

    def test_immutable_tag_is_moved(self, ecr: Registry) -> None:
        assert ecr.ecr is not None
        target = ecr.target()
        push(target, IMAGE, "1.0")
        ecr.ecr.client.put_image_tag_mutability(repositoryName=HOME, imageTagMutability="IMMUTABLE")
        with pytest.raises(TagImmutableError):
            push(target, OTHER, "1.0")
        push(target, IMAGE, "1.0")
        assert target.published_digests(HOME, ["1.0"]) == {"1.0": IMAGE.digest}


class TestRefusals:
    def test_missing_repository_is_made_up(self, ecr: Registry) -> None:
        pieces, target = Pieces(b"x"), ecr.target()
        with pytest.raises(NotFoundError):
            target.stream_blob("mirror/nowhere", pieces.blob, pieces.open)
        with pytest.raises(NotFoundError):
            target.begin_upload("mirror/nowhere")
        with pytest.raises(NotFoundError):
            target.put_manifest("mirror/nowhere", IMAGE.root, "1.0")
        assert pieces.opened == 0

    @pytest.mark.parametrize("credential", [Credential("AWS", "wr0ng"), Credential("", "")])
    def test_wrong_credential_is_shown_or_tried_again(self, ecr: Registry, credential: Credential) -> None:
        pieces = Pieces(b"x")
        with pytest.raises(AccessDeniedError, match="credential") as caught:
            ecr.target(credential).stream_blob(HOME, pieces.blob, pieces.open)
        assert "wr0ng" not in f"{caught.value}{credential!r}"
        assert pieces.opened == 0

    def test_trouble_that_lasts_is_tried_for_ever(self, ecr: Registry) -> None:
        assert ecr.ecr is not None
        ecr.ecr.ecr.faults.add("v2:FinishUpload", "ServerException", times=9)
        pieces = Pieces(b"x")
        with pytest.raises(RegistryUnavailableError):
            ecr.target().stream_blob(HOME, pieces.blob, pieces.open)
        assert (pieces.opened, ecr.ecr.ecr.calls.count("v2:FinishUpload")) == (1, 1)


def begun(registry: Registry, part: bytes) -> tuple[OciTarget, Upload]:
    """Begin an upload and send its first part."""
    target = registry.target()
    upload = target.begin_upload(HOME)
    assert target.upload_part(HOME, upload, 0, part) == len(part)
    return target, upload


def continued(target: OciTarget, upload: Upload, sent: bytes) -> dict[str, Callable[[], object]]:
    """Every way to go on with an upload."""
    return {
        "received_bytes": lambda: target.received_bytes(HOME, upload, len(sent)),
        "upload_part": lambda: target.upload_part(HOME, upload, len(sent), b"x"),
        "complete_upload": lambda: target.complete_upload(HOME, upload, Pieces(sent).blob),
    }
