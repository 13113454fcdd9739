"""The operations of the ECR API on repositories, their settings, tags and policies, and GetAuthorizationToken.

Policies are kept and given back as they came: nothing acts on them here.
"""

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from local.ecr.errors import EcrError, invalid_parameter, repository_not_found
from local.ecr.identity import ACCOUNT_ID, DEFAULT_PAGE, MAX_RESOURCE_TAGS, REGION, repository_arn
from local.ecr.paging import page_of
from local.ecr.repositories import Mutability, Registry, Repository
from local.ecr.tokens import Tokens
from local.ecr.uploads import Uploads

Parameters = Mapping[str, Any]
Answer = dict[str, Any]

_POLICY, _LIFECYCLE = "policyText", "lifecyclePolicyText"


class RepositoryOperations:
    """What the API does with repositories."""

    def __init__(
        self,
        registry: Registry,
        uploads: Uploads,
        tokens: Tokens,
        public_url: Callable[[], str],
        now: Callable[[], datetime],
        region: str = REGION,
    ) -> None:
        self._registry = registry
        self._uploads = uploads
        self._tokens = tokens
        self._public_url = public_url
        self._now = now
        self._region = region

    def table(self) -> dict[str, Callable[[Parameters], Answer]]:
        """List the operations by their names in the API."""
        return {
            "CreateRepository": self.create,
            "DescribeRepositories": self.describe,
            "DeleteRepository": self.delete,
            "PutImageTagMutability": self.put_mutability,
            "PutImageScanningConfiguration": self.put_scanning,
            "TagResource": self.tag,
            "UntagResource": self.untag,
            "ListTagsForResource": self.list_tags,
            "GetAuthorizationToken": self.authorize,
            "SetRepositoryPolicy": lambda p: self._put_document(p, _POLICY),
            "GetRepositoryPolicy": lambda p: self._get_document(p, _POLICY),
            "DeleteRepositoryPolicy": lambda p: self._delete_document(p, _POLICY),
            "PutLifecyclePolicy": lambda p: self._put_document(p, _LIFECYCLE),
            "GetLifecyclePolicy": lambda p: self._get_document(p, _LIFECYCLE),
            "DeleteLifecyclePolicy": lambda p: self._delete_document(p, _LIFECYCLE),
        }

    def create(self, p: Parameters) -> Answer:
        """CreateRepository."""
        repository = Repository(
            name=p["repositoryName"],
            created_at=self._now(),
            mutability=_mutability(p),
            scan_on_push=p.get("imageScanningConfiguration", {}).get("scanOnPush", False),
            encryption=_encryption(p.get("encryptionConfiguration", {})),
            resource_tags=_with_tags({}, p.get("tags", [])),
        )
        self._registry.add(repository)
        return {"repository": self._described(repository)}

    def describe(self, p: Parameters) -> Answer:
        """DescribeRepositories."""
        names = p.get("repositoryNames")
        if names is None:
            found: list[Repository] = list(self._registry)
        elif "maxResults" in p or "nextToken" in p:
            raise invalid_parameter("maxResults and nextToken cannot be used with repositoryNames")
        else:
            found = [self._registry.get(name, p.get("registryId")) for name in names]
        page = page_of(found, lambda r: r.name, p.get("maxResults", DEFAULT_PAGE), p.get("nextToken"))
        return {"repositories": [self._described(repository) for repository in page.items], **page.token}

    def delete(self, p: Parameters) -> Answer:
        """DeleteRepository."""
        with self._registry.lock:
            repository = self._get(p)
            if repository.images and not p.get("force", False):
                message = f"The repository with name '{repository.name}' in registry with id '{ACCOUNT_ID}'"
                raise EcrError("RepositoryNotEmptyException", f"{message} cannot be deleted: it still contains images")
            self._registry.remove(repository.name)
        self._uploads.forget(repository.name)
        return {"repository": self._described(repository)}

    def put_mutability(self, p: Parameters) -> Answer:
        """PutImageTagMutability."""
        with self._registry.lock:
            repository = self._get(p)
            repository.mutability = _mutability(p)
            return _named(repository) | _mutability_members(repository)

    def put_scanning(self, p: Parameters) -> Answer:
        """PutImageScanningConfiguration."""
        with self._registry.lock:
            repository = self._get(p)
            repository.scan_on_push = p["imageScanningConfiguration"].get("scanOnPush", False)
            return _named(repository) | {"imageScanningConfiguration": {"scanOnPush": repository.scan_on_push}}

    def tag(self, p: Parameters) -> Answer:
        """TagResource."""
        with self._registry.lock:
            repository = self._by_arn(p["resourceArn"])
            repository.resource_tags = _with_tags(repository.resource_tags, p["tags"])
        return {}

    def untag(self, p: Parameters) -> Answer:
        """UntagResource."""
        with self._registry.lock:
            tags = self._by_arn(p["resourceArn"]).resource_tags
            for key in p["tagKeys"]:
                tags.pop(key, None)
        return {}

    def list_tags(self, p: Parameters) -> Answer:
        """ListTagsForResource."""
        tags = self._by_arn(p["resourceArn"]).resource_tags
        return {"tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def authorize(self, _p: Parameters) -> Answer:
        """GetAuthorizationToken. The registryIds that AWS deprecated change nothing: there is one registry."""
        password = self._tokens.issue_password()
        token = base64.b64encode(f"AWS:{password.text}".encode()).decode()
        expires = password.expires_at.timestamp()
        data = {"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": self._public_url()}
        return {"authorizationData": [data]}

    def _get(self, p: Parameters) -> Repository:
        return self._registry.get(p["repositoryName"], p.get("registryId"))

    def _by_arn(self, arn: str) -> Repository:
        name = arn.partition(":repository/")[2]
        if not name or arn != repository_arn(name, self._region):
            raise repository_not_found(name or arn)
        return self._registry.get(name)

    def _described(self, repository: Repository) -> Answer:
        return {
            "repositoryArn": repository_arn(repository.name, self._region),
            **_named(repository),
            "repositoryUri": f"{urlsplit(self._public_url()).netloc}/{repository.name}",
            "createdAt": repository.created_at.timestamp(),
            **_mutability_members(repository),
            "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
            "encryptionConfiguration": dict(repository.encryption),
        }

    def _put_document(self, p: Parameters, kind: str) -> Answer:
        with self._registry.lock:
            repository = self._get(p)
            repository.documents[kind] = p[kind]
            return _named(repository) | {kind: p[kind]}

    def _get_document(self, p: Parameters, kind: str) -> Answer:
        repository = self._get(p)
        if kind not in repository.documents:
            raise _no_document(repository.name, kind)
        return _named(repository) | {kind: repository.documents[kind]}

    def _delete_document(self, p: Parameters, kind: str) -> Answer:
        with self._registry.lock:
            answer = self._get_document(p, kind)
            del self._get(p).documents[kind]
            return answer


def _no_document(name: str, kind: str) -> EcrError:
    code = "RepositoryPolicyNotFoundException" if kind == _POLICY else "LifecyclePolicyNotFoundException"
    return EcrError(code, f"The repository with name '{name}' in registry with id '{ACCOUNT_ID}' has no such policy")


def _named(repository: Repository) -> Answer:
    return {"registryId": ACCOUNT_ID, "repositoryName": repository.name}


def _mutability(p: Parameters) -> Mutability:
    mode = p.get("imageTagMutability", "MUTABLE")
    exclusions = tuple(each["filter"] for each in p.get("imageTagMutabilityExclusionFilters", []))
    if mode.endswith("_WITH_EXCLUSION") != bool(exclusions):
        raise invalid_parameter(f"imageTagMutabilityExclusionFilters do not go with imageTagMutability '{mode}'")
    return Mutability(mode, exclusions)


def _mutability_members(repository: Repository) -> Answer:
    mutability = repository.mutability
    members: Answer = {"imageTagMutability": mutability.mode}
    if mutability.exclusions:
        filters = [{"filterType": "WILDCARD", "filter": wildcard} for wildcard in mutability.exclusions]
        members["imageTagMutabilityExclusionFilters"] = filters
    return members


def _encryption(asked: Mapping[str, str]) -> dict[str, str]:
    kind = asked.get("encryptionType", "AES256")
    if kind == "AES256" and "kmsKey" in asked:
        raise invalid_parameter("A kmsKey does not go with encryptionType 'AES256'")
    return {**asked, "encryptionType": kind}


def _with_tags(existing: Mapping[str, str], added: list[dict[str, str]]) -> dict[str, str]:
    if len({tag["Key"] for tag in added}) < len(added):
        raise EcrError("InvalidTagParameterException", "Tag keys must be unique")
    tags = dict(existing) | {tag["Key"]: tag["Value"] for tag in added}
    if len(tags) > MAX_RESOURCE_TAGS:
        raise EcrError("TooManyTagsException", f"A repository may have at most {MAX_RESOURCE_TAGS} tags")
    return tags
