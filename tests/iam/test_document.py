"""docs/policies.md says what template.yaml says; the policies to copy are whole, and name actions that exist."""

import json
import re
from typing import Any

import pytest

from local.deploy.template import load_template
from local.policies import wording
from local.policies.__main__ import PAGE, main
from local.policies.deploying import LIMITS, TYPES, deploy_policies, size
from local.policies.evaluation import AccessRequest, is_allowed, statements_of
from local.policies.page import page
from tests.architecture.permission_rules import action_findings
from tests.architecture.sam_template import Template, real_template, statements
from tests.architecture.source import ROOT

ACCOUNT = "123456789012"
PERMISSION_ONLY = frozenset(
    {
        *(
            "ecr:BatchImportUpstreamImage",
            "iam:PassRole",
            "s3:GetLifecycleConfiguration",
            "s3:GetBucketPublicAccessBlock",
        ),
        *("s3:GetEncryptionConfiguration", "s3:PutBucketPublicAccessBlock", "s3:PutEncryptionConfiguration"),
        *("s3:PutLifecycleConfiguration",),
    }
)
"""Actions that are no operation of the API: Service Authorization Reference."""


def template() -> dict[str, Any]:
    return load_template(ROOT / "template.yaml")


def copied() -> list[dict[str, Any]]:
    """The policies of the document but the trust policy, in order: who pulls mirrors, who pulls through the cache, a
    role in another account, who deploys, in two."""
    return [each for each in blocks() if "Principal" not in each["Statement"][0]]


