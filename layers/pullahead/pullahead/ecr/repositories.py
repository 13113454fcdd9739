"""Create a missing repository in ECR: by the rule's settings, else by a creation template, else with ECR's defaults.

ECR applies repository creation templates to the repositories that it creates itself, not to those of CreateRepository
(ECR User Guide, "Templates to control repositories created during a pull through cache, create on push, or replication
action"). A team that wrote one for a prefix wants it applied whoever creates the repository, so it is applied here.
Templates for replication alone are skipped.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from pullahead.ecr.errors import translated
from pullahead.errors import ConfigError, RegistryError
from pullahead.oci.registries import RepositorySettings

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_ecr.type_defs import RepositoryCreationTemplateTypeDef


_REPOSITORY_EXISTS = "RepositoryAlreadyExistsException"
_ROOT = "ROOT"  # ECR API reference, CreateRepositoryCreationTemplate, prefix: where no other template matches
_APPLIED_FOR = frozenset({"PULL_THROUGH_CACHE", "CREATE_ON_PUSH"})
_PAGE, _MAX_PAGES = 100, 10


class _Creation(NamedTuple):
    """The arguments of CreateRepository besides the name, and the policies, which are separate calls."""

    arguments: dict[str, Any]
    lifecycle_policy: str | None = None
    repository_policy: str | None = None


def create_repository(
    client: "ECRClient", repository: str, settings: RepositorySettings | None, expire_untagged_days: int = 0
) -> None:
    """Create a repository. One that was created meanwhile by another process is left as it is.

    Without a lifecycle policy of the rule or the template it gets one that expires untagged images: what a moved tag
    leaves would be stored forever. `expire_untagged_days` is the default; 0 puts none.

    Raises ConfigError where the repository was created without its policies: a retry finds it and leaves it as it is,
    so somebody has to act.
    """
    creation = _by_settings(settings) if settings is not None else _by_template(client, repository)
    if settings is not None and settings.expire_untagged_days is not None:
        expire_untagged_days = settings.expire_untagged_days
    if not creation.lifecycle_policy and expire_untagged_days:
        creation = creation._replace(lifecycle_policy=_expiring_untagged(expire_untagged_days))
    try:
        with translated("create", repository, frozenset({_REPOSITORY_EXISTS})):
            client.create_repository(repositoryName=repository, **creation.arguments)
    except ClientError:
        return  # another refresh has created it, and puts its policies
    try:
        _put_policies(client, repository, creation)
    except RegistryError as error:
        raise ConfigError(
            f"{error} The repository {repository} was created without it: put the policy by hand, or delete the "
            "repository, which is still empty, so that it is created again."
        ) from error


def _expiring_untagged(days: int) -> str:
    # ECR User Guide, "Lifecycle policy properties": sinceImagePulled counts from the push if nobody pulled. What an
    # index names does not expire before the index does.
    selection = {"tagStatus": "untagged", "countType": "sinceImagePulled", "countUnit": "days", "countNumber": days}
    description = f"Untagged images not pulled for {days} days (Pullahead)"
    rule = {"rulePriority": 1, "description": description, "selection": selection, "action": {"type": "expire"}}
    return json.dumps({"rules": [rule]})


def _put_policies(client: "ECRClient", repository: str, creation: _Creation) -> None:
    if creation.lifecycle_policy:
        with translated("put lifecycle policy", repository):
            client.put_lifecycle_policy(repositoryName=repository, lifecyclePolicyText=creation.lifecycle_policy)
    if creation.repository_policy:
        with translated("set repository policy", repository):
            client.set_repository_policy(repositoryName=repository, policyText=creation.repository_policy)


def _by_settings(settings: RepositorySettings) -> _Creation:
    filters = [{"filterType": "WILDCARD", "filter": wildcard} for wildcard in settings.mutable_tag_filters]
    mutability = "IMMUTABLE" if settings.immutable_tags else "MUTABLE"
    arguments: dict[str, Any] = {
        "tags": [{"Key": key, "Value": value} for key, value in settings.tags],
        "encryptionConfiguration": _encryption(settings.kms_key),
        "imageScanningConfiguration": {"scanOnPush": settings.scan_on_push},
        "imageTagMutability": f"{mutability}_WITH_EXCLUSION" if filters else mutability,
        "imageTagMutabilityExclusionFilters": filters,
    }
    return _Creation(_without_empty(arguments), settings.lifecycle_policy, settings.repository_policy)


def _encryption(kms_key: str | None) -> dict[str, str]:
    if kms_key is None:
        return {"encryptionType": "AES256"}
    return {"encryptionType": "KMS", **({"kmsKey": kms_key} if kms_key else {})}


def _by_template(client: "ECRClient", repository: str) -> _Creation:
    matching = [template for template in _templates(client) if _matches(template, repository)]
    if not matching:
        return _Creation({})
    template = max(matching, key=lambda each: (each["prefix"] != _ROOT, len(each["prefix"])))
    arguments: dict[str, Any] = {
        "tags": template.get("resourceTags"),
        "encryptionConfiguration": template.get("encryptionConfiguration"),
        "imageTagMutability": template.get("imageTagMutability"),
        "imageTagMutabilityExclusionFilters": template.get("imageTagMutabilityExclusionFilters"),
    }
    return _Creation(_without_empty(arguments), template.get("lifecyclePolicy"), template.get("repositoryPolicy"))


def _matches(template: "RepositoryCreationTemplateTypeDef", repository: str) -> bool:
    prefix = template["prefix"].rstrip("/")
    return (prefix == _ROOT or repository.startswith(f"{prefix}/")) and bool(
        _APPLIED_FOR.intersection(template.get("appliedFor", ()))
    )


def _templates(client: "ECRClient") -> Iterator["RepositoryCreationTemplateTypeDef"]:
    pages = client.get_paginator("describe_repository_creation_templates").paginate(
        PaginationConfig={"PageSize": _PAGE, "MaxItems": _PAGE * _MAX_PAGES}
    )
    with translated("describe repository creation templates", "the registry"):
        for page in pages:
            yield from page["repositoryCreationTemplates"]


def _without_empty(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value}
