"""How a repository that is missing is made in ECR: as the rule says, else as a creation template says, else plainly.

ECR applies its repository creation templates to repositories that it makes itself, never to those made by
CreateRepository (ECR User Guide, "Templates to control repositories created during a pull through cache, create on
push, or replication action"). A team that wrote one for a prefix wants it kept whoever makes the repository, so it is
read here and followed. Templates that are for replication alone are passed over: nothing is replicated here.
"""

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
_ROOT = "ROOT"  # ECR API reference, CreateRepositoryCreationTemplate, prefix: for all that no other template is for
_WANTED_FOR = frozenset({"PULL_THROUGH_CACHE", "CREATE_ON_PUSH"})
_PAGE, _MAX_PAGES = 100, 10


class _Making(NamedTuple):
    """The arguments of CreateRepository beside the name, and the policies, which it does not take."""

    arguments: dict[str, Any]
    lifecycle_policy: str | None = None
    repository_policy: str | None = None


def create_repository(client: "ECRClient", repository: str, settings: RepositorySettings | None) -> None:
    """Create a repository. One that was made by somebody else meanwhile is left as they made it.

    Raises ConfigError where the repository was made and its policies could not be put: the next try would find it there
    and leave it alone, so a human must know.
    """
    making = _by_settings(settings) if settings is not None else _by_template(client, repository)
    try:
        with translated("create", repository, frozenset({_REPOSITORY_EXISTS})):
            client.create_repository(repositoryName=repository, **making.arguments)
    except ClientError:
        return  # by another refresh, which gives it its policies too
    try:
        _put_policies(client, repository, making)
    except RegistryError as error:
        raise ConfigError(
            f"{error} The repository {repository} was made without it: put the policy by hand, or delete the "
            "repository, which is still empty, so that it is made anew."
        ) from error


def _put_policies(client: "ECRClient", repository: str, making: _Making) -> None:
    if making.lifecycle_policy:
        with translated("put lifecycle policy", repository):
            client.put_lifecycle_policy(repositoryName=repository, lifecyclePolicyText=making.lifecycle_policy)
    if making.repository_policy:
        with translated("set repository policy", repository):
            client.set_repository_policy(repositoryName=repository, policyText=making.repository_policy)


def _by_settings(settings: RepositorySettings) -> _Making:
    filters = [{"filterType": "WILDCARD", "filter": wildcard} for wildcard in settings.mutable_tag_filters]
    mutability = "IMMUTABLE" if settings.immutable_tags else "MUTABLE"
    arguments: dict[str, Any] = {
        "tags": [{"Key": key, "Value": value} for key, value in settings.tags],
        "encryptionConfiguration": _encryption(settings.kms_key),
        "imageScanningConfiguration": {"scanOnPush": settings.scan_on_push},
        "imageTagMutability": f"{mutability}_WITH_EXCLUSION" if filters else mutability,
        "imageTagMutabilityExclusionFilters": filters,
    }
    return _Making(_without_empty(arguments), settings.lifecycle_policy, settings.repository_policy)


def _encryption(kms_key: str | None) -> dict[str, str]:
    if kms_key is None:
        return {"encryptionType": "AES256"}
    return {"encryptionType": "KMS", **({"kmsKey": kms_key} if kms_key else {})}


def _by_template(client: "ECRClient", repository: str) -> _Making:
    fitting = [template for template in _templates(client) if _is_for(template, repository)]
    if not fitting:
        return _Making({})
    template = max(fitting, key=lambda each: (each["prefix"] != _ROOT, len(each["prefix"])))
    arguments: dict[str, Any] = {
        "tags": template.get("resourceTags"),
        "encryptionConfiguration": template.get("encryptionConfiguration"),
        "imageTagMutability": template.get("imageTagMutability"),
        "imageTagMutabilityExclusionFilters": template.get("imageTagMutabilityExclusionFilters"),
    }
    return _Making(_without_empty(arguments), template.get("lifecyclePolicy"), template.get("repositoryPolicy"))


def _is_for(template: "RepositoryCreationTemplateTypeDef", repository: str) -> bool:
    prefix = template["prefix"].rstrip("/")
    return (prefix == _ROOT or repository.startswith(f"{prefix}/")) and bool(
        _WANTED_FOR.intersection(template.get("appliedFor", ()))
    )


def _templates(client: "ECRClient") -> Iterator["RepositoryCreationTemplateTypeDef"]:
    pages = client.get_paginator("describe_repository_creation_templates").paginate(
        PaginationConfig={"PageSize": _PAGE, "MaxItems": _PAGE * _MAX_PAGES}
    )
    with translated("describe repository creation templates", "this registry"):
        for page in pages:
            yield from page["repositoryCreationTemplates"]


def _without_empty(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value}