def blocks() -> list[dict[str, Any]]:
    found = re.findall(r"```json\n(.+?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [json.loads(block) for block in found]


def may(policy: dict[str, Any], action: str, resource: str) -> bool:
    return is_allowed(statements_of("Reader", policy), AccessRequest("Reader", action, resource))


def test_document_matches_the_template() -> None:
    assert main(["--check"]) == 0, "run `make policies`"


def test_stale_document_is_found() -> None:
    changed = template()
    changed["Resources"]["PublishImageRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"].append(
        {"Sid": "AndMore", "Effect": "Allow", "Action": ["ecr:DeleteRepository"], "Resource": "*"}
    )
    text = page(changed, "- Sid: AndMore # for this test\n")
    assert "| And more: for this test | `ecr:DeleteRepository` | `*` |  | code |" in text
    assert text != PAGE.read_text(encoding="utf-8")


def test_every_role_and_every_statement_is_listed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    roles = real_template().resources("AWS::IAM::Role")
    assert all(f"Role `{role}`." in text for role in roles)
    rows = [line for line in text.splitlines() if line.startswith("| ") and line.count(" | ") == 4]
    in_roles = sum(len(each["Policies"][0]["PolicyDocument"]["Statement"]) for each in roles.values())
    assert len(rows) == in_roles + 2 * len(roles)  # and two lines at the head of each table


@pytest.mark.parametrize("number", range(5))
def test_policies_to_copy_name_actions_that_exist_on_resources_that_are_named(number: int) -> None:
    policy = copied()[number]
    assert policy["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(sids) == len(set(sids))
    for statement in policy["Statement"]:
        assert re.fullmatch("[A-Za-z0-9]+", statement["Sid"])
        assert statement["Sid"] in ("LogIn", "WithoutResourcesToName") or "*" not in statement["Resource"]
    role = {"Type": "AWS::IAM::Role", "Properties": {"Policies": [{"PolicyDocument": policy}]}}
    unknown = {finding.rpartition(" ")[2] for finding in action_findings(Template({"Resources": {"Copied": role}}))}
    assert unknown <= PERMISSION_ONLY


def test_mirrors_may_be_pulled_and_not_changed() -> None:
    policy = copied()[0]
    mirror = f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/mirror/alpine"
    for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability"):
        assert may(policy, f"ecr:{action}", mirror)
        assert not may(policy, f"ecr:{action}", mirror.replace("mirror/", "other/"))
    assert may(policy, "ecr:GetAuthorizationToken", "*")
    assert not may(policy, "ecr:PutImage", mirror)
    assert not may(policy, "ecr:BatchImportUpstreamImage", mirror)


def test_a_pull_through_the_cache_may_import_and_make_the_repository() -> None:
    policy = copied()[1]
    cached = f"arn:aws:ecr:eu-west-1:{ACCOUNT}:repository/docker-hub/library/alpine"
    for action in ("BatchImportUpstreamImage", "CreateRepository", "BatchGetImage", "GetDownloadUrlForLayer"):
        assert may(policy, f"ecr:{action}", cached)
    assert not may(policy, "ecr:PutImage", cached)


def test_role_in_another_account_may_be_assumed_by_the_functions_that_pull_and_may_only_pull() -> None:
    policy = copied()[2]
    upstream = "arn:aws:ecr:eu-west-1:210987654321:repository/team/app"
    (trust,) = (each for each in blocks() if each not in copied())
    (trusted,) = trust["Statement"]
    roles = [name.rpartition("/pullahead-")[2] for name in trusted["Condition"]["ArnLike"]["aws:PrincipalArn"]]
    pulling = [
        name
        for name, role in real_template().resources("AWS::IAM::Role").items()
        if "AssumeUpstreamRoles" in json.dumps(role)
    ]
    assert sorted(roles) == sorted(f"{name}-*" for name in pulling)
    granted = {
        action
        for name in pulling
        for each in statements(real_template().resources("AWS::IAM::Role")[name]["Policies"][0]["PolicyDocument"])
        if each["Sid"] in ("PullFromOwnAccount", "LogInToOwnAccount")
        for action in each["Action"]
    }
    assert all(may(policy, action, "*" if action == "ecr:GetAuthorizationToken" else upstream) for action in granted)
    assert len(granted) == 5
    assert not may(policy, "ecr:PutImage", upstream)


def test_every_resource_type_has_its_actions_in_the_deploy_policies() -> None:
    policies, types = copied()[3:], {made["Type"] for made in template()["Resources"].values()}
    assert types - TYPES.keys() == set()
    assert TYPES.keys() - types == set(), "types that the template no longer has"

    def either_allows(action: str, resource: str) -> bool:
        return any(may(policy, action, resource) for policy in policies)

    for kind in types:
        for action in TYPES[kind].actions:
            assert all(either_allows(action, each.rstrip("*")) for each in TYPES[kind].resources), (kind, action)
        assert all(either_allows(action, "*") for action in TYPES[kind].everywhere)


def test_resource_type_without_a_description_is_an_error() -> None:
    with pytest.raises(KeyError):
        deploy_policies(["AWS::EC2::Instance"])


def test_size_is_counted_without_white_space() -> None:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]}
    assert size(policy) == len(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
    )


def test_policies_to_copy_fit_the_size_limits_in_the_document() -> None:
    """With names of 40 characters in place of ours, too."""
    longer = [json.loads(json.dumps(each).replace("pullahead", "a" * 40)) for each in copied()]
    managed, role, _, user = (limit.characters for limit in LIMITS)
    assert (managed, role, user) == (6_144, 10_240, 2_048)
    assert all(size(each) <= user for each in longer[:3])
    assert all(size(each) <= managed for each in longer[3:])
    assert sum(map(size, longer[3:])) <= role


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ({"Ref": "Topic"}, "`Topic`"),
        ([{"Fn::GetAtt": ["Queue", "Arn"]}, "*"], "`Queue`; `*`"),
        ({"Fn::Sub": "${Bucket.Arn}/plans/*"}, "`⟨Bucket⟩/plans/*`"),
        (
            {"Fn::Sub": "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/${A}"},
            "ecr `repository/⟨A⟩`",
        ),
        ({"Fn::If": ["HasVpc", {"Ref": "A"}, "*"]}, "`A` where `VpcSubnetIds` are given, else `*`"),
    ],
)
def test_resources_are_described(resource: Any, words: str) -> None:
    assert wording.resources(resource) == words


def test_resource_without_a_description_is_an_error() -> None:
    with pytest.raises(wording.UnknownWordingError):
        wording.resources({"Fn::ImportValue": "elsewhere"})
    with pytest.raises(wording.UnknownWordingError):
        wording.conditions({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})
