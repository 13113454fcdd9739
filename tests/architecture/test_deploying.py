"""What an operator sees: explained parameters, a complete samconfig.toml, policies within the limits of IAM."""

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from local.deploy.template import load_template
from local.deploy.translate import without_sub
from local.policies.deploying import LIMITS, size
from local.stacks.intrinsics import resolve
from local.stacks.settled import settle
from pullahead import __version__
from tests.architecture.sam_template import Template, listed, named, real_template, statements
from tests.architecture.source import ROOT

LONGEST_NAME = 64
"""Of a role or a function, in characters; CloudFormation cuts longer ones."""
SHORTEST_DESCRIPTION = 20
KEY = "arn:aws:kms:eu-west-1:123456789012:key/12345678-1234-1234-1234-123456789012"
LONGEST_APPLICATION_DESCRIPTION = 256
MOST_LABELS = 10
BY_AWS = re.compile(r"ec2:.*|kms:Decrypt")
"""Called by Lambda to attach functions to the VPC, and by DynamoDB and Secrets Manager: not from within it."""


def template() -> dict[str, Any]:
    return load_template(ROOT / "template.yaml")


def parameter_findings(parameters: dict[str, Any], groups: list[dict[str, Any]], readme: str) -> Iterator[str]:
    """Find parameters that a stranger would not understand, not find, or find in another order."""
    table = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", readme, re.MULTILINE)
    if [name for name, _ in table] != list(parameters):
        yield f"README's table is {[name for name, _ in table]}, and the template has {list(parameters)}"
    grouped = [name for group in groups for name in group["Parameters"]]
    if sorted(grouped) != sorted(parameters):
        yield f"the console's groups and the parameters differ by {set(grouped) ^ parameters.keys()}"
    for name, default in table:
        declared = str(parameters.get(name, {}).get("Default", ""))
        if default not in (f"`{declared}`", "none" if declared == "" else "the prefixes that AWS proposes"):
            yield f"README says that {name} is {default} by default, and it is {declared!r}"
    for name, parameter in parameters.items():
        text = parameter.get("Description", "")
        if len(text) < SHORTEST_DESCRIPTION or not text.endswith("."):
            yield f"{name}: {text!r} is no description"
        if "Default" not in parameter:
            yield f"{name}: has no default, so that a first deployment asks for it"


def findings(changed: dict[str, Any] | None = None, readme: str | None = None) -> list[str]:
    source = changed or template()
    groups = source["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    text = readme or (ROOT / "README.md").read_text(encoding="utf-8")
    return list(parameter_findings(source["Parameters"], groups, text))


def test_every_parameter_is_explained_and_in_readme_in_the_same_order() -> None:
    assert findings() == []


def test_undocumented_parameter_is_found() -> None:
    changed = template()
    changed["Parameters"]["Forgotten"] = {"Type": "String"}
    assert len(findings(changed)) == 4
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(findings(readme=readme.replace("| `14400` |", "| `14401` |"))) == 1


def test_samconfig_answers_every_question_of_sam() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))["default"]
    deploy = {**config["global"]["parameters"], **config["deploy"]["parameters"]}
    assert deploy["resolve_s3"] is True
    assert deploy["stack_name"] == "pullahead"
    assert "CAPABILITY_IAM" in deploy["capabilities"]
    assert deploy["parameter_overrides"] == []


def test_samconfig_names_parameters_that_exist() -> None:
    text = (ROOT / "samconfig.toml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\"'](\w+)=", text))
    assert named
    assert named <= template()["Parameters"].keys()


def test_metadata_of_the_application_repository_is_what_sam_publish_takes() -> None:
    """SAM Developer Guide, "AWS SAM template Metadata section properties"."""
    application = template()["Metadata"]["AWS::ServerlessRepo::Application"]
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,140}", application["Name"])
    assert re.fullmatch(r"[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?", application["Author"])
    assert len(application["Description"]) <= LONGEST_APPLICATION_DESCRIPTION
    assert len(application["Labels"]) <= MOST_LABELS
    assert application["SemanticVersion"] == __version__
    assert "Apache License" in (ROOT / application["LicenseUrl"]).read_text(encoding="utf-8")
    assert (ROOT / application["ReadmeUrl"]).is_file()


def public_findings(source: Template) -> Iterator[str]:
    """Find functions that are public otherwise than by a URL, and URLs without one of both permissions."""
    narrow = {
        "lambda:InvokeFunctionUrl": ("FunctionUrlAuthType", "NONE"),
        "lambda:InvokeFunction": ("InvokedViaFunctionUrl", True),
    }
    public: dict[str, set[str]] = {}
    for name, permission in source.resources("AWS::Lambda::Permission").items():
        if permission["Principal"] != "*":
            continue
        key, wanted = narrow[permission["Action"]]
        if permission.get(key) != wanted:
            yield f"{name}: lets everybody in, by more than the URL"
        public.setdefault(str(permission["FunctionName"]), set()).add(permission["Action"])
    for name, url in source.resources("AWS::Lambda::Url").items():
        if public.get(str(url["TargetFunctionArn"])) != narrow.keys():
            yield f"{name}: without both permissions its callers are refused"
    for name, function in source.resources("AWS::Serverless::Function").items():
        if "FunctionUrlConfig" in function:
            yield f"{name}: `sam deploy --guided` asks about FunctionUrlConfig, and takes Enter for no"


