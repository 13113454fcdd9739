"""Every permission of template.yaml is needed, and every one that is needed is there; one more or one less is found."""

import pytest

from local.policies.evaluation import Statement
from tests.iam.judging import LEADING_KEYS, Case, Grant, calls_of, grants, refusals, refused, unused, without

ROLES = 9
"""As many functions with a role, and the state machine's."""


def all_grants(cases: list[Case]) -> list[Grant]:
    return sorted({grant for case in cases for grant in grants(case)})


def test_every_call_is_allowed(cases: list[Case]) -> None:
    found = [finding for case in cases for finding in refused(case)]
    assert found == [], found


def test_no_permission_is_unused(cases: list[Case]) -> None:
    assert unused(cases) == []


def test_every_role_was_recorded(cases: list[Case]) -> None:
    main = cases[0]
    assert {asked.role for asked in main.asked} == {statement.role for statement in main.statements}
    assert len({statement.role for statement in main.statements}) >= ROLES


def test_any_missing_permission_is_found(cases: list[Case]) -> None:
    quiet = [
        grant
        for grant in all_grants(cases)
        if not any(any(refusals(without(calls_of(case, grant), grant))) for case in cases)
    ]
    assert quiet == []
    assert len(all_grants(cases)) > 100


@pytest.mark.parametrize("action", ["s3:DeleteObject", "ecr:BatchDeleteImage", "sqs:ReceiveMessage", "sns:Publish"])
def test_any_unused_permission_is_found(cases: list[Case], action: str) -> None:
    main = cases[0]
    for role in sorted({statement.role for statement in main.statements}):
        added = Statement(role, "Added", "Allow", (action,), ("arn:aws:s3:::elsewhere/*",), {})
        assert unused([main._replace(statements=[*main.statements, added])]) != []


def test_unused_action_in_a_used_statement_is_found(cases: list[Case]) -> None:
    for number, statement in enumerate(cases[0].statements):
        more = statement._replace(actions=(*statement.actions, "ecr:DeleteRepository"))
        statements = [*cases[0].statements[:number], more, *cases[0].statements[number + 1 :]]
        found = unused([cases[0]._replace(statements=statements), cases[1]])
        assert found == [f"{statement.role}, {statement.sid}: ecr:DeleteRepository"]


def test_resource_that_is_added_or_taken_away_is_found(cases: list[Case]) -> None:
    main = cases[0]
    (number,) = (at for at, statement in enumerate(main.statements) if statement.sid == "RunItsStates")
    runs = main.statements[number]
    before, after = main.statements[:number], main.statements[number + 1 :]
    assert len(runs.resources) >= 4
    for resource in runs.resources:
        fewer = runs._replace(resources=tuple(each for each in runs.resources if each != resource))
        assert refused(main._replace(statements=[*before, fewer, *after])) == [
            f"{runs.role} may not lambda:InvokeFunction on {resource}"
        ]
    more = runs._replace(resources=(*runs.resources, "arn:aws:lambda:eu-west-1:123456789012:function:another"))
    assert unused([main._replace(statements=[*before, more, *after]), cases[1]]) == [
        f"{runs.role}, RunItsStates: {more.resources[-1]}"
    ]


def test_condition_that_does_not_hold_is_found(cases: list[Case]) -> None:
    for key, value in (("aws:ResourceAccount", "210987654321"), ("aws:RequestedRegion", "us-east-1")):
        conditions = {"StringEquals": {key: value}}
        statements = [
            each._replace(conditions=conditions) if each.sid == "PublishCached" else each
            for each in cases[0].statements
        ]
        assert any("may not ecr:PutImage" in finding for finding in refused(cases[0]._replace(statements=statements)))


def with_keys(statement: Statement, keys: list[str]) -> Statement:
    return statement._replace(conditions={"ForAllValues:StringLike": {LEADING_KEYS: keys}})


def test_item_key_that_is_added_or_taken_away_is_found(cases: list[Case]) -> None:
    main, found = cases[0], 0
    for number, statement in enumerate(main.statements):
        keys = statement.conditions.get("ForAllValues:StringLike", {}).get(LEADING_KEYS, [])
        for key in keys:
            fewer = with_keys(statement, [each for each in keys if each != key])
            assert refused(main._replace(statements=[*main.statements[:number], fewer, *main.statements[number + 1 :]]))
            found += 1
    assert found > 20
    added = [with_keys(each, ["mirror#*", "other#*"]) for each in main.statements if each.sid == "CheckForNewerRefresh"]
    found_unused = unused([main._replace(statements=added)])
    assert found_unused == ["PublishImageRole, CheckForNewerRefresh: dynamodb:BatchGetItem of other#*"]
