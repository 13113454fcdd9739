"""Another evaluator of IAM judges the same requests, and agrees: those that the functions make, and forbidden ones.

`make iam-simulate` runs it; without Node.js and `make iam-judge` it is skipped.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import pytest

from local.aws import ACCOUNT_ID, REGION
from local.policies.evaluation import AccessRequest, Statement, is_allowed
from tests.iam.judging import LEADING_KEYS, Case, grants, without
from tests.iam.second_opinion import is_installed, second_opinion

pytestmark = [
    pytest.mark.iam_judge,
    pytest.mark.skipif(not is_installed(), reason="needs Node.js, and `make iam-judge`"),
]

_TABLE: Final = f"arn:aws:dynamodb:{REGION}:{ACCOUNT_ID}:table/"
_TARGET: Final = f"arn:aws:ecr:{REGION}:{ACCOUNT_ID}:repository/mirror/app"


class Forbidden(NamedTuple):
    """What a function that was taken over may not do (docs/security.md), to what, and to items with which key."""

    role: str
    action: str
    resource: str
    key: str = ""


FORBIDDEN: Final = (
    *(
        Forbidden("ReceiveWebhookRole", action, _TABLE, key)
        for action in ("dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem")
        for key in (
            "mirror#mirror/app:1.0",
            "slot#a",
            "service#slot-counts",
            "service#pauses",
            "waiting#a",
            "incident#a",
        )
    ),
    Forbidden("ReceiveWebhookRole", "dynamodb:Scan", _TABLE),
    Forbidden("ReceiveWebhookRole", "ecr:PutImage", _TARGET),
    Forbidden("ReceiveWebhookRole", "secretsmanager:GetSecretValue", "secret:ecr-pullthroughcache/own-AbCdEf"),
    Forbidden("CopyBlobsRole", "s3:PutObject", "plans/refresh/plan.json"),
    Forbidden("CopyBlobsRole", "s3:PutObject", "rules/compiled.msgpack"),
    Forbidden("CopyBlobsRole", "ecr:PutImage", _TARGET),
    Forbidden("CopyBlobsRole", "dynamodb:PutItem", _TABLE, "mirror#mirror/app:1.0"),
    Forbidden("PlanCopyRole", "ecr:SetRepositoryPolicy", _TARGET),
    Forbidden("PlanCopyRole", "ecr:CreateRepository", _TARGET),
    Forbidden("PlanCopyRole", "ecr:PutImage", _TARGET),
    Forbidden("PlanCopyRole", "s3:PutObject", "rules/compiled.msgpack"),
    Forbidden("PublishImageRole", "s3:PutObject", "plans/refresh/plan.json"),
    Forbidden("PublishImageRole", "dynamodb:PutItem", _TABLE, "mirror#mirror/app:1.0"),
    Forbidden("PublishImageRole", "ecr:SetRepositoryPolicy", _TARGET),
    Forbidden("CreateRepositoryRole", "ecr:PutImage", _TARGET),
    Forbidden("CheckFreshnessRole", "ecr:PutImage", _TARGET),
    Forbidden("CheckFreshnessRole", "dynamodb:PutItem", _TABLE, "service#pauses"),
    Forbidden("CheckFreshnessRole", "dynamodb:PutItem", _TABLE, "incident#a"),
    Forbidden("RecordOutcomeRole", "dynamodb:PutItem", _TABLE, "slot#a"),
    Forbidden("ScheduleChecksRole", "dynamodb:UpdateItem", _TABLE, "mirror#mirror/app:1.0"),
    Forbidden("NoticePullsRole", "dynamodb:PutItem", _TABLE, "mirror#mirror/app:1.0"),
    Forbidden("ReviewRecordsRole", "dynamodb:PutItem", _TABLE, "slot#a"),
    Forbidden("ShowMirrorsRole", "dynamodb:PutItem", _TABLE, "mirror#mirror/app:1.0"),
    *(
        Forbidden(role, action, _TARGET)
        for role in ("CheckFreshnessRole", "PublishImageRole", "CopyBlobsRole", "CreateRepositoryRole")
        for action in ("ecr:DeleteRepository", "ecr:BatchDeleteImage")
    ),
)


def compared(statements: list[Statement], requests: list[AccessRequest]) -> Iterator[str]:
    """List where the judges do not agree, and what the second one refuses to judge."""
    for asked, verdict in zip(requests, second_opinion(statements, requests), strict=True):
        ours = is_allowed(statements, asked)
        if verdict.error or ours != verdict.allowed:
            words = verdict.error or ("allowed" if verdict.allowed else "refused")
            yield f"{asked}: {'allowed' if ours else 'refused'} by ours; by the second judge: {words}"


def test_judges_agree_about_keys_with_several_values_other_accounts_and_keys_of_kms() -> None:
    bus = f"arn:aws:events:{REGION}:{ACCOUNT_ID}:event-bus/default"
    ours = {"ForAllValues:StringEquals": {"events:source": "pullahead"}, "Null": {"events:source": "false"}}
    key, foreign = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/k", f"arn:aws:ecr:{REGION}:210987654321:repository/team/app"
    statements = [
        Statement("Role", "Events", "Allow", ("events:PutEvents",), (bus,), ours),
        Statement("Role", "Key", "Allow", ("kms:Decrypt",), (key,), {"StringLike": {"kms:ViaService": "dynamodb.*"}}),
        Statement("Role", "Foreign", "Allow", ("ecr:BatchGetImage",), (foreign,), {}),
    ]
    via = (("kms:viaservice", f"dynamodb.{REGION}.amazonaws.com"),)
    away = (("aws:resourceaccount", "210987654321"),)
    asked = {
        AccessRequest("Role", "events:PutEvents", bus, (("events:source", "pullahead"),)): True,
        AccessRequest("Role", "events:PutEvents", bus, (("events:source", "pullahead"), ("events:source", "x"))): False,
        AccessRequest("Role", "events:PutEvents", bus): False,
        AccessRequest("Role", "kms:Decrypt", key, via): True,
        AccessRequest("Role", "kms:Decrypt", key): False,
        AccessRequest("Role", "ecr:BatchGetImage", foreign, away): True,
        AccessRequest("Role", "ecr:GetDownloadUrlForLayer", foreign, away): False,
    }
    assert [is_allowed(statements, each) for each in asked] == list(asked.values())
    assert list(compared(statements, list(asked))) == []


def unique(requests: list[AccessRequest]) -> list[AccessRequest]:
    return list(dict.fromkeys(requests))


def forbidden_in(case: Case) -> list[AccessRequest]:
    """Make the forbidden requests about this stack's own table, bucket and repositories."""
    recorded = {asked.resource for asked in case.asked}
    table = next(each for each in sorted(recorded) if each.startswith(_TABLE) and "/index/" not in each)
    bucket = next(each.partition("/")[0] for each in sorted(recorded) if "/plans/" in each)
    places = {_TABLE: table}
    requests = []
    for each in FORBIDDEN:
        resource = places.get(each.resource, each.resource)
        if each.action == "s3:PutObject":
            resource = f"{bucket}/{each.resource}"
        elif each.action.startswith("secretsmanager:"):
            resource = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:{each.resource}"
        keys = ((LEADING_KEYS.lower(), each.key),) if each.key else ()
        context = (
            ("aws:securetransport", "true"),
            ("aws:requestedregion", REGION),
            ("aws:resourceaccount", ACCOUNT_ID),
        )
        requests.append(AccessRequest(each.role, each.action, resource, (*context, *keys)))
    return requests


