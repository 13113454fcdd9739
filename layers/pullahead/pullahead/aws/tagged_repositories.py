"""ECR repositories by their resource tags: one paged question for each tag instead of one for each repository."""

from collections.abc import Sequence
from typing import Any, Protocol

from pullahead.aws.storage_errors import storage_errors
from pullahead.errors import StorageError
from pullahead.rules.sources.findings import TaggedRepository

_PAGE = 100  # Resource Groups Tagging API reference, GetResources, ResourcesPerPage
_MAX_PAGES = 100


class TaggingClient(Protocol):
    """What is asked of boto3's client."""

    def get_resources(self, **asked: Any) -> dict[str, Any]:
        """List resources by their tags."""
        ...


class TaggedRepositories:
    """Satisfies `pullahead.ports.FindsTagged`."""

    def __init__(self, client: TaggingClient) -> None:
        self._client = client

    def repositories_with(self, keys: Sequence[str]) -> tuple[TaggedRepository, ...]:
        """List the repositories. Tag filters are joined by AND, so each key is a question of its own."""
        found: dict[str, TaggedRepository] = {}
        for key in keys:
            for repository in self._with(key):
                found[repository.name] = repository
        return tuple(found.values())

    def _with(self, key: str) -> list[TaggedRepository]:
        found: list[TaggedRepository] = []
        token = ""
        with storage_errors("listing", f"repositories tagged {key}"):
            for _ in range(_MAX_PAGES):
                answer = self._client.get_resources(
                    ResourceTypeFilters=["ecr:repository"],
                    TagFilters=[{"Key": key}],
                    ResourcesPerPage=_PAGE,
                    PaginationToken=token,
                )
                for resource in answer["ResourceTagMappingList"]:
                    name = resource["ResourceARN"].partition(":repository/")[2]
                    found.append(TaggedRepository(name, {tag["Key"]: tag["Value"] for tag in resource["Tags"]}))
                token = answer.get("PaginationToken", "")
                if not token:
                    return found
        raise StorageError(f"listing of repositories tagged {key} goes on after {_MAX_PAGES} pages")
