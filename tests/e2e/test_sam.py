"""The commands of README by the real SAM CLI, into the local AWS; each is judged by what runs afterwards."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from botocore.exceptions import ClientError

from local.aws.recorded_calls import access_key_of
from local.aws.server import LocalAws
from local.deploy.template import load_template
from local.images import make_image
from local.policies.deploying import deploy_policies
from local.registry import FakeRegistry
from tests.architecture.source import ROOT
from tests.e2e.sam_project import ENTER_ALONE, SAM, DeployedStack, Printed, SamProject, local_environment
from tests.fakes.webhooks import SECRET

pytestmark = [
    pytest.mark.sam,
    pytest.mark.timeout(1200),  # a command of sam takes ten seconds, and several times that on a busy machine
    pytest.mark.skipif(not SAM.exists(), reason="the SAM CLI is not in .venv-sam (make setup)"),
]

APP, TOOL = make_image(seed=1), make_image(seed=2)
STACK = "pullahead"
DEPLOYER = "deployer"
"""Whose calls are those of `sam`, as its access key is theirs alone."""
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
WEBHOOK_SECRET = "e2e/webhooks"


class Site(NamedTuple):
    """A local AWS into which README's first two commands have deployed, and an upstream that the rules name."""

    aws: LocalAws
    upstream: FakeRegistry
    project: SamProject
    first_deploy: Printed

    @property
    def stack(self) -> DeployedStack:
        return DeployedStack(self.aws, STACK)


def rules(upstream: FakeRegistry, *repositories: str) -> str:
    entries = "".join(
        f'  - upstream: {upstream.host}/team/{name}\n    tags: ["1.0"]\n    repository: mirror/{name}\n'
        for name in repositories
    )
    return f'version: 1\nupstreams: {{"{upstream.host}": {{plain_http: true}}}}\nmirrors:\n{entries}'


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("sam")
    with LocalAws(folder / "aws", wait_scale=0.01) as aws, FakeRegistry() as upstream:
        upstream.push(APP, "team/app", "1.0")
        upstream.push(TOOL, "team/tool", "1.0")
        aws.client("secretsmanager").create_secret(Name=WEBHOOK_SECRET, SecretString=SECRET)
        credentials = {"AWS_ACCESS_KEY_ID": access_key_of(DEPLOYER)}
        project = SamProject.cloned(folder / "clone", {**local_environment(aws, folder / "home"), **credentials})
        project.write_rules(rules(upstream, "app"))
        built = project.build()
        assert built.status == 0, built.text
        yield Site(aws, upstream, project, project.deploy())
        called = {call.action for call in aws.recorded_calls if call.role == DEPLOYER}
        assert {"cloudformation:ExecuteChangeSet", "s3:PutObject"} <= called
        assert sorted(called - allowed_to_deployers()) == []


def allowed_to_deployers() -> set[str]:
    """The actions of the policies in docs/policies.md for those who deploy."""
    types = {each["Type"] for each in load_template(ROOT / "template.yaml")["Resources"].values()}
    return {
        action
        for policy in deploy_policies(types)
        for statement in policy["Statement"]
        for action in statement["Action"]
    }


@pytest.fixture
def project(site: Site, tmp_path: Path) -> SamProject:
    """The clone from which the stack was deployed; each test may edit its own."""
    return site.project.copied(tmp_path / "clone")


@pytest.fixture(scope="module")
def once_packaged(site: Site, tmp_path_factory: pytest.TempPathFactory) -> SamProject:
    return site.project.packaged(tmp_path_factory.mktemp("packaged") / "project")


@pytest.fixture
def packaged(once_packaged: SamProject, tmp_path: Path) -> SamProject:
    """The same as `project`, ready to be deployed with other parameters; each test may set its own."""
    return once_packaged.copied(tmp_path / "packaged")