def test_url_has_both_permissions_and_they_open_nothing_else() -> None:
    assert list(public_findings(real_template())) == []


@pytest.mark.parametrize(
    ("resource", "lost"),
    [
        ("ReceiveWebhookFunctionUrlPublicPermissions", "FunctionUrlAuthType"),
        ("ReceiveWebhookFunctionURLInvokeAllowPublicAccess", "InvokedViaFunctionUrl"),
        ("ReceiveWebhookFunctionUrlPublicPermissions", None),
    ],
)
def test_missing_or_too_wide_permission_is_found(resource: str, lost: str | None) -> None:
    broken = real_template()
    if lost is None:
        del broken.document["Resources"][resource]
    else:
        del broken.document["Resources"][resource]["Properties"][lost]
    assert len(list(public_findings(broken))) == 1


class LongestNames:
    """Physical names and ARNs as long as they can be."""

    def look_up(self, name: str, attribute: str | None) -> str:
        longest = name.ljust(LONGEST_NAME, "x")
        return longest if attribute is None else f"arn:aws:states:ap-southeast-1:123456789012:stateMachine:{longest}"

    def holds(self, condition: str) -> bool:
        raise AssertionError(condition)

    def mapped(self, mapping: str, first: str, second: str) -> str:
        raise AssertionError((mapping, first, second))


@pytest.mark.parametrize(
    ("key", "encryption"),
    [("", {"SSEEnabled": False}), (KEY, {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY})],
)
def test_table_of_records_is_encrypted_with_dynamodbs_own_key_unless_one_is_given(
    key: str, encryption: dict[str, object]
) -> None:
    settled = settle(without_sub(template()), {"RecordsKeyArn": key}, "pullahead", "arn:aws:cloudformation:::stack/a")
    table = settled.resources["RecordsTable"].properties
    assert resolve(table["SSESpecification"], LongestNames()) == encryption


def endpoints_needed(source: Template) -> set[str]:
    """Name the VPC endpoints of all services that functions in a VPC call, or that Lambda calls for them from there."""
    functions = source.resources("AWS::Serverless::Function")
    roles = {named(function["Role"]) for function in functions.values() if "VpcConfig" in function}
    services = {
        action.partition(":")[0]
        for name, role in source.resources("AWS::IAM::Role").items()
        if name in roles
        for policy in role["Policies"]
        for statement in statements(policy["PolicyDocument"])
        for action in listed(statement["Action"])
        if not BY_AWS.fullmatch(action)
    }
    called = services | ({"ecr.api", "ecr.dkr"} if "ecr" in services else set())
    return called - {"ecr"}


def test_every_vpc_endpoint_that_is_needed_is_named_and_no_other() -> None:
    needed = endpoints_needed(real_template())
    assert {"ecr.api", "ecr.dkr", "s3", "sts"} <= needed
    text = template()["Parameters"]["VpcSubnetIds"]["Description"]
    assert (
        set(re.findall(r"[a-z0-9.]+", text.partition("VPC endpoints")[2].partition(", to AWS")[0])) - {"and"} == needed
    )
    page = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+?) \|", page.partition("| Endpoint (")[2].partition("\n## ")[0], re.MULTILINE)
    assert {endpoint for row in rows for endpoint in re.findall(r"`(.+?)`", row)} == needed


def test_endpoint_of_a_service_that_is_called_anew_is_needed() -> None:
    changed = real_template()
    policy = changed.document["Resources"]["PlanCopyRole"]["Properties"]["Policies"][0]["PolicyDocument"]
    policy["Statement"].append({"Sid": "More", "Effect": "Allow", "Action": ["ssm:GetParameter"], "Resource": "*"})
    assert endpoints_needed(changed) == endpoints_needed(real_template()) | {"ssm"}


def test_inline_policies_of_every_role_are_within_the_limit_of_iam() -> None:
    """With everything turned on that a parameter can turn on."""
    on = {
        "Webhooks": "on",
        "WebhookSecret": "pullahead/webhooks",
        "OnDemandPrefix": "mirror/hub/",
        "RulesUri": "s3://a-bucket/rules.yaml",
        "UpstreamSecrets": ",".join(
            f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:team-{n}-??????" for n in range(10)
        ),
        "UpstreamSecretsKeyArn": KEY,
        "RecordsKeyArn": KEY,
        "UpstreamRoles": ",".join(f"arn:aws:iam::12345678901{n}:role/pullahead-upstream" for n in range(10)),
        "SigningProfiles": ",".join(
            f"arn:aws:signer:eu-west-1:123456789012:/signing-profiles/pullahead_{n}" for n in range(10)
        ),
        "UpstreamRepositories": "an-upstream/repositories/*",
        "VpcSubnetIds": "subnet-1,subnet-2",
        "VpcSecurityGroupIds": "sg-1",
    }
    (limit,) = (each for each in LIMITS if each.kind == "inline policies of a role")
    settled = settle(without_sub(template()), on, "pullahead", "arn:aws:cloudformation:eu-west-1:123456789012:stack/a")
    roles = {name: each.properties for name, each in settled.resources.items() if each.kind == "AWS::IAM::Role"}
    assert len(roles) == len(real_template().resources("AWS::IAM::Role"))
    for name, role in roles.items():
        written = resolve(role["Policies"], LongestNames())
        assert sum(size(each["PolicyDocument"]) for each in written) <= limit.characters, name
