"""Facts about layer uploads in parts: what resuming a copy rests on."""

import uuid
from typing import Final, NamedTuple

from pullahead.oci import Descriptor, digest_of
from pullahead.oci.registries import Upload
from tests.live.fact import Finding, Section
from tests.live.site import Refusal, Site, refusal

SECTION: Final = Section("Layer uploads in parts")

_MIB: Final = 1024 * 1024
_SMALLEST_PART: Final = 5 * _MIB
_TAIL: Final = 1000
_TARGET: Final = ("ecr/target.py",)
_LOCAL: Final = ("local/ecr/uploads.py", "local/ecr/api_layers.py")
_REFERENCE: Final = "ECR API reference"


class _Begun(NamedTuple):
    """An upload that has its first part, of the smallest size, and lacks a short last one."""

    repository: str
    upload: Upload
    content: bytes

    @property
    def blob(self) -> Descriptor:
        return Descriptor("application/octet-stream", digest_of(self.content), len(self.content))


def _begun(site: Site) -> _Begun:
    def begin() -> _Begun:
        begun = _Begun(
            site.repository("parts"), _begin(site, site.repository("parts")), site.content(_SMALLEST_PART + _TAIL, 1)
        )
        site.target.upload_part(begun.repository, begun.upload, 0, begun.content[:_SMALLEST_PART])
        return begun

    return site.once("begun upload", begin)


def _begin(site: Site, repository: str) -> Upload:
    return site.target.begin_upload(repository)


def _send(site: Site, repository: str, upload_id: str, first_byte: int, part: bytes) -> Refusal:
    return refusal(
        lambda: site.ecr.upload_layer_part(
            repositoryName=repository,
            uploadId=upload_id,
            partFirstByte=first_byte,
            partLastByte=first_byte + len(part) - 1,
            layerPartBlob=part,
        )
    )


def _complete(site: Site, repository: str, upload_id: str, content: bytes) -> Refusal:
    return refusal(
        lambda: site.ecr.complete_layer_upload(
            repositoryName=repository, uploadId=upload_id, layerDigests=[digest_of(content)]
        )
    )


def _offset_in(answer: Refusal, *expected: object) -> Finding:
    """Find that a part was refused with the offset of the last byte that ECR has."""
    last = answer.response.get("lastValidByteReceived")
    agrees = answer.code == "InvalidLayerPartException" and last in expected
    return Finding(agrees, f"{answer.text.partition(':')[0]}, lastValidByteReceived {last}")


@SECTION.fact(
    "`InitiateLayerUpload` returns an upload ID and a `partSize` from 5 to 20 MiB, which every part but the last has.",
    source=f"{_REFERENCE}, InitiateLayerUpload; its example has 10,485,760",
    relied_on_by=("ecr/target.py", "refresh/upload_blob.py"),
    emulated_in=_LOCAL,
)
def part_size(site: Site) -> Finding:
    answer = site.ecr.initiate_layer_upload(repositoryName=site.repository("parts"))
    size = answer["partSize"]
    return Finding(bool(answer["uploadId"]) and _SMALLEST_PART <= size <= 4 * _SMALLEST_PART, f"partSize {size}")


@SECTION.fact(
    "`BatchCheckLayerAvailability` does not call a layer AVAILABLE that the repository lacks.",
    source=f"{_REFERENCE}, BatchCheckLayerAvailability; whether as UNAVAILABLE or as a failure is not documented",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
)
def missing_layer(site: Site) -> Finding:
    missing = digest_of(site.run.name.encode())
    answer = site.ecr.batch_check_layer_availability(repositoryName=site.repository("parts"), layerDigests=[missing])
    listed = [layer.get("layerAvailability", "") for layer in answer.get("layers", [])]
    failed = [failure.get("failureCode", "") for failure in answer.get("failures", [])]
    return Finding("AVAILABLE" not in listed, f"layers {listed}, failures {failed}")


@SECTION.fact(
    "A part that leaves a gap is refused with `InvalidLayerPartException`, whose `lastValidByteReceived` is the last "
    "byte of the parts before.",
    source=f"{_REFERENCE}, UploadLayerPart",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
    errors=["InvalidLayerPartException"],
)
def part_with_gap(site: Site) -> Finding:
    begun = _begun(site)
    answer = _send(site, begun.repository, begun.upload.id, 2 * _SMALLEST_PART, begun.content[:_TAIL])
    return _offset_in(answer, _SMALLEST_PART - 1)


@SECTION.fact(
    "A part that ECR has already is refused in the same way, so that a copy whose answer was lost goes on after it.",
    source=f"{_REFERENCE}, UploadLayerPart; inferred for a repeated part",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
)
def repeated_part(site: Site) -> Finding:
    begun = _begun(site)
    answer = _send(site, begun.repository, begun.upload.id, 0, begun.content[:_SMALLEST_PART])
    return _offset_in(answer, _SMALLEST_PART - 1)


@SECTION.fact(
    "One byte offered beyond the end of the blob is refused in the same way: that is how a copy that was killed finds "
    "out where to go on.",
    source="inferred; the size of the part might be checked first",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
)
def probe_for_offset(site: Site) -> Finding:
    begun = _begun(site)
    answer = _send(site, begun.repository, begun.upload.id, len(begun.content) + 1, b"\0")
    return _offset_in(answer, _SMALLEST_PART - 1)


@SECTION.fact(
    "The same for an upload without parts: `lastValidByteReceived` is then 0, negative, or missing.",
    source="inferred",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
)
def probe_without_parts(site: Site) -> Finding:
    repository = site.repository("parts")
    return _offset_in(_send(site, repository, _begin(site, repository).id, _TAIL + 1, b"\0"), None, -1, 0)


