"""Facts about the roles of the stack, judged by IAM as they are deployed."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from tests.live.fact import Finding, Section
from tests.live.site import Site

SECTION: Final = Section("Permissions")

_LOG_SECONDS: Final = 120
_DENIED: Final = ("AccessDenied", "not authorized to perform")
_LOCAL: Final = ("local/aws/policy_simulation.py", "local/policies/evaluation.py")
_OTHER: Final = "somebody-elses/app"
_OTHER_REGION: Final = "ap-southeast-2"


class _Call(NamedTuple):
    role: str
    action: str
    resource: str
    keys: tuple[str, ...] = ()  # of items of the table


def _repository(site: Site, name: str) -> str:
    return site.account.arn("ecr", f"repository/{name}")


def _object(site: Site, key: str, bucket: str = "") -> str:
    """Name an object in the stack's bucket of plans, or in another one."""
    name = f"{bucket or site.stack.outputs['PlansBucketName']}/{key}"
    return site.account.arn("s3", name, regional=False, owned=False)


def _simulated(site: Site, call: _Call) -> str:
    iam, account = site.account.client("iam"), site.account
    values = {
        "aws:ResourceAccount": account.id,
        "aws:RequestedRegion": account.region,
        "aws:SecureTransport": "true",
    }
    context: list[Any] = [
        {"ContextKeyName": name, "ContextKeyType": "string", "ContextKeyValues": [value]}
        for name, value in values.items()
    ]
    if call.keys:
        keys = {"ContextKeyName": "dynamodb:LeadingKeys", "ContextKeyType": "stringList"}
        context.append({**keys, "ContextKeyValues": list(call.keys)})
    (result,) = iam.simulate_principal_policy(
        PolicySourceArn=site.stack.role_arn(account, call.role),
        ActionNames=[call.action],
        ResourceArns=[call.resource],
        ContextEntries=context,
    )["EvaluationResults"]
    return str(result["EvalDecision"])


def _needed(site: Site) -> Iterator[_Call]:
    """List calls without which nothing works, in each kind of repository."""
    for name in (site.run.repository("app"), f"{site.run.cache_prefix}/app"):
        target = _repository(site, name)
        yield _Call("CheckFreshnessRole", "ecr:DescribeImages", target)
        yield _Call("CreateRepositoryRole", "ecr:CreateRepository", target)
        yield _Call("CreateRepositoryRole", "ecr:PutLifecyclePolicy", target)
        yield _Call("CopyBlobsRole", "ecr:UploadLayerPart", target)
        yield _Call("CopyBlobsRole", "ecr:GetDownloadUrlForLayer", target)
        yield _Call("PublishImageRole", "ecr:PutImage", target)
    elsewhere = _repository(site, site.run.repository("app")).replace(f":{site.account.region}:", f":{_OTHER_REGION}:")
    yield _Call("CheckFreshnessRole", "ecr:ListImages", elsewhere)
    yield _Call("PlanCopyRole", "ecr:BatchGetImage", elsewhere)
    yield _Call("CopyBlobsRole", "ecr:GetDownloadUrlForLayer", elsewhere)
    yield _Call("CopyBlobsRole", "ecr:GetAuthorizationToken", "*")
    yield _Call("PlanCopyRole", "ecr:GetAccountSetting", "*")
    yield _Call("ScheduleChecksRole", "ecr:DescribePullThroughCacheRules", "*")
    yield _Call("ScheduleChecksRole", "s3:PutObject", _object(site, "rules/state.json"))
    yield _Call("PublishImageRole", "s3:GetObject", _object(site, "plans/one/plan.json"))
    yield _Call("CopyBlobsRole", "s3:PutObject", _object(site, "plans/one/units/000.json"))
    for role, action, *keys in (
        ("CheckFreshnessRole", "PutItem", "mirror#mirror/app:1.0"),
        ("CheckFreshnessRole", "UpdateItem", "service#slot-counts"),
        ("CheckFreshnessRole", "BatchGetItem", "mirror#mirror/app:1.0", "mirror#mirror/app:2.0"),
        ("RecordOutcomeRole", "PutItem", "mirror#mirror/app:1.0"),
    ):
        yield _Call(role, f"dynamodb:{action}", _table(site), tuple(keys))


def _table(site: Site) -> str:
    return site.account.arn("dynamodb", f"table/{site.stack.outputs['RecordsTableName']}")


