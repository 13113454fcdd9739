"""Sources of rules in ECR: its pull through cache rules and what they cached, and repositories by resource tag.

Every listing is bounded. Resource tags are read by one paged request for each tag key, not for each repository.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pullahead.aws.errors import error_code, storage_errors
from pullahead.errors import StorageError
from pullahead.oci.reference import is_tag
from pullahead.rules.sources.findings import CacheRule, TaggedRepository

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_resourcegroupstaggingapi import ResourceGroupsTaggingAPIClient


_MAX_RULES = 50  # Amazon ECR service quotas: rules per registry, not adjustable
_PAGE = 1_000
_MAX_REPOSITORY_PAGES = 100  # Amazon ECR service quotas: 100,000 repositories
_MAX_TAG_PAGES = 10


class EcrCachedRepositories:
    """Implements `pullahead.rules.ports.CachedRepositories`."""

    def __init__(self, client: "ECRClient") -> None:
        self._client = client

    def cache_rules(self) -> tuple[CacheRule, ...]:
        """Describe the rules."""
        described = self._pages("describe_pull_through_cache_rules", "pullThroughCacheRules", _MAX_RULES, pages=2)
        return tuple(map(_cache_rule, described))

    def repository_names(self) -> tuple[str, ...]:
        """List the repositories."""
        found = self._pages("describe_repositories", "repositories", _PAGE, pages=_MAX_REPOSITORY_PAGES)
        return tuple(repository["repositoryName"] for repository in found)

    def tags_of(self, repository: str) -> tuple[str, ...]:
        """List a repository's tags."""
        try:
            images = self._pages(
                "list_images",
                "imageIds",
                _PAGE,
                pages=_MAX_TAG_PAGES,
                repositoryName=repository,
                filter={"tagStatus": "TAGGED"},
            )
        except StorageError as error:
            if error_code(error) == "RepositoryNotFoundException":
                return ()
            raise
        tags = {image["imageTag"] for image in images if "imageTag" in image}
        return tuple(sorted(filter(is_tag, tags)))

    def _pages(self, operation: str, member: str, size: int, *, pages: int, **asked: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        token: dict[str, str] = {}
        with storage_errors(operation, asked.get("repositoryName", "ECR")):
            for _ in range(pages):
                answer = getattr(self._client, operation)(maxResults=size, **asked, **token)
                found += answer.get(member, ())
                if not answer.get("nextToken"):
                    return found
                token = {"nextToken": answer["nextToken"]}
        raise StorageError(f"{operation} of {asked.get('repositoryName', 'ECR')} has more than {pages} pages")


def _cache_rule(described: dict[str, Any]) -> CacheRule:
    return CacheRule(
        prefix=_prefix(described["ecrRepositoryPrefix"]),
        registry_url=described["upstreamRegistryUrl"],
        upstream_prefix=_prefix(described.get("upstreamRepositoryPrefix", "")),
        credential=described.get("credentialArn") or None,
        role=described.get("customRoleArn") or None,
    )


def _prefix(text: str) -> str:
    return "" if text == "ROOT" else text.strip("/")


_TAGGED_PAGE = 100  # Resource Groups Tagging API reference, GetResources, ResourcesPerPage
_MAX_TAGGED_PAGES = 100


class EcrTaggedRepositories:
    """Implements `pullahead.rules.ports.TaggedRepositories`."""

    def __init__(self, client: "ResourceGroupsTaggingAPIClient") -> None:
        self._client = client

    def repositories_with(self, keys: Sequence[str]) -> tuple[TaggedRepository, ...]:
        """List the repositories. Tag filters are joined by AND, so each key needs a request of its own."""
        found: dict[str, TaggedRepository] = {}
        for key in keys:
            for repository in self._with(key):
                found[repository.name] = repository
        return tuple(found.values())

    def _with(self, key: str) -> list[TaggedRepository]:
        found: list[TaggedRepository] = []
        token = ""
        with storage_errors("listing", f"repositories tagged {key}"):
            for _ in range(_MAX_TAGGED_PAGES):
                answer = self._client.get_resources(
                    ResourceTypeFilters=["ecr:repository"],
                    TagFilters=[{"Key": key}],
                    ResourcesPerPage=_TAGGED_PAGE,
                    PaginationToken=token,
                )
                for resource in answer["ResourceTagMappingList"]:
                    name = resource["ResourceARN"].partition(":repository/")[2]
                    found.append(TaggedRepository(name, {tag["Key"]: tag["Value"] for tag in resource["Tags"]}))
                token = answer.get("PaginationToken", "")
                if not token:
                    return found
        raise StorageError(f"listing of repositories tagged {key} has more than {_MAX_TAGGED_PAGES} pages")
