"""A private upstream: its secret is read from Secrets Manager, read again when replaced, and never written."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from local.images import make_image
from local.registry import FakeRegistry
from local.registry.answers import Answer, error_answer
from local.registry.journal import RecordedRequest
from pullahead.cli.main import main
from pullahead.mirrors.record import State
from tests.scenarios.deployment import TAG, Deployment, MirrorRule, rules_text
from tests.scenarios.scene import Scene

IMAGE, NEXT, LAST = make_image(seed=1), make_image(seed=2), make_image(seed=3)
NAME = "ecr-pullthroughcache/scene"
FIRST, SECOND = "first-s3cr3t", "second-s3cr3t"
SOON = timedelta(minutes=2)
"""Sooner than a secret is read again of our own accord."""
ASKING = ("CheckFreshness", "PlanCopy", "CopyBlobs")


class PrivateRegistry(FakeRegistry):
    """Lets in who knows the secret, by Basic."""

    secret = FIRST

    def answer(self, request: RecordedRequest, authorization: str | None) -> Answer:
        if authorization == f"Basic {base64.b64encode(f'robot:{self.secret}'.encode()).decode()}":
            return super().answer(request, authorization)
        return error_answer(401, "UNAUTHORIZED", "not you", {"WWW-Authenticate": 'Basic realm="scene"'})


@contextmanager
def private(deployment: Deployment) -> Iterator[Scene]:
    """Give a scene whose upstream is private, with an account for it in Secrets Manager and in the rules."""
    with PrivateRegistry() as upstream:
        mirror = deployment.next_mirror()._replace(host=upstream.host)
        keep(deployment, FIRST)
        with deployment.rules(with_account(mirror), *ASKING, "RecordOutcome"):
            yield Scene(deployment, mirror, upstream)


@pytest.fixture
def scene(deployment: Deployment) -> Iterator[Scene]:
    deployment.clear()
    with private(deployment) as made:
        yield made


def with_account(mirror: MirrorRule) -> str:
    """Write rules in which the mirror's host has an account."""
    return rules_text(mirror).replace("{plain_http: true}", f"{{plain_http: true, credentials: {NAME}}}")


def keep(deployment: Deployment, secret: str) -> None:
    """Store the account, or replace it."""
    secrets = deployment.aws.client("secretsmanager")
    text = json.dumps({"username": "robot", "accessToken": secret})
    try:
        secrets.put_secret_value(SecretId=NAME, SecretString=text)
    except secrets.exceptions.ResourceNotFoundException:
        secrets.create_secret(Name=NAME, SecretString=text)


def everything_written(deployment: Deployment) -> str:
    """Read all that functions have logged, answered and kept."""
    s3, bucket = deployment.aws.client("s3"), deployment.stack.resources["PlansBucket"]
    kept = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    objects = [s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace") for key in kept]
    items = deployment.aws.client("dynamodb").scan(TableName=deployment.stack.outputs["RecordsTableName"])["Items"]
    runs = [f"{run.logs}{run.payload}{run.event}" for run in deployment.aws.invocations]
    return "".join([*objects, *map(str, items), *runs])


def replace_secret(scene: Scene) -> None:
    """Let upstream know another secret from now on, and Secrets Manager, too."""
    assert isinstance(scene.upstream, PrivateRegistry)
    scene.upstream.secret = SECOND
    keep(scene.deployment, SECOND)


def test_replaced_secret_is_read_by_the_running_process_and_never_written(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.check()
    scene.serves(IMAGE)
    processes = {run.process_id for run in scene.runs("CheckFreshness")}
    replace_secret(scene)
    scene.serve(NEXT)
    scene.check(SOON)
    scene.serves(NEXT)
    assert {run.process_id for run in scene.runs("CheckFreshness")} == processes
    assert [execution["status"] for execution in scene.executions()] == ["SUCCEEDED"] * 2
    assert scene.alerts() == []
    written = everything_written(scene.deployment)
    assert scene.key in written
    for secret in (FIRST, SECOND):
        assert secret not in written
        assert base64.b64encode(f"robot:{secret}".encode()).decode() not in written


def test_ecr_keeps_its_copy_until_a_late_secret_is_replaced(scene: Scene) -> None:
    scene.serve(IMAGE)
    scene.check()
    assert isinstance(scene.upstream, PrivateRegistry)
    scene.upstream.secret = SECOND
    scene.serve(LAST)
    scene.check(SOON)
    assert scene.record().state is State.UNKNOWN
    (alert,) = scene.alerts()
    assert alert.kind == "ACCESS_DENIED"
    assert f"sent as user robot of the secret {NAME}" in alert.text
    assert FIRST not in alert.text
    scene.keeps(IMAGE)
    keep(scene.deployment, SECOND)
    scene.check_by_hand()  # at once: a check of the schedule would use the cached secret
    scene.serves(LAST)


def test_secret_that_was_missing_is_used_by_a_person_as_soon_as_it_exists(scene: Scene) -> None:
    secrets = scene.deployment.aws.client("secretsmanager")
    secrets.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)
    scene.serve(IMAGE)
    scene.check()
    (alert,) = scene.alerts()
    assert alert.kind == "ACCESS_DENIED"
    assert f"the secret {NAME} for {scene.mirror.host}: the secret does not exist" in alert.text
    assert "ECR has no copy yet: there is nothing to pull." in alert.text
    keep(scene.deployment, FIRST)
    scene.check_by_hand()
    scene.serves(IMAGE)


def test_operator_sees_what_the_secret_of_the_stack_can_do(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.serve(IMAGE)
    for name, value in scene.terminal(tmp_path).items():
        monkeypatch.setenv(name, value)
    rules = tmp_path / "rules.yaml"
    rules.write_text(with_account(scene.mirror))
    place = f"{scene.mirror.host}/{scene.mirror.path}:{TAG}"
    capsys.readouterr()
    assert main(["login-check", place, "--stack", "pullahead", "--rules", str(rules), "--json"]) == 0
    secret, nobody = json.loads(capsys.readouterr().out)["credentials"]
    assert (secret["source"], secret["user"], secret["used_by"]) == (f"secret {NAME}", "robot", "rules")
    assert (secret["login"], secret["pull"]) == ("accepted", "allowed")
    assert (nobody["source"], nobody["pull"]) == ("anonymous", "refused")