@pytest.fixture(scope="module")
def edited(site: Site, tmp_path_factory: pytest.TempPathFactory) -> SamProject:
    """The clone with one more mirror in its rules, built again."""
    project = site.project.copied(tmp_path_factory.mktemp("edited") / "clone")
    project.write_rules(rules(site.upstream, "app", "tool"))
    succeeded(project.build())
    return project


def succeeded(printed: Printed) -> Printed:
    assert printed.status == 0, printed.text
    return printed


def call_webhook(url: str, host: str) -> int:
    target = {"repository": "team/app", "tag": "1.0", "digest": APP.digest, "mediaType": OCI_MANIFEST}
    body = json.dumps({"events": [{"action": "push", "target": target, "request": {"host": host}}]})
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
    return requests.post(f"{url}distribution", data=body, headers=headers, timeout=30).status_code


def test_first_deployment_asks_nothing_and_mirrors_what_the_rules_name(site: Site) -> None:
    assert "[y/N]" not in succeeded(site.first_deploy).text
    assert "Successfully created/updated stack - pullahead in eu-west-1" in site.first_deploy.text
    site.stack.check_all()
    assert site.stack.digest("mirror/app", "1.0") == APP.digest
    assert "WebhookUrl" not in site.stack.outputs()


def test_second_build_and_deploy_of_the_same_changes_nothing(site: Site, project: SamProject) -> None:
    """Before the tests that change the stack."""
    before = site.stack.resources()
    succeeded(project.build())
    again = succeeded(project.deploy())
    assert "No changes to deploy. Stack pullahead is up to date" in again.text
    assert site.stack.resources() == before


def test_confirmation_is_the_one_question_and_enter_means_no(site: Site, packaged: SamProject) -> None:
    before = retention(site)
    packaged.set_parameters(LogRetentionDays="7")
    refused = succeeded(packaged.sam("deploy", "--confirm-changeset", typed="\n"))
    assert re.findall(r"^.*\[[yYnN/]+\].*", refused.text, re.MULTILINE) == ["Deploy this changeset? [y/N]: "]
    assert refused.changes()
    assert retention(site) == before != 7
    succeeded(packaged.sam("deploy", "--confirm-changeset", typed="y\n"))
    assert retention(site) == 7


def retention(site: Site) -> int:
    name = site.stack.resources()["ScheduleChecksLogGroup"]
    (group,) = site.aws.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return int(group["retentionInDays"])


def test_changed_rule_is_followed_after_the_next_build_and_deploy(site: Site, edited: SamProject) -> None:
    before = site.stack.resources()
    changed = succeeded(edited.deploy())
    after = site.stack.resources()
    site.stack.check_all()
    assert site.stack.digest("mirror/tool", "1.0") == TOOL.digest
    layers = {name: (before.get(name), after.get(name)) for name in before.keys() | after.keys() if "Layer" in name}
    changed_layers = {name for name, (old, new) in layers.items() if old != new}
    assert {name[: len("RulesLayer")] for name in changed_layers} == {"RulesLayer"}  # and not the code's
    functions = {name for name, action in changed.changes().items() if action == "* Modify"}
    assert all(before[name] == after[name] for name in functions & before.keys())


def test_url_of_webhooks_is_kept_while_other_things_change(
    site: Site, packaged: SamProject, edited: SamProject, tmp_path: Path
) -> None:
    site.stack.check_all()
    on = ("Webhooks=on", f"WebhookSecret={WEBHOOK_SECRET}")
    succeeded(packaged.deploy("--parameter-overrides", *on))
    url = site.stack.outputs()["WebhookUrl"]
    assert call_webhook(url, site.upstream.host) == 202
    succeeded(packaged.deploy())  # Webhooks is not given, and keeps its value
    assert site.stack.outputs()["WebhookUrl"] == url

    before = site.stack.resources()
    others = edited.copied(tmp_path / "edited")
    others.set_parameters(Webhooks="on", WebhookSecret=WEBHOOK_SECRET, LogRetentionDays="14", CopyMemorySize="2048")
    succeeded(others.deploy())
    assert {name for name in site.stack.resources().keys() - before.keys() if name.startswith("RulesLayer")}
    assert site.stack.outputs()["WebhookUrl"] == url
    assert call_webhook(url, site.upstream.host) == 202

    packaged.set_parameters(Webhooks="off", WebhookSecret="", LogRetentionDays="30", CopyMemorySize="1024")
    succeeded(packaged.deploy())
    assert "WebhookUrl" not in site.stack.outputs()
    assert requests.get(url, timeout=30).status_code == 404


