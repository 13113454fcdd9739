"""Writes the table of docs/security.md: what each function can do at most, by its role in template.yaml, if taken over.

Knows a phrase for each action; one without a phrase is an error, so that a new permission is thought about.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from local.policies import wording
from local.policies.roles import Owner, RoleStatement, owners

BEGIN: Final = "<!-- Written by `make policies` from template.yaml: begin -->"
END: Final = "<!-- end -->"

INPUT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ScheduleChecksFunction": "rules; names and tags of repositories",
        "CheckFreshnessFunction": "registries; events of ECR",
        "PlanCopyFunction": "registries: manifests",
        "CreateRepositoryFunction": "none",
        "CopyBlobsFunction": "registries: blobs",
        "VerifyImageFunction": "registries: manifests, signatures, certificates",
        "PublishImageFunction": "none: manifests whose digests are proved",
        "RecordOutcomeFunction": "texts of errors",
        "ReviewRecordsFunction": "texts of errors",
        "PruneTagsFunction": "names of tags",
        "ReceiveWebhookFunction": "the internet",
        "NoticePullsFunction": "names in pulls, from CloudTrail",
        "ShowMirrorsFunction": "those who open the dashboard",
    }
)
"""What comes from outside into each function."""

_CHANGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ecr:BatchDeleteImage": "deletes tags and manifests",
        "ecr:PutImage": "puts manifests and moves tags",
        "ecr:CreateRepository": "creates repositories",
        "ecr:SetRepositoryPolicy": "sets repository policies",
        "ecr:PutLifecyclePolicy": "sets lifecycle policies",
        "ecr:TagResource": "tags repositories",
        "ecr:InitiateLayerUpload": "uploads blobs, which no tag names",
        "dynamodb:PutItem": "writes items",
        "dynamodb:UpdateItem": "writes items",
        "dynamodb:DeleteItem": "deletes items",
        "s3:PutObject": "writes objects",
        "sqs:SendMessage": "sends messages",
        "sqs:DeleteMessage": "takes messages",
        "sns:Publish": "sends alerts",
        "ecr:StartImageScan": "starts scans",
        "events:PutEvents": "sends events",
        "states:StartExecution": "starts refreshes",
        "signer:SignPayload": "has ECR sign what it pushes",
    }
)
_READS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "secretsmanager:GetSecretValue": "secrets",
        "sts:AssumeRole": "what the roles allow",
        "ecr:DescribeImages": "tags and digests",
        "ecr:ListImages": "tags and digests",
        "ecr:DescribeRepositories": "repositories",
        "ecr:BatchCheckLayerAvailability": "which blobs there are",
        "ecr:GetDownloadUrlForLayer": "blobs",
        "ecr:BatchGetImage": "manifests",
        "ecr:DescribeImageScanFindings": "findings of scans",
        "ecr:ListImageReferrers": "referrers",
        "dynamodb:BatchGetItem": "items",
        "dynamodb:Query": "items",
        "dynamodb:Scan": "all items, but only `pk`, `record` and their places in the index",
        "s3:GetObject": "objects",
        "s3:ListBucket": "names of objects",
        "ssm:GetParameter": "parameters",
        "kms:GetPublicKey": "public keys",
        "states:DescribeExecution": "executions",
        "ecr:DescribePullThroughCacheRules": "pull through cache rules",
        "ecr:DescribeRepositoryCreationTemplates": "repository creation templates",
        "tag:GetResources": "resource tags",
    }
)
_REPOSITORIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ecr `repository/⟨TargetRepositories⟩`": "targets",
        "ecr `repository/⟨each of PullThroughCacheRepositories⟩`": "cached",
        "ecr `repository/*`": "any",
    }
)
_WITHOUT_EFFECT: Final = re.compile(
    r"logs:(CreateLogStream|PutLogEvents)|xray:\w+|ec2:\w+|kms:Decrypt|sqs:(GetQueueAttributes|ReceiveMessage)"
    r"|ecr:(GetAuthorizationToken|GetAccountSetting|CompleteLayerUpload|UploadLayerPart)"
)
"""Logs and traces of its own, what Lambda does for its network, and what goes with another action."""


class UnknownActionError(Exception):
    """A role allows an action that has no phrase here yet."""


def table(template: Mapping[str, Any]) -> str:
    """Write the table."""
    head = "| Function | From outside | Can change at most | Can read at most |\n| --- | --- | --- | --- |"
    functions = [owner for owner in owners(template) if owner.name.endswith("Function")]
    return "\n".join([head, *map(_row, functions)])


def with_table(text: str, template: Mapping[str, Any]) -> str:
    """Put the table into a page, between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(template)}\n\n{END}{after}"


def _row(owner: Owner) -> str:
    unknown = [
        action
        for statement in owner.statements
        for action in statement.actions
        if action not in _CHANGES and action not in _READS and not _WITHOUT_EFFECT.fullmatch(action)
    ]
    if unknown:
        raise UnknownActionError(f"{owner.name} may {', '.join(unknown)}")
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", owner.name.removesuffix("Function")).lower()
    cells = (f"`{name}`", INPUT[owner.name], _phrases(owner, _CHANGES), _phrases(owner, _READS))
    return f"| {' | '.join(cells)} |"


def _phrases(owner: Owner, phrases: Mapping[str, str]) -> str:
    """Say each phrase once, with all that it is about."""
    found: dict[str, list[str]] = {}
    for statement in owner.statements:
        for phrase in dict.fromkeys(phrases[action] for action in statement.actions if action in phrases):
            found.setdefault(phrase, []).extend(_named(statement))
    return "; ".join(_joined(phrase, list(dict.fromkeys(named))) for phrase, named in found.items()) or "nothing"


def _joined(phrase: str, named: Sequence[str]) -> str:
    return f"{phrase} ({', '.join(named)})" if named and "all items" not in phrase else phrase


def _named(statement: RoleStatement) -> Iterator[str]:
    keys = statement.body.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys")
    if keys is not None:
        yield from (f"`{key}`" for key in keys)
    elif statement.body["Resource"] != "*":
        yield _REPOSITORIES.get(words := wording.resources(statement.body["Resource"]), words)