@SECTION.fact(
    "After these refusals the upload goes on at that offset and completes, and the whole layer is AVAILABLE.",
    source="inferred",
    relied_on_by=("ecr/target.py", "refresh/upload_blob.py"),
    emulated_in=_LOCAL,
)
def upload_goes_on(site: Site) -> Finding:
    begun = _begun(site)
    received = site.target.received_bytes(begun.repository, begun.upload, len(begun.content))
    after = site.target.upload_part(begun.repository, begun.upload, received, begun.content[received:])
    site.target.complete_upload(begun.repository, begun.upload, begun.blob)
    (layer,) = site.ecr.batch_check_layer_availability(
        repositoryName=begun.repository, layerDigests=[begun.blob.digest]
    )["layers"]
    seen = f"went on at {received}, ended at {after}; {layer['layerAvailability']}, {layer.get('layerSize')} bytes"
    agrees = (received, after) == (_SMALLEST_PART, len(begun.content))
    return Finding(agrees and layer["layerAvailability"] == "AVAILABLE", seen)


@SECTION.fact(
    "`CompleteLayerUpload` computes the digest itself and refuses another one with `InvalidLayerException`.",
    source=f"{_REFERENCE}, CompleteLayerUpload",
    relied_on_by=("ecr/errors.py", "ecr/target.py"),
    emulated_in=_LOCAL,
    errors=["InvalidLayerException"],
)
def wrong_digest(site: Site) -> Finding:
    repository = site.repository("parts")
    upload = _begin(site, repository)
    _send(site, repository, upload.id, 0, site.content(_TAIL, 2))
    return _complete(site, repository, upload.id, b"something else").is_one_of("InvalidLayerException")


@SECTION.fact(
    "An upload that is complete is not completed again: `UploadNotFoundException`, or `LayerAlreadyExistsException`.",
    source="inferred; both are taken as success if the layer is there",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
    errors=["UploadNotFoundException"],
)
def completed_twice(site: Site) -> Finding:
    repository, content = site.repository("parts"), site.content(_TAIL, 3)
    upload = _begin(site, repository)
    _send(site, repository, upload.id, 0, content)
    first = _complete(site, repository, upload.id, content)
    again = _complete(site, repository, upload.id, content)
    is_handled = again.is_one_of("UploadNotFoundException", "LayerAlreadyExistsException").agrees
    return Finding(not first.code and is_handled, again.text)


@SECTION.fact(
    "A layer that the repository has is refused with `LayerAlreadyExistsException` when it is uploaded again.",
    source=f"{_REFERENCE}, CompleteLayerUpload",
    relied_on_by=_TARGET,
    emulated_in=_LOCAL,
    errors=["LayerAlreadyExistsException"],
)
def layer_exists(site: Site) -> Finding:
    repository, content = site.repository("parts"), site.content(_TAIL, 4)
    site.push_blob(content, repository)
    upload = _begin(site, repository)
    _send(site, repository, upload.id, 0, content)
    return _complete(site, repository, upload.id, content).is_one_of("LayerAlreadyExistsException")


@SECTION.fact(
    "A part below 5 MiB that is not the last: `LayerPartTooSmallException`, at the latest on completion.",
    source=f"{_REFERENCE}, CompleteLayerUpload",
    relied_on_by=("ecr/errors.py",),
    emulated_in=_LOCAL,
    errors=["LayerPartTooSmallException"],
)
def small_part(site: Site) -> Finding:
    repository, content = site.repository("parts"), site.content(2 * _TAIL, 5)
    upload = _begin(site, repository)
    _send(site, repository, upload.id, 0, content[:_TAIL])
    second = _send(site, repository, upload.id, _TAIL, content[_TAIL:])
    refused = second if second.code else _complete(site, repository, upload.id, content)
    return refused.is_one_of("LayerPartTooSmallException")


@SECTION.fact(
    "An upload without parts is refused with `EmptyUploadException` when it is completed.",
    source=f"{_REFERENCE}, CompleteLayerUpload",
    relied_on_by=("ecr/errors.py",),
    emulated_in=_LOCAL,
    errors=["EmptyUploadException"],
)
def empty_upload(site: Site) -> Finding:
    repository = site.repository("parts")
    return _complete(site, repository, _begin(site, repository).id, b"").is_one_of("EmptyUploadException")


@SECTION.fact(
    "A part for an upload that ECR does not know is refused with `UploadNotFoundException`.",
    source=f"{_REFERENCE}, UploadLayerPart",
    relied_on_by=("ecr/errors.py",),
    emulated_in=_LOCAL,
    errors=["UploadNotFoundException"],
)
def unknown_upload(site: Site) -> Finding:
    answer = _send(site, site.repository("parts"), str(uuid.uuid4()), 0, b"\0" * _TAIL)
    return answer.is_one_of("UploadNotFoundException")


@SECTION.fact(
    "An upload into a repository that does not exist is refused with `RepositoryNotFoundException`.",
    source=f"{_REFERENCE}, InitiateLayerUpload",
    relied_on_by=("ecr/errors.py",),
    emulated_in=_LOCAL,
    errors=["RepositoryNotFoundException"],
)
def upload_into_missing_repository(site: Site) -> Finding:
    missing = site.run.repository("not-there")
    return refusal(lambda: site.ecr.initiate_layer_upload(repositoryName=missing)).is_one_of(
        "RepositoryNotFoundException"
    )


SECTION.unchecked(
    "upload-lifetime",
    "An upload that ECR has forgotten is refused with `UploadNotFoundException`, whenever that is; it is begun anew.",
    source="not documented; peers assume the 12 hours of a token",
    relied_on_by=("ecr/errors.py", "refresh/upload_blob.py"),
    reason="it takes longer than a run, perhaps 12 hours",
)
