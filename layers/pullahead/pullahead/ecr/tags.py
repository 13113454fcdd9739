"""List and remove the tags of an ECR repository. Implements the ports of `pullahead.retention`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from pullahead.ecr.errors import translated
from pullahead.errors import RegistryError, ResponseTooLargeError, Side
from pullahead.oci import Digest, InvalidManifestError, media_types, parse_digest, parse_manifest
from pullahead.oci.manifest import sniff_media_type
from pullahead.retention.ports import Removal, Removed

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import (
        ImageFailureTypeDef,
        ImageIdentifierTypeDef,
        ListImageReferrersRequestTypeDef,
    )

_PAGE: Final = 1000
_MAX_PAGES: Final = 500  # a repository has at most 100,000 images (ECR quotas), most with one tag
_BATCH: Final = 100  # ECR API reference, BatchDeleteImage: at most 100 imageIds
_REFERRERS_PAGE: Final = 50  # ECR API reference, ListImageReferrers: at most
_MAX_REFERRERS_PAGES: Final = 20  # of one manifest
_MAX_REFERRERS, _MAX_DEPTH = 1000, 3  # as many as `refresh.referrers` copies with an image, and as deep
_MAX_CHILDREN: Final = 100  # of an index; others are left to the lifecycle policy
_REPOSITORY_MISSING: Final = "RepositoryNotFoundException"
_IMAGE_MISSING: Final = "ImageNotFoundException"
_NO_LISTING: Final = frozenset({"UnknownOperationException", "InvalidAction", _REPOSITORY_MISSING})
_GONE: Final = "ImageNotFound"  # a failure code: somebody else has removed it
_OF_INDEX: Final = "ImageReferencedByManifestList"  # another one: an index refers to it, and needs it


class EcrTags:
    """Implements `pullahead.retention.ports.TagLister` and `TagRemover` with one boto3 client. Thread-safe."""

    def __init__(self, client: "ECRClient", page: int = _PAGE) -> None:
        self._client, self._page = client, page

    def list_tags(self, repository: str) -> Mapping[str, Digest]:
        """Call ListImages, page by page."""
        found: dict[str, Digest] = {}
        pages = self._client.get_paginator("list_images").paginate(
            repositoryName=repository, filter={"tagStatus": "TAGGED"}, PaginationConfig={"PageSize": self._page}
        )
        try:
            with translated("list", repository, frozenset({_REPOSITORY_MISSING})):
                for number, page in enumerate(pages):
                    if number == _MAX_PAGES:
                        cause = f"more than {_MAX_PAGES} pages of tags"
                        raise ResponseTooLargeError(cause, operation="list", side=Side.TARGET, reference=repository)
                    found.update((each["imageTag"], parse_digest(each["imageDigest"])) for each in page["imageIds"])
        except ClientError:
            return {}
        return found

    def remove(self, repository: str, removal: Removal) -> Removed:
        """Call DescribeImages, for the tag may have moved, and BatchDeleteImage by tags.

        Not by tag and digest together: whether other tags of the digest stay then is not documented.
        """
        if self._served(repository, removal.tag) != removal.digest:
            return Removed()
        children: Sequence[Digest] = ()
        referrers: dict[Digest, Collection[Digest]] = {}
        if removal.with_manifest:
            named = self._children(repository, removal.digest)
            children = [each for each in named if each not in removal.tagged]
            spared = removal.tagged.union(named)
            referrers = {each: self._all_referrers(repository, each, spared) for each in (removal.digest, *children)}
        removed = self._delete(repository, tags=[removal.tag])
        if removal.tag not in removed.names:
            if removed.error is not None:
                raise removed.error
            return Removed()
        belonging = (*referrers.get(removal.digest, ()), *children)
        rest = self._delete(repository, removal.referring_tags, belonging)
        gone = tuple(each for each in children if each in rest.names)
        last = self._delete(repository, digests=[each for child in gone for each in referrers[child]])
        names = dict.fromkeys((*removed.names, *rest.names, *last.names))
        return Removed(tuple(names), gone, rest.error or last.error)

    def remove_tags(self, repository: str, tags: Sequence[str]) -> Removed:
        """Call BatchDeleteImage."""
        return self._delete(repository, tags)

    def _served(self, repository: str, tag: str) -> Digest | None:
        try:
            with translated("describe", repository, frozenset({_REPOSITORY_MISSING, _IMAGE_MISSING})):
                answer = self._client.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
        except ClientError:
            return None
        return next((parse_digest(image["imageDigest"]) for image in answer["imageDetails"]), None)

    def _all_referrers(self, repository: str, digest: Digest, tagged: Collection[Digest]) -> Collection[Digest]:
        """Find what refers to a manifest, and what refers to that; but what has a tag."""
        found: dict[Digest, None] = {}
        level = [digest]
        for _ in range(_MAX_DEPTH):
            referring = dict.fromkeys(each for one in level for each in self._referrers(repository, one))
            level = [each for each in referring if each not in tagged and each not in found and each != digest]
            level = level[: _MAX_REFERRERS - len(found)]
            found |= dict.fromkeys(level)
        return found

    def _referrers(self, repository: str, digest: Digest) -> Iterator[Digest]:
        """Call ListImageReferrers."""
        asked: ListImageReferrersRequestTypeDef = {
            "repositoryName": repository,
            "subjectId": {"imageDigest": digest},
            "maxResults": _REFERRERS_PAGE,
        }
        for _ in range(_MAX_REFERRERS_PAGES):
            try:
                with translated("list referrers", f"{repository}@{digest}", _NO_LISTING):
                    answer = self._client.list_image_referrers(**asked)
            except ClientError:
                return  # a partition without the API
            yield from (parse_digest(each["digest"]) for each in answer["referrers"])
            if not answer.get("nextToken"):
                return
            asked["nextToken"] = answer["nextToken"]

    def _children(self, repository: str, digest: Digest) -> Sequence[Digest]:
        """Call BatchGetImage, and read what an index refers to; nothing of what is no longer there."""
        reference = f"{repository}@{digest}"
        with translated("read", reference):
            answer = self._client.batch_get_image(
                repositoryName=repository,
                imageIds=[{"imageDigest": digest}],
                acceptedMediaTypes=sorted(media_types.INDEXES | media_types.MANIFESTS),
            )
        image = next(iter(answer.get("images", ())), None)
        if image is None:
            return ()
        content = image["imageManifest"].encode()
        try:
            media_type = image.get("imageManifestMediaType") or sniff_media_type(content)
            children = parse_manifest(content, media_type).children
        except InvalidManifestError:
            return ()
        return [each.digest for each in children[:_MAX_CHILDREN]]

    def _delete(self, repository: str, tags: Sequence[str] = (), digests: Sequence[Digest] = ()) -> Removed:
        """Return what was deleted, or was already gone, and the first error."""
        ids: list[ImageIdentifierTypeDef] = [{"imageTag": tag} for tag in tags]
        ids += [{"imageDigest": digest} for digest in digests]
        names: dict[str, None] = {}
        errors: list[RegistryError] = []
        for at in range(0, len(ids), _BATCH):
            try:
                with translated("delete", repository):
                    answer = self._client.batch_delete_image(repositoryName=repository, imageIds=ids[at : at + _BATCH])
            except RegistryError as error:
                errors.append(error)
                continue
            names |= dict.fromkeys(_name(each) for each in answer.get("imageIds", ()))
            failures = answer.get("failures", ())
            names |= dict.fromkeys(_name(each.get("imageId", {})) for each in failures if _code(each) == _GONE)
            refused = [each for each in failures if _code(each) not in (_GONE, _OF_INDEX)]
            if refused:
                first = refused[0]
                cause = f"{_name(first.get('imageId', {}))}: {_code(first)}, {first.get('failureReason')}"
                cause = f"{cause} ({len(refused)} of {len(ids)} failed)"
                errors.append(RegistryError(cause, operation="delete", side=Side.TARGET, reference=repository))
        return Removed(tuple(names), error=errors[0] if errors else None)


def _code(failure: "ImageFailureTypeDef") -> str:
    return failure.get("failureCode", "")


def _name(image: "ImageIdentifierTypeDef") -> str:
    return image.get("imageTag") or image.get("imageDigest", "")
