"""`make local` as a user runs it: endpoints that tools can use, a mirror that is kept, and a clean end."""

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
from tests.real_servers import free_port

INDEX = make_index([make_image([2_000_000], seed=1), make_image(seed=2, platform="linux/arm64")])
RULES = """\
version: 1
upstreams: {{"{host}": {{plain_http: true}}}}
mirrors:
  - upstream: {host}/team/app
    tags: ["1.0"]
    repository: mirror/app
"""


class LocalStack(NamedTuple):
    """`python -m local`, running, with its output."""

    module: RunningModule
    exports: dict[str, str]

    def client(self, service: str) -> Any:
        """Make a client by nothing but what was printed."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.exports["AWS_ENDPOINT_URL"],
            region_name=self.exports["AWS_REGION"],
            aws_access_key_id=self.exports["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.exports["AWS_SECRET_ACCESS_KEY"],
        )

    def published(self) -> str | None:
        """What the local ECR serves under the mirror's tag."""
        ecr = self.client("ecr")
        try:
            found = ecr.describe_images(repositoryName="mirror/app", imageIds=[{"imageTag": "1.0"}])
        except (ecr.exceptions.RepositoryNotFoundException, ecr.exceptions.ImageNotFoundException):
            return None
        return str(found["imageDetails"][0]["imageDigest"])


@pytest.fixture(scope="module")
def local_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    folder = tmp_path_factory.mktemp("local")
    with FakeRegistry() as upstream:
        upstream.push(INDEX, "team/app", "1.0")
        rules = folder / "rules"
        rules.mkdir()
        (rules / "rules.yaml").write_text(RULES.format(host=upstream.host))
        arguments = ("local", "--port", str(free_port()), "--rules", str(rules))
        with running_module(folder / "printed", *arguments) as module:
            module.wait_for(lambda: "Outputs of the stack" in module.printed, "it is up")
            yield LocalStack(module, dict(re.findall(r"(AWS_\w+)=(\S+)", module.printed)))


def test_running_schedule_copies_what_the_rules_name(local_stack: LocalStack) -> None:
    local_stack.module.wait_for(lambda: local_stack.published() == INDEX.digest, "the mirror is published")
    assert "schedule_checks" in local_stack.module.printed or "ScheduleChecks" in local_stack.module.printed


def test_outputs_name_existing_resources(local_stack: LocalStack) -> None:
    outputs = dict(re.findall(r"^  (\w+) = (\S+)$", local_stack.module.printed, re.MULTILINE))
    local_stack.client("dynamodb").describe_table(TableName=outputs["RecordsTableName"])
    local_stack.client("sqs").get_queue_attributes(QueueUrl=outputs["ChecksQueueUrl"])
    local_stack.client("sns").get_topic_attributes(TopicArn=outputs["AlertsTopicArn"])


@pytest.mark.skopeo
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not on PATH (apt install skopeo)")
def test_printed_commands_work_with_skopeo(local_stack: LocalStack, tmp_path: Path) -> None:
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
    assert local_stack.module.interrupt() == 0
    assert alive(started) == set()
    with pytest.raises(requests.ConnectionError):
        requests.get(local_stack.exports["AWS_ENDPOINT_URL"], timeout=1)
    assert "Traceback" not in local_stack.module.printed


def test_empty_account_waits_for_a_deployment(tmp_path: Path) -> None:
    port = str(free_port())
    with running_module(tmp_path / "printed", "local", "--port", port, "--empty") as module:
        module.wait_for(lambda: "Outputs of the stack" in module.printed, "it is up")
        empty = LocalStack(module, dict(re.findall(r"(AWS_\w+)=(\S+)", module.printed)))
        assert empty.client("cloudformation").describe_stacks()["Stacks"] == []
        for command in ("sam build && sam deploy", "sam deploy --guided", "--parameter-overrides", "sam delete"):
            assert command in module.printed


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
