"""Amazon ECR as the target: DescribeImages, layer uploads in parts, and PutImage, in the client's Region and account.

ECR's API says "layer" where the rest of the package says blob.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from pullahead.ecr.errors import code_of, translated
from pullahead.ecr.layer_parts import PartUploads
from pullahead.ecr.quotas import EcrPace
from pullahead.ecr.repositories import create_repository
from pullahead.errors import ManifestRefusedError, RegistryError, ResponseTooLargeError, Side, UploadLostError
from pullahead.oci import Descriptor, Digest, RawManifest, parse_digest
from pullahead.oci.registries import RepositorySettings, Upload

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef


_T = TypeVar("_T")
_BATCH = 100  # ECR API reference: imageIds and layerDigests have at most 100 entries
_MAX_PAGES = 500  # a repository has at most 100,000 images (ECR quotas), most with one tag; a page has 1,000
_PAGE = 1000
_LISTED_FROM = 1000  # tags: one page of a listing has as many as ten calls of DescribeImages

_REPOSITORY_MISSING = "RepositoryNotFoundException"
_IMAGE_MISSING = "ImageNotFoundException"
_PART_REFUSED = "InvalidLayerPartException"
_LAYER_EXISTS = "LayerAlreadyExistsException"
_IMAGE_EXISTS = "ImageAlreadyExistsException"


class EcrTarget:
    """Implements `pullahead.oci.registries.Target` with one boto3 client. Thread-safe."""

    def __init__(self, client: "ECRClient", pace: EcrPace | None = None) -> None:
        self._client, self._pace = client, pace or EcrPace()
        self._parts = PartUploads(client)

    def published_digests(self, repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        """Call DescribeImages, which neither counts as a pull nor makes a pull through cache query its upstream.

        One missing tag fails the whole call, and the error does not reliably name it: then the tags that are left are
        looked up in one listing, as very many tags are from the start.
        """
        found: dict[str, Digest] = {}
        left = list(dict.fromkeys(tags))
        while left and len(left) <= _LISTED_FROM:
            batch = frozenset(left[:_BATCH])
            try:
                with translated("describe", repository, frozenset({_REPOSITORY_MISSING, _IMAGE_MISSING})):
                    answer = self._client.describe_images(
                        repositoryName=repository, imageIds=[{"imageTag": tag} for tag in left[:_BATCH]]
                    )
            except ClientError as error:
                if code_of(error) == _REPOSITORY_MISSING or len(left) == 1:
                    return found
                break
            for image in answer["imageDetails"]:
                digest = parse_digest(image["imageDigest"])
                found.update((tag, digest) for tag in image.get("imageTags", ()) if tag in batch)
            left = left[_BATCH:]
        return {**found, **self._list_tags(repository, frozenset(left))} if left else found

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        """Create the repository unless it exists: with these settings, else by the creation template for its name."""
        if not self._exists(repository):
            create_repository(self._client, repository, settings)

    def present_blobs(self, repository: str, digests: Collection[Digest]) -> frozenset[Digest]:
        """Call BatchCheckLayerAvailability; only AVAILABLE counts, an ARCHIVED layer cannot be pulled."""
        present: set[Digest] = set()
        for batch in _batches(digests):
            with translated("check blobs", repository):
                answer = self._client.batch_check_layer_availability(
                    repositoryName=repository, layerDigests=list(batch)
                )
            present.update(
                parse_digest(layer["layerDigest"])
                for layer in answer.get("layers", ())
                if layer.get("layerAvailability") == "AVAILABLE"
            )
        return frozenset(present)

    def begin_upload(self, repository: str) -> Upload:
        """Begin a layer upload."""
        self._pace.layer(repository)
        with translated("begin upload", repository):
            answer = self._client.initiate_layer_upload(repositoryName=repository)
        return Upload(answer["uploadId"], answer["partSize"])

    def received_bytes(self, repository: str, upload: Upload, size: int) -> int:
        """Offer one byte beyond the end: ECR has no call for this, but its refusal says how far the upload is."""
        try:
            with translated("resume upload", f"{repository} (upload {upload.id})", frozenset({_PART_REFUSED})):
                self._client.upload_layer_part(
                    repositoryName=repository,
                    uploadId=upload.id,
                    partFirstByte=size + 1,
                    partLastByte=size + 1,
                    layerPartBlob=b"\0",
                )
        except ClientError as refusal:
            return _received(refusal)
        raise RegistryError(
            "ECR took a byte beyond the end of the blob",
            operation="resume upload",
            side=Side.TARGET,
            reference=repository,
        )

    def upload_part(self, repository: str, upload: Upload, first_byte: int, part: bytes | memoryview) -> int:
        """Send one part; where ECR expects another one, return the offset of that one."""
        try:
            with translated("upload part", f"{repository} (upload {upload.id})", frozenset({_PART_REFUSED})):
                return self._parts.send(repository, upload.id, first_byte, part) + 1
        except ClientError as refusal:
            return _received(refusal)

    def complete_upload(self, repository: str, upload: Upload, blob: Descriptor) -> None:
        """Complete the upload; ECR computes the digest itself."""
        self._pace.layer(repository)
        try:
            with translated("complete upload", f"{repository}@{blob.digest}", frozenset({_LAYER_EXISTS})):
                self._client.complete_layer_upload(
                    repositoryName=repository, uploadId=upload.id, layerDigests=[blob.digest]
                )
        except ClientError:
            return  # the repository has the blob already
        except UploadLostError:
            # Also the answer to a second call after the answer to the first one was lost.
            if blob.digest not in self.present_blobs(repository, [blob.digest]):
                raise

    def put_manifest(self, repository: str, manifest: RawManifest, tag: str | None) -> None:
        """Put the exact bytes and their media type, which ECR needs where the manifest does not contain it."""
        reference = f"{repository}:{tag}" if tag is not None else f"{repository}@{manifest.descriptor.digest}"
        self._pace.manifest(reference)
        try:
            with translated("put manifest", reference, frozenset({_IMAGE_EXISTS})):
                self._client.put_image(
                    repositoryName=repository,
                    imageManifest=_text(manifest, reference),
                    imageManifestMediaType=manifest.descriptor.media_type,
                    imageDigest=manifest.descriptor.digest,
                    **({"imageTag": tag} if tag is not None else {}),
                )
        except ClientError:
            return  # the manifest has this tag already

    def _exists(self, repository: str) -> bool:
        try:
            with translated("describe", repository, frozenset({_REPOSITORY_MISSING})):
                self._client.describe_repositories(repositoryNames=[repository])
        except ClientError:
            return False
        return True

    def _list_tags(self, repository: str, wanted: Collection[str]) -> Mapping[str, Digest]:
        found: dict[str, Digest] = {}
        try:
            with translated("list", repository, frozenset({_REPOSITORY_MISSING})):
                for image in self._tagged(repository):
                    if (tag := image.get("imageTag", "")) in wanted:
                        found[tag] = parse_digest(image["imageDigest"])
                    if len(found) == len(wanted):
                        break
        except ClientError:
            return {}  # the repository was deleted meanwhile
        return found

    def _tagged(self, repository: str) -> Iterator["ImageIdentifierTypeDef"]:
        pages = self._client.get_paginator("list_images").paginate(
            repositoryName=repository, filter={"tagStatus": "TAGGED"}, PaginationConfig={"PageSize": _PAGE}
        )
        for number, page in enumerate(pages):
            if number == _MAX_PAGES:
                cause = f"more than {_MAX_PAGES} pages of tags"
                raise ResponseTooLargeError(cause, operation="list", side=Side.TARGET, reference=repository)
            yield from page["imageIds"]


def _received(refusal: ClientError) -> int:
    # ECR API reference, InvalidLayerPartException: lastValidByteReceived. 0 can only mean that nothing was received,
    # since no part but the last is smaller than 5 MiB.
    last = refusal.response.get("lastValidByteReceived")
    return last + 1 if isinstance(last, int) and last > 0 else 0


def _text(manifest: RawManifest, reference: str) -> str:
    try:
        return manifest.content.decode()
    except UnicodeDecodeError as error:
        raise ManifestRefusedError(
            "the manifest is not UTF-8, which ECR's API requires",
            operation="put manifest",
            side=Side.TARGET,
            reference=reference,
        ) from error


def _batches(items: Collection[_T]) -> Iterator[tuple[_T, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, _BATCH)):
        yield batch