def test_both_judges_allow_every_recorded_call(cases: list[Case]) -> None:
    for case in cases:
        requests = unique(case.asked)
        assert len(requests) > 50
        assert list(compared(case.statements, requests)) == []


def test_both_judges_refuse_what_a_function_that_was_taken_over_may_not_do(cases: list[Case]) -> None:
    main = cases[0]
    requests = forbidden_in(main)
    assert {asked.role for asked in requests} <= {statement.role for statement in main.statements}
    assert [asked for asked in requests if is_allowed(main.statements, asked)] == []
    assert list(compared(main.statements, requests)) == []


def test_both_judges_agree_where_a_permission_is_missing(cases: list[Case]) -> None:
    main = cases[0]
    statements, requests = list[Statement](), list[AccessRequest]()
    asked_by_role = {role: [each for each in unique(main.asked) if each.role == role] for role in roles(main)}
    for number, grant in enumerate(sorted(set(grants(main)))):
        alias = f"{grant.role}-{number}"  # the role without this permission
        fewer = without(main, grant).statements
        statements += [each._replace(role=alias) for each in fewer if each.role == grant.role]
        mine = [each for each in asked_by_role[grant.role] if each.action == grant.action]
        requests += [each._replace(role=alias) for each in mine[:3]]
    statements = [each for each in statements if each.actions]
    assert len(requests) > 100
    assert list(compared(statements, requests)) == []


def roles(case: Case) -> set[str]:
    return {statement.role for statement in case.statements}


def test_judges_that_disagree_are_found() -> None:
    one = Statement("Role", "One", "Allow", ("s3:GetObject",), ("arn:aws:s3:::bucket/*",), {})
    asked = AccessRequest("Role", "s3:GetObject", "arn:aws:s3:::bucket/key")
    assert list(compared([one], [asked])) == []
    assert second_opinion([], [asked])[0].allowed is False
    (finding,) = compared([one], [asked._replace(action="s3:GetNothing")])
    assert "by the second judge" in finding