def _not_needed(site: Site) -> Iterator[_Call]:
    own, other = _repository(site, site.run.repository("app")), _repository(site, _OTHER)
    for role, action in (
        ("PublishImageRole", "ecr:PutImage"),
        ("CopyBlobsRole", "ecr:UploadLayerPart"),
        ("CreateRepositoryRole", "ecr:CreateRepository"),
        ("CheckFreshnessRole", "ecr:DescribeImages"),
        ("PlanCopyRole", "ecr:BatchGetImage"),
    ):
        yield _Call(role, action, other)
    for role in ("CheckFreshnessRole", "PlanCopyRole", "CopyBlobsRole", "RecordOutcomeRole", "ScheduleChecksRole"):
        yield _Call(role, "ecr:PutImage", own)  # only publish_image moves tags
    for role in ("PublishImageRole", "PlanCopyRole"):
        yield _Call(role, "ecr:BatchDeleteImage", own)
    for action in ("ecr:CreateRepository", "ecr:SetRepositoryPolicy", "ecr:PutLifecyclePolicy"):
        yield _Call("PlanCopyRole", action, own)  # what reads upstreams' bytes sets no policy
    yield _Call("PublishImageRole", "s3:PutObject", _object(site, "plans/one/plan.json"))
    yield _Call("CopyBlobsRole", "s3:PutObject", _object(site, "plans/one/plan.json"))
    for role, action, *keys in (
        ("CheckFreshnessRole", "PutItem", "service#pauses"),
        ("CheckFreshnessRole", "BatchGetItem", "mirror#mirror/app:1.0", "incident#one"),
        ("RecordOutcomeRole", "PutItem", "slot#one"),
        ("PublishImageRole", "BatchGetItem", "seen#one"),
    ):
        yield _Call(role, f"dynamodb:{action}", _table(site), tuple(keys))
    yield _Call("CopyBlobsRole", "s3:GetObject", _object(site, "plans/one", bucket="somebody-elses"))


def _judged(site: Site, calls: Iterator[_Call], *, allowed: bool) -> Finding:
    decided = [(call, _simulated(site, call)) for call in calls]
    wrong = [
        f"{call.role}: {call.action} {decision}" for call, decision in decided if (decision == "allowed") != allowed
    ]
    word = "allowed" if allowed else "refused"
    return Finding(not wrong, f"{len(decided)} calls {word}" if not wrong else "; ".join(wrong)[:300])


@SECTION.fact(
    "IAM allows each role what its function does, in target and in cached repositories, and in upstreams of the "
    "account in other Regions; the ARNs and conditions that CloudFormation made of the parameters mean what they are "
    "meant to.",
    source="IAM User Guide, Policy evaluation logic",
    relied_on_by=("template.yaml",),
    emulated_in=_LOCAL,
    needs_stack=True,
)
def roles_allow_their_calls(site: Site) -> Finding:
    return _judged(site, _needed(site), allowed=True)


@SECTION.fact(
    "IAM refuses the roles other repositories, buckets, objects and items, and calls that are another function's.",
    source="IAM User Guide, Policy evaluation logic, and Multivalued context keys",
    relied_on_by=("template.yaml",),
    emulated_in=_LOCAL,
    needs_stack=True,
)
def roles_refuse_other_resources(site: Site) -> Finding:
    return _judged(site, _not_needed(site), allowed=False)


@SECTION.fact(
    "No function was refused a call in all of this run.",
    source="Service Authorization Reference: which actions a call needs",
    relied_on_by=("template.yaml",),
    emulated_in=("local/aws/api_actions.py",),
    needs_stack=True,
)
def roles_suffice(site: Site) -> Finding:
    groups = [each for name, each in sorted(site.stack.resources.items()) if name.endswith("LogGroup")]
    lines = [line for group in groups for line in _lines(site, group)]
    refused = [line for line in lines if any(words in line for words in _DENIED)]
    seen = f"{len(lines)} lines in {len(groups)} log groups"
    return Finding(
        bool(lines) and not refused, seen if not refused else f"{len(refused)} of {seen}: {refused[0][:200]}"
    )


def _lines(site: Site, group: str) -> Iterator[str]:
    logs = site.account.client("logs")
    try:
        for page in logs.get_paginator("filter_log_events").paginate(
            logGroupName=group, PaginationConfig={"MaxItems": 5_000}
        ):
            yield from (event["message"] for event in page["events"])
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
