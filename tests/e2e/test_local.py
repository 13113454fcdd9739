"""`make local` as a user runs it: endpoints that tools can use, a mirror that is kept, and a clean end."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import requests

from local.images import make_image, make_index
from local.registry import FakeRegistry
from tests.e2e.processes import RunningModule, alive, run_module, running_module
from tests.polling import until
from tests.real_servers import free_port

INDEX = make_index([make_image([2_000_000], seed=1), make_image(seed=2, platform="linux/arm64")])
RULES = """\
version: 1
upstreams: {{"{host}": {{plain_http: true}}}}
mirrors:
  - upstream: {host}/team/app
    tags: ["1.0", never]
    repository: mirror/app
"""
TOOL = make_image(seed=3)
TOOL_RULE = """\
  - upstream: {host}/team/tool
    tags: ["2.0"]
    repository: mirror/tool
"""


class LocalStack(NamedTuple):
    """`python -m local`, running, with its output."""

    module: RunningModule
    exports: dict[str, str]
    rules: Path
    upstream: FakeRegistry

    def client(self, service: str) -> Any:
        """Make a client by nothing but what was printed."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.exports["AWS_ENDPOINT_URL"],
            region_name=self.exports["AWS_REGION"],
            aws_access_key_id=self.exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.exports["AWS_SECRET_ACCESS_KEY"],
        )

    def printed_commands(self, *programs: str) -> list[str]:
        """The commands that were printed, those of outputs included."""
        lines = re.findall(r"^  (?:\w+ = )?(\S.*)$", self.module.printed, re.MULTILINE)
        return [line for line in lines if line.split()[0] in programs]

    def run(self, command: str) -> str:
        """Run a printed command after the printed exports, as a user does in another terminal."""
        exports = "\n".join(
            re.findall(r"^  (?:cd|unset|export) (?!SAM|PULLAHEAD).*", self.module.printed, re.MULTILINE)
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{exports}\n{command}"],
            env={**environment, "AWS_PROFILE": "somebody-elses"},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def published(self, repository: str = "mirror/app", tag: str = "1.0") -> str | None:
        """What the local ECR serves under a tag, by default the mirror's."""
        ecr = self.client("ecr")
        try:
            found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
        except (ecr.exceptions.RepositoryNotFoundException, ecr.exceptions.ImageNotFoundException):
            return None
        return str(found["imageDetails"][0]["imageDigest"])


@pytest.fixture(scope="module")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("local")
    with FakeRegistry() as upstream:
        upstream.push(INDEX, "team/app", "1.0")
        upstream.push(TOOL, "team/tool", "2.0")
        rules = folder / "rules.yaml"
        rules.write_text(RULES.format(host=upstream.host))
        parameters = ("--parameters", "LogRetentionDays=7 CheckSchedule='rate(2 minutes)'")
        arguments = ("local", "--port", str(free_port()), "--rules", str(rules), *parameters)
        with running_module(folder / "printed", *arguments) as module:
            module.wait_for(lambda: "Outputs of the stack" in module.printed, "it is up")
            exports = dict(re.findall(r"(AWS_\w+)=(\S+)", module.printed))
            yield LocalStack(module, exports, rules, upstream)


def test_running_schedule_copies_what_the_rules_name(local_stack: LocalStack) -> None:
    local_stack.module.wait_for(lambda: local_stack.published() == INDEX.digest, "the mirror is published")
    assert "schedule_checks" in local_stack.module.printed or "ScheduleChecks" in local_stack.module.printed


def test_outputs_name_existing_resources(local_stack: LocalStack) -> None:
    outputs = dict(re.findall(r"^  (\w+) = (\S+)$", local_stack.module.printed, re.MULTILINE))
    local_stack.client("dynamodb").describe_table(TableName=outputs["RecordsTableName"])
    local_stack.client("sqs").get_queue_attributes(QueueUrl=outputs["ChecksQueueUrl"])
    local_stack.client("sns").get_topic_attributes(TopicArn=outputs["AlertsTopicArn"])


def test_parameters_are_those_of_the_deployment(local_stack: LocalStack) -> None:
    (stack,) = local_stack.client("cloudformation").describe_stacks()["Stacks"]
    parameters = {each["ParameterKey"]: each["ParameterValue"] for each in stack["Parameters"]}
    assert (parameters["LogRetentionDays"], parameters["CheckSchedule"]) == ("7", "rate(2 minutes)")


def test_outcome_events_and_alerts_are_printed_as_they_come(local_stack: LocalStack) -> None:
    module = local_stack.module
    module.wait_for(
        lambda: "EVENT            Mirror Refreshed: mirror/app:1.0: first-copy" in module.printed, "the event"
    )
    module.wait_for(lambda: "mirror/app:never" in module.printed, "the missing tag is found")
    outputs = dict(re.findall(r"^  (\w+) = (\S+)", module.printed, re.MULTILINE))
    resources = local_stack.client("cloudformation").describe_stack_resources(StackName="pullahead")["StackResources"]
    review = next(each for each in resources if each["LogicalResourceId"] == "ReviewRecordsFunction")
    local_stack.client("lambda").invoke(FunctionName=review["PhysicalResourceId"])
    module.wait_for(lambda: "ALERT " in module.printed, "the alert")
    alerts = [line for line in module.printed.splitlines() if line[9:14] == "ALERT"]
    assert "mirror/app:never" in alerts[0]
    assert len(alerts) == 1  # of the two topics, the one for people
    assert outputs["AlertsTopicArn"] != outputs["ChatAlertsTopicArn"]


def test_lines_of_what_happens_are_readable_and_without_warnings(local_stack: LocalStack) -> None:
    local_stack.module.wait_for(lambda: "outcome recorded" in local_stack.module.printed, "the refresh is recorded")
    happened = local_stack.module.printed.partition("Outputs of the stack")[2].partition("\n\n")[2]
    assert all(re.match(r"\d\d:\d\d:\d\d [A-Za-z_]+ +\S", line) for line in happened.splitlines()), happened
    assert not re.search(r"_aws|function_arn|[Ww]arn|moto", happened)


def test_changed_rules_are_deployed_and_followed(local_stack: LocalStack) -> None:
    module, host = local_stack.module, local_stack.upstream.host
    local_stack.rules.write_text(RULES.format(host=host) + TOOL_RULE.format(host=host).replace("tags:", "tag:"))
    module.wait_for(lambda: "The old rules stay in use" in module.printed, "the mistake is said")
    assert re.search(r"RULES +\S*rules.yaml:8: mirrors\[1\]: unknown key 'tag'. Did you mean tags\?", module.printed)
    assert local_stack.published("mirror/tool", "2.0") is None
    local_stack.rules.write_text(RULES.format(host=host) + TOOL_RULE.format(host=host))
    module.wait_for(lambda: local_stack.published("mirror/tool", "2.0") == TOOL.digest, "the new mirror is published")
    assert "rules.yaml is deployed: 2 rules, 3 exact tags, 0 patterns" in module.printed
    (stack,) = local_stack.client("cloudformation").describe_stacks()["Stacks"]
    assert {"ParameterKey": "LogRetentionDays", "ParameterValue": "7"} in stack["Parameters"]


def test_printed_commands_of_pullahead_work(local_stack: LocalStack) -> None:
    local_stack.module.wait_for(lambda: local_stack.published() == INDEX.digest, "the mirror is published")
    commands = local_stack.printed_commands("bin/pullahead")
    assert [command.split()[1] for command in commands] == ["status", "why", "refresh", "copy"]
    outputs = {command.split()[1]: local_stack.run(command) for command in commands}
    assert "mirror/app:1.0" in outputs["status"]
    assert INDEX.digest in outputs["why"]
    assert local_stack.published("mirror/app", "copy") == INDEX.digest


@pytest.mark.awscli
@pytest.mark.skipif(shutil.which("aws") is None, reason="the AWS CLI is not on PATH (apt or pip install awscli)")
def test_printed_commands_of_aws_work(local_stack: LocalStack) -> None:
    """Also with a version that reads neither AWS_ENDPOINT_URL nor AWS_REGION."""
    local_stack.module.wait_for(lambda: local_stack.published() == INDEX.digest, "the mirror is published")
    commands = [command for command in local_stack.printed_commands("aws") if "|" not in command]
    assert {command.split()[3] for command in commands} == {"ecr", "lambda", "dynamodb", "sns"}
    assert all("--endpoint-url" in command for command in commands)
    outputs = {command.split()[3]: local_stack.run(command) for command in commands}
    assert '"mirror/app"' in outputs["ecr"]
    assert '"due"' in outputs["lambda"]
    assert "mirror#mirror/app:1.0" in outputs["dynamodb"]


@pytest.mark.awscli
@pytest.mark.skopeo
@pytest.mark.skipif(None in map(shutil.which, ("aws", "skopeo")), reason="aws and skopeo are not both on PATH")
def test_printed_login_and_listing_work_with_aws_and_skopeo(local_stack: LocalStack) -> None:
    local_stack.module.wait_for(lambda: local_stack.published() == INDEX.digest, "the mirror is published")
    (login,) = [command for command in local_stack.printed_commands("aws") if "|" in command]
    assert "Login Succeeded" in local_stack.run(login)
    (listing,) = local_stack.printed_commands("skopeo")
    assert "1.0" in json.loads(local_stack.run(listing))["Tags"]


@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH (apt install skopeo)")
def test_published_index_can_be_read_with_skopeo(local_stack: LocalStack, tmp_path: Path) -> None:
    local_stack.module.wait_for(lambda: local_stack.published() == INDEX.digest, "the mirror is published")
    registry = local_stack.exports["AWS_ENDPOINT_URL"].removeprefix("http://")
    token = local_stack.client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
    login = tmp_path / "auth.json"
    login.write_text(f'{{"auths": {{"{registry}": {{"auth": "{token}"}}}}}}')
    command = ["skopeo", "inspect", "--tls-verify=false", "--authfile", str(login), "--format", "{{.Digest}}"]
    shown = subprocess.run(
        [*command, f"docker://{registry}/mirror/app:1.0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.strip() == INDEX.digest


def test_interrupt_ends_all_started_processes(local_stack: LocalStack) -> None:
    """Last in this module, since nothing runs afterwards."""
    local_stack.module.wait_for(lambda: local_stack.published() == INDEX.digest, "the mirror is published")
    started = local_stack.module.descendants()
    assert started  # the functions' processes
    (logins,) = re.findall(r"REGISTRY_AUTH_FILE=(\S+)", local_stack.module.printed)
    assert Path(logins).parent.exists()
    assert local_stack.module.interrupt() == 0
    assert alive(started) == set()
    until(lambda: not list(Path(logins).parent.parent.glob(f"{Path(logins).parent.name}*")), "its folder is removed")
    with pytest.raises(requests.ConnectionError):
        requests.get(local_stack.exports["AWS_ENDPOINT_URL"], timeout=1)
    assert "Traceback" not in local_stack.module.printed


def test_empty_account_waits_for_a_deployment(tmp_path: Path) -> None:
    port = str(free_port())
    with running_module(tmp_path / "printed", "local", "--port", port, "--empty") as module:
        module.wait_for(lambda: "Outputs of the stack" in module.printed, "it is up")
        exports = dict(re.findall(r"(AWS_\w+)=(\S+)", module.printed))
        with FakeRegistry() as nobody:
            empty = LocalStack(module, exports, tmp_path, nobody)
            assert empty.client("cloudformation").describe_stacks()["Stacks"] == []
        for command in ("sam build && sam deploy", "sam deploy --guided", "--parameter-overrides", "sam delete"):
            assert command in module.printed
        assert module.interrupt() == 0


def test_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_module("local", "--port", port)
    assert done.returncode == 1
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_rules_are_reported(tmp_path: Path) -> None:
    done = run_module("local", "--port", str(free_port()), "--rules", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "local AWS: RulesLayer" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [("LogLevel", "'LogLevel' is not Name=value"), ("Nonsense=1", "the template has no parameters ['Nonsense']")],
)
def test_wrong_parameters_are_reported(parameters: str, reason: str) -> None:
    done = run_module("local", "--port", str(free_port()), "--parameters", parameters)
    assert done.returncode in (1, 2)
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_mistake_in_the_rules_is_reported_before_anything_starts(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("version: 1\nmirrors: []\nmirors: []\n", encoding="utf-8")
    done = run_module("local", "--port", str(free_port()), "--rules", str(rules))
    assert done.returncode == 1
    assert f"{rules}:3: unknown key 'mirors'. Did you mean mirrors?" in done.stderr
    assert done.stdout == ""


def test_interrupt_while_it_starts_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with running_module(
        tmp_path / "printed", "local", "--port", str(free_port()), environment={"TMPDIR": str(temporary)}
    ) as module:
        module.wait_for(lambda: any(temporary.iterdir()), "it has begun")
        assert module.interrupt() == 0
        assert module.printed == "stopping\n"
    until(lambda: not any(temporary.iterdir()), "its folder is removed")
