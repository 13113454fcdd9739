"""Change which images and tags a repository has, by ECR's rules. Independent of callers and events.

Callers hold `Registry.lock`, so that what is checked here is still so when it is written.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from local.ecr.errors import EcrError, layers_not_found
from local.ecr.identity import ACCOUNT_ID, MAX_TAGS_PER_IMAGE
from local.ecr.manifests import Manifest, is_digest
from local.ecr.repositories import Image, Layer, Repository


class ImageId(NamedTuple):
    """How images are named: by digest, by tag, or by both, which must then agree."""

    digest: str | None
    tag: str | None

    @classmethod
    def of(cls, identifier: Mapping[str, str]) -> "ImageId":
        """Read an ImageIdentifier of the API."""
        return cls(identifier.get("imageDigest"), identifier.get("imageTag"))

    def to_api(self) -> dict[str, str]:
        """Write an ImageIdentifier of the API."""
        named = {"imageDigest": self.digest, "imageTag": self.tag}
        return {name: value for name, value in named.items() if value is not None}


class ImageFailureError(Exception):
    """Why one of several images was not served: a failure code of the API, which is no exception there."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


def find_image(repository: Repository, wanted: ImageId) -> Image:
    """Give the image that an identifier names.

    Raises:
        ImageFailureError: MissingDigestAndTag, InvalidImageDigest, ImageNotFound, ImageTagDoesNotMatchDigest.
    """
    if not wanted.digest and not wanted.tag:
        raise ImageFailureError("MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null")
    if wanted.digest and not is_digest(wanted.digest):
        raise ImageFailureError("InvalidImageDigest", "Invalid request parameters: image digest should be sha256:<hex>")
    by_tag = repository.tags.get(wanted.tag) if wanted.tag else None
    digest = wanted.digest or by_tag
    if digest not in repository.images or (wanted.tag and by_tag is None):
        raise ImageFailureError("ImageNotFound", "Requested image not found")
    if wanted.tag and by_tag != digest:
        raise ImageFailureError("ImageTagDoesNotMatchDigest", "Requested tag does not point to the requested digest")
    return repository.images[digest]


def put_image(repository: Repository, manifest: Manifest, tag: str | None, claimed: str | None, now: datetime) -> Image:
    """Keep a manifest, and let its tag point to it; an image that loses its last tag this way stays, untagged.

    Raises:
        EcrError: ImageDigestDoesNotMatchException, ImageAlreadyExistsException, ImageTagAlreadyExistsException,
            LayersNotFoundException, ReferencedImagesNotFoundException, LimitExceededException.
    """
    if claimed is not None and claimed != manifest.digest:
        message = f"The manifest has the digest '{manifest.digest}', not '{claimed}'"
        raise EcrError("ImageDigestDoesNotMatchException", message)
    _check_news(repository, manifest.digest, tag)
    _check_references(repository, manifest)
    if manifest.digest not in repository.images:
        repository.images[manifest.digest] = Image(manifest, now, repository.next_sequence)
        repository.next_sequence += 1
        _name_layers(repository, manifest)
    if tag is not None:
        repository.tags[tag] = manifest.digest
    return repository.images[manifest.digest]


def delete_image(repository: Repository, wanted: ImageId) -> list[ImageId]:
    """Take away a tag, or by digest the image with all its tags; without its last tag an image goes too.

    Raises:
        ImageFailureError: as find_image, and ImageReferencedByManifestList.
    """
    digest = find_image(repository, wanted).digest
    tags = repository.tags_of(digest)
    goes = [wanted.tag] if wanted.tag else tags
    if len(goes) == len(tags):
        parents = repository.parents_of(digest)
        if parents:
            reason = f"Requested image referenced by manifest list: [{', '.join(parents)}]"
            raise ImageFailureError("ImageReferencedByManifestList", reason)
        del repository.images[digest]
        repository.pulled_at.pop(digest, None)
    for tag in goes:
        del repository.tags[tag]
    return [ImageId(digest, tag) for tag in goes] or [ImageId(digest, None)]


def _check_news(repository: Repository, digest: str, tag: str | None) -> None:
    held_by = repository.tags.get(tag) if tag is not None else None
    if held_by == digest or (tag is None and digest in repository.images):
        message = (
            f"Image with digest '{digest}' and tag '{tag}' already exists in the repository with name "
            f"'{repository.name}' in registry with id '{ACCOUNT_ID}'"
        )
        raise EcrError("ImageAlreadyExistsException", message)
    if tag is not None and held_by is not None and repository.mutability.is_immutable(tag):
        raise tag_is_immutable(repository.name, tag)
    if tag is not None and len(repository.tags_of(digest)) >= MAX_TAGS_PER_IMAGE:
        raise EcrError("LimitExceededException", f"An image may have at most {MAX_TAGS_PER_IMAGE} tags")


def tag_is_immutable(repository: str, tag: str) -> EcrError:
    """Refuse to move a tag."""
    message = (
        f"The image tag '{tag}' already exists in the '{repository}' repository and cannot be overwritten "
        "because the tag is immutable."
    )
    return EcrError("ImageTagAlreadyExistsException", message)


def _check_references(repository: Repository, manifest: Manifest) -> None:
    missing_layers = [blob.digest for blob in manifest.blobs if blob.digest not in repository.layers]
    if missing_layers:
        raise layers_not_found(repository.name, missing_layers)
    missing = [child.digest for child in manifest.children if child.digest not in repository.images]
    if missing:
        message = (
            f"Images with digests '[{', '.join(missing)}]' required for pushing image into repository with name "
            f"'{repository.name}' in the registry with id '{ACCOUNT_ID}' do not exist"
        )
        raise EcrError("ReferencedImagesNotFoundException", message)


def _name_layers(repository: Repository, manifest: Manifest) -> None:
    for blob in manifest.blobs:
        present = repository.layers[blob.digest]
        repository.layers[blob.digest] = Layer(present.size_bytes, blob.media_type or present.media_type)