def test_webhooks_without_a_secret_are_refused_before_anything_changes(site: Site, packaged: SamProject) -> None:
    before = site.stack.resources()
    refused = packaged.deploy("--parameter-overrides", "Webhooks=on", 'WebhookSecret=""')
    assert refused.status != 0
    assert "WebhookSecret is required if Webhooks is on" in refused.text
    assert site.stack.resources() == before


def test_no_cached_repository_is_touched_where_the_parameter_says_none(site: Site, packaged: SamProject) -> None:
    packaged.set_parameters(PullThroughCacheRepositories="none")
    succeeded(packaged.deploy())
    function = site.stack.resources()["ScheduleChecksFunction"]
    variables = site.aws.client("lambda").get_function_configuration(FunctionName=function)["Environment"]["Variables"]
    assert variables["PULL_THROUGH_CACHE_REPOSITORIES"] == ""
    role = site.stack.resources()["PublishImageRole"]
    iam = site.aws.client("iam")
    allowed = str(iam.get_role_policy(RoleName=role, PolicyName="publish_image")["PolicyDocument"])
    assert "PublishCached" not in allowed
    assert "repository/mirror/*" in allowed
    site.stack.check_all()
    assert site.stack.digest("mirror/app", "1.0") == APP.digest


def test_guided_answered_by_enter_alone_deploys_and_delete_leaves_nothing_running(
    site: Site, packaged: SamProject
) -> None:
    own, tracked = packaged.copy_samconfig(), (packaged.folder / "samconfig.toml").read_text(encoding="utf-8")
    guided = succeeded(packaged.sam("deploy", "--guided", "--stack-name", "first-try", typed=ENTER_ALONE))
    assert "has no authentication" not in guided.text
    stack = DeployedStack(site.aws, "first-try")
    assert stack.status() == "CREATE_COMPLETE"
    stack.check_all()
    assert stack.digest("mirror/app", "1.0") == APP.digest
    assert 'Webhooks=\\"off\\"' in own.read_text(encoding="utf-8")
    assert (packaged.folder / "samconfig.toml").read_text(encoding="utf-8") == tracked
    assert "No changes to deploy" in succeeded(packaged.deploy("--stack-name", "first-try")).text
    again = succeeded(packaged.sam("deploy", "--guided", "--stack-name", "first-try", typed=ENTER_ALONE))
    assert "No changes to deploy" in again.text

    resources, bucket = stack.resources(), stack.outputs()["PlansBucketName"]
    runs = len(site.aws.invocations)
    succeeded(packaged.sam("delete", "--stack-name", "first-try", "--no-prompts"))
    assert not stack.exists()
    with pytest.raises(ClientError, match="ResourceNotFound"):
        site.aws.client("lambda").get_function(FunctionName=resources["CopyBlobsFunction"])
    with pytest.raises(ClientError, match="ResourceNotFound"):
        site.aws.client("dynamodb").describe_table(TableName=resources["RecordsTable"])
    rules_left = {rule.name for rule in site.aws.bus.rules()}
    assert not rules_left & set(resources.values())
    assert len(site.aws.invocations) == runs
    site.aws.client("s3").head_bucket(Bucket=bucket)  # not empty, so it is kept, as docs/operating.md says
    assert stack.digest("mirror/app", "1.0") == APP.digest
    assert site.stack.status().endswith("_COMPLETE")  # the other stack is as it was
