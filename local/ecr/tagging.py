"""Let the Resource Groups Tagging API see the repositories of the strict ECR, which moto does not know.

GetResources for `ecr:repository` alone is answered here; every other question stays moto's.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import moto.resourcegroupstaggingapi.urls

from local.ecr.errors import EcrError
from local.ecr.identity import repository_arn
from local.ecr.paging import page_of
from local.ecr.repositories import Registry, Repository

_URL: Final = "{0}/$"
_TARGET: Final = "ResourceGroupsTaggingAPI_20170126.GetResources"
_TYPE: Final = "ecr:repository"
_DEFAULT_PAGE: Final = 50
_MAX_PAGE: Final = 100  # Resource Groups Tagging API reference, GetResources, ResourcesPerPage

_stock: Final[Any] = moto.resourcegroupstaggingapi.urls.url_paths[_URL]


def install_tagging(registry: Registry) -> None:
    """Answer for the repositories of a registry. Call it before the server app is made."""

    def tagging(request: Any, url: str, headers: Mapping[str, str]) -> Any:
        asked = _asked(request, headers)
        if asked is None or asked.get("ResourceTypeFilters") != [_TYPE]:
            return _stock(request, url, headers)
        try:
            status, content = 200, get_resources(registry, asked)
        except EcrError as error:
            status, content = error.status, {"__type": error.code, "message": error.message}
        return status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(content)

    moto.resourcegroupstaggingapi.urls.url_paths[_URL] = tagging


def get_resources(registry: Registry, asked: Mapping[str, Any]) -> dict[str, Any]:
    """GetResources: repositories that have or had tags, and fit every filter."""
    size = asked.get("ResourcesPerPage", _DEFAULT_PAGE)
    if not 1 <= size <= _MAX_PAGE:
        raise EcrError("InvalidParameterException", f"ResourcesPerPage must be between 1 and {_MAX_PAGE}")
    filters = asked.get("TagFilters", [])
    fitting = [each for each in registry if each.resource_tags and all(_fits(each, tag) for tag in filters)]
    page = page_of(fitting, lambda repository: repository.name, size, asked.get("PaginationToken") or None)
    return {
        "ResourceTagMappingList": [_described(repository) for repository in page.items],
        "PaginationToken": page.token.get("nextToken", ""),
    }


def _asked(request: Any, headers: Mapping[str, str]) -> dict[str, Any] | None:
    names = {name.lower(): value for name, value in headers.items()}
    if names.get("x-amz-target") != _TARGET:
        return None
    asked: dict[str, Any] = json.loads(request.get_data() or b"{}")
    return asked


def _fits(repository: Repository, wanted: Mapping[str, Any]) -> bool:
    tags = repository.resource_tags
    return wanted["Key"] in tags and (not wanted.get("Values") or tags[wanted["Key"]] in wanted["Values"])


def _described(repository: Repository) -> dict[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in repository.resource_tags.items()]
    return {"ResourceARN": repository_arn(repository.name), "Tags": tags}
