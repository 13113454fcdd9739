"""What any OCI registry must do as a target: blobs in parts."""

from collections.abc import Callable

import pytest

from pullahead.errors import DigestMismatchError, UploadLostError
from pullahead.oci.registries import Upload
from pullahead.registry.push import OciTarget
from tests.contract.oci.harness import HOME, PART, Pieces, Registry, begun, has


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
    def test_part_out_of_order_loses_the_upload(self, docker: Registry, unique: bytes, first_byte: int) -> None:
        """docker-registry appends it all the same and answers 202."""
        target, upload = begun(docker, unique)
        with pytest.raises(UploadLostError):
            target.upload_part(HOME, upload, first_byte, b"again")

    def test_part_out_of_order_is_answered_with_the_expected_offset(self, ecr: Registry) -> None:
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
    def test_upload_whose_address_another_process_moved_is_lost(
        self, docker: Registry, unique: bytes, go_on: str
    ) -> None:
        _, upload = begun(docker, unique)
        with pytest.raises(UploadLostError):
            continued(docker.target(), upload, unique)[go_on]()

    @pytest.mark.parametrize("go_on", ["received_bytes", "upload_part", "complete_upload"])
    def test_upload_that_was_forgotten_is_lost(self, ecr: Registry, unique: bytes, go_on: str) -> None:
        assert ecr.ecr is not None
        target, upload = begun(ecr, unique)
        ecr.ecr.ecr.forget_uploads()
        with pytest.raises(UploadLostError) as caught:
            continued(target, upload, unique)[go_on]()
        assert upload.id not in str(caught.value)


def continued(target: OciTarget, upload: Upload, sent: bytes) -> dict[str, Callable[[], object]]:
    """Every way to go on with an upload."""
    return {
        "received_bytes": lambda: target.received_bytes(HOME, upload, len(sent)),
        "upload_part": lambda: target.upload_part(HOME, upload, len(sent), b"x"),
        "complete_upload": lambda: target.complete_upload(HOME, upload, Pieces(sent).blob),
    }
