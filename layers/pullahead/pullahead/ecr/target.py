"""Amazon ECR as the target: DescribeImages, layer uploads in parts, and PutImage, in the client's Region and account.

ECR's API says "layer" where the rest of the package says blob.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import ClientError

from pullahead.ecr.errors import code_of, is_refused_request, translated
from pullahead.ecr.layer_parts import PartUploads
from pullahead.ecr.quotas import EcrPace
from pullahead.ecr.repositories import create_repository
from pullahead.errors import ManifestRefusedError, RegistryError, ResponseTooLargeError, Side, UploadLostError
from pullahead.oci import Descriptor, Digest, RawManifest, describe, media_types, parse_digest, sniff_media_type
from pullahead.oci.registries import RepositorySettings, TaggedManifest, Upload

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
_UPSTREAM_LISTING = "UnableToListUpstreamImageReferrersException"  # of a pull through cache; ECR itself lists them
_LISTING_REFUSED = frozenset({_UPSTREAM_LISTING, "UnknownOperationException", "InvalidAction"})
_MEDIA_TYPES = sorted(media_types.INDEXES | media_types.MANIFESTS)


class EcrTarget:
    """Implements `pullahead.refresh.ports.PublishTarget` with one boto3 client. Thread-safe."""

    def __init__(self, client: "ECRClient", pace: EcrPace | None = None, *, expire_untagged_days: int = 0) -> None:
        self._client, self._pace, self._expire_untagged_days = client, pace or EcrPace(), expire_untagged_days
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

    def has_repository(self, repository: str) -> bool:
        """Call DescribeRepositories."""
        try:
            with translated("describe", repository, frozenset({_REPOSITORY_MISSING})):
                self._client.describe_repositories(repositoryNames=[repository])
        except ClientError:
            return False
        return True

    def ensure_repository(self, repository: str, settings: RepositorySettings | None = None) -> None:
        """Create the repository unless it exists: with these settings, else by the creation template for its name."""
        if not self.has_repository(repository):
            create_repository(self._client, repository, settings, self._expire_untagged_days)

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
        """Offer one byte beyond the end: ECR has no call for this, but its refusal says how far the upload is.

        Any other refusal says nothing of the kind, so the upload counts as lost.
        """
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
        except RegistryError as error:
            if isinstance(error.__cause__, ClientError) and is_refused_request(error.__cause__):
                cause = f"ECR does not say how far the upload is: {error.__cause__}"
                raise UploadLostError(
                    cause, operation="resume upload", side=Side.TARGET, reference=repository
                ) from error
            raise
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

    def put_manifest(
        self,
        repository: str,
        manifest: RawManifest,
        tag: str | None,
        *,
        if_version: str = "",  # noqa: ARG002 - PutImage has no condition
    ) -> None:
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

    def present_manifests(self, repository: str, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Call DescribeImages, which fails as a whole where one image is missing: halving finds the first such one.

        Where it is the very first, as for a first publish, one call tells.
        """
        if not digests or not self._has_manifests(repository, digests[:1]):
            return ()
        present = 1  # and those before `missing` may be there
        missing = len(digests) + 1
        while present < missing - 1:
            middle = min((present + missing) // 2, present + _BATCH)
            if self._has_manifests(repository, digests[present:middle]):
                present = middle
            else:
                missing = middle
        return digests[:present]

    def holds_manifest(self, repository: str, digest: Digest) -> bool:
        """Call DescribeImages for one manifest. Raises: as `published_digests`."""
        return self._has_manifests(repository, [digest])

    def read_manifest(self, repository: str, tag: str) -> TaggedManifest | None:
        """Call BatchGetImage, which counts as a pull of what the tag names."""
        try:
            with translated("read", f"{repository}:{tag}", frozenset({_REPOSITORY_MISSING})):
                answer = self._client.batch_get_image(
                    repositoryName=repository, imageIds=[{"imageTag": tag}], acceptedMediaTypes=_MEDIA_TYPES
                )
        except ClientError:
            return None
        image = next(iter(answer.get("images", ())), None)
        if image is None:
            return None
        content = image["imageManifest"].encode()
        media_type = image.get("imageManifestMediaType") or sniff_media_type(content)
        return TaggedManifest(RawManifest(describe(content, media_type), content))

    def lists_referrers(self, repository: str, digest: Digest) -> bool:
        """Call ListImageReferrers, as not every partition may have it (ECR has referrers since June 2024)."""
        try:
            with translated("list referrers", f"{repository}@{digest}", _LISTING_REFUSED):
                self._client.list_image_referrers(
                    repositoryName=repository, subjectId={"imageDigest": digest}, maxResults=1
                )
        except ClientError as refusal:
            return code_of(refusal) == _UPSTREAM_LISTING
        return True

    def _has_manifests(self, repository: str, digests: Sequence[Digest]) -> bool:
        """Return whether ECR has all of these."""
        try:
            with translated("describe", repository, frozenset({_REPOSITORY_MISSING, _IMAGE_MISSING})):
                self._client.describe_images(
                    repositoryName=repository, imageIds=[{"imageDigest": digest} for digest in digests]
                )
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
