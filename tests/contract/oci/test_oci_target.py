"""What any OCI registry must do as a target: whole blobs, manifests, refusals."""

import pytest

from local.images import LocalImage, make_image, make_index
from local.tests.ecr.harness import MIB
from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    MissingContentError,
    NotFoundError,
    RegistryUnavailableError,
    TagImmutableError,
)
from pullahead.oci import Descriptor, digest_of
from pullahead.oci.registries import Offered
from pullahead.registry.credentials import Credential
from tests.contract.oci.harness import HOME, IMAGE, OTHER, OTHER_HOME, Pieces, Registry, has, push


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

    def test_blob_whose_presence_is_asked_for_is_not_read(self, registry: Registry, unique: bytes) -> None:
        pieces = Pieces(unique)
        offered = [registry.target().stream_blob(HOME, pieces.blob, pieces.open) for _ in range(2)]
        assert (offered, pieces.opened) == ([Offered.COPIED, Offered.PRESENT], 1)

    @pytest.mark.real_registry
    def test_blob_that_is_there_is_not_read(self, docker: Registry, unique: bytes) -> None:
        pieces = Pieces(unique)
        target = docker.target(asks_presence=False)
        offered = [target.stream_blob(HOME, pieces.blob, pieces.open) for _ in range(2)]
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

    def test_copy_costs_two_requests_a_blob(self, ecr: Registry) -> None:
        assert ecr.ecr is not None
        image = make_image([b"blob %d" % n for n in range(10)], seed=4)
        ecr.ecr.ecr.calls.clear()
        push(ecr.target(asks_presence=False), image, "1.0")
        assert len(ecr.ecr.ecr.calls) == 2 * len(image.blobs) + 1
        assert ecr.serves(image, "1.0")


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

    def test_manifest_whose_blobs_are_missing_is_refused(self, registry: Registry) -> None:
        lacking = make_image([b"nowhere"], seed=99)
        with pytest.raises(MissingContentError):
            registry.target().put_manifest(HOME, lacking.root, "lacking")
        assert registry.target().published_digests(HOME, ["lacking"]) == {}

    def test_manifest_of_another_digest_is_refused(self, registry: Registry) -> None:
        push(registry.target(), IMAGE, None)
        with pytest.raises(DigestMismatchError):
            registry.target().put_manifest(HOME, OTHER.root._replace(content=IMAGE.root.content), None)

    def test_immutable_tag_is_not_moved(self, ecr: Registry) -> None:
        assert ecr.ecr is not None
        target = ecr.target()
        push(target, IMAGE, "1.0")
        ecr.ecr.client.put_image_tag_mutability(repositoryName=HOME, imageTagMutability="IMMUTABLE")
        with pytest.raises(TagImmutableError):
            push(target, OTHER, "1.0")
        push(target, IMAGE, "1.0")
        assert target.published_digests(HOME, ["1.0"]) == {"1.0": IMAGE.digest}


class TestRefusals:
    def test_missing_repository_is_not_found(self, ecr: Registry) -> None:
        pieces, target = Pieces(b"x"), ecr.target()
        with pytest.raises(NotFoundError):
            target.stream_blob("mirror/nowhere", pieces.blob, pieces.open)
        with pytest.raises(NotFoundError):
            target.begin_upload("mirror/nowhere")
        with pytest.raises(NotFoundError):
            target.put_manifest("mirror/nowhere", IMAGE.root, "1.0")
        assert pieces.opened == 0

    @pytest.mark.parametrize("credential", [Credential("AWS", "wr0ng"), Credential("", "")])
    def test_wrong_credential_is_a_refusal(self, ecr: Registry, credential: Credential) -> None:
        pieces = Pieces(b"x")
        with pytest.raises(AccessDeniedError, match="access denied") as caught:
            ecr.target(credential).stream_blob(HOME, pieces.blob, pieces.open)
        assert "wr0ng" not in f"{caught.value}{credential!r}"
        assert pieces.opened == 0

    def test_stream_that_meets_trouble_is_not_sent_again(self, ecr: Registry) -> None:
        assert ecr.ecr is not None
        ecr.ecr.ecr.faults.add("v2:FinishUpload", "ServerException", times=9)
        pieces = Pieces(b"x")
        with pytest.raises(RegistryUnavailableError):
            ecr.target().stream_blob(HOME, pieces.blob, pieces.open)
        assert (pieces.opened, ecr.ecr.ecr.calls.count("v2:FinishUpload")) == (1, 1)
