"""List and remove the tags of an ECR repository. Implements the ports of `pullahead.retention`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from pullahead.ecr.errors import translated
from pullahead.errors import RegistryError, ResponseTooLargeError, Side
from pullahead.oci import Digest, parse_digest
from pullahead.retention.ports import Removal

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import ImageIdentifierTypeDef, ListImageReferrersRequestTypeDef

_PAGE: Final = 1000
_MAX_PAGES: Final = 500  # a repository has at most 100,000 images (ECR quotas), most with one tag
_BATCH: Final = 100  # ECR API reference, BatchDeleteImage: at most 100 imageIds
_REFERRERS_PAGE: Final = 50  # ECR API reference, ListImageReferrers: at most
_MAX_REFERRERS_PAGES: Final = 20  # of one manifest
_MAX_REFERRERS, _MAX_DEPTH = 1000, 3  # as many as `refresh.referrers` copies with an image, and as deep
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

    def remove(self, repository: str, removal: Removal) -> Sequence[str]:
        """Call DescribeImages, for the tag may have moved, and BatchDeleteImage by tags.

        Not by tag and digest together: whether other tags of the digest stay then is not documented.
        """
        if self._served(repository, removal.tag) != removal.digest:
            return ()
        ids: list[ImageIdentifierTypeDef] = [{"imageTag": tag} for tag in (removal.tag, *removal.referring_tags)]
        if removal.with_referrers:
            found = self._all_referrers(repository, removal.digest, removal.tagged)
            ids += [{"imageDigest": digest} for digest in found]
        removed: dict[str, None] = {}
        for at in range(0, len(ids), _BATCH):
            removed |= dict.fromkeys(self._delete(repository, ids[at : at + _BATCH]))
            if removal.tag not in removed:
                return ()
        return tuple(removed)

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

    def _delete(self, repository: str, ids: "Sequence[ImageIdentifierTypeDef]") -> Iterator[str]:
        """Return what was deleted, or was already gone."""
        with translated("delete", repository):
            answer = self._client.batch_delete_image(repositoryName=repository, imageIds=ids)
        yield from (_name(each) for each in answer.get("imageIds", ()))
        refused = list[str]()
        for each in answer.get("failures", ()):
            if each.get("failureCode") == _GONE:
                yield _name(each.get("imageId", {}))
            elif each.get("failureCode") != _OF_INDEX:
                refused.append(
                    f"{_name(each.get('imageId', {}))}: {each.get('failureCode')}, {each.get('failureReason')}"
                )
        if refused:
            cause = f"{refused[0]} ({len(refused)} of {len(ids)} failed)"
            raise RegistryError(cause, operation="delete", side=Side.TARGET, reference=repository)


def _name(image: "ImageIdentifierTypeDef") -> str:
    return image.get("imageTag") or image.get("imageDigest", "")
