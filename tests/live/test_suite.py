"""The suite in the local AWS: all is as expected, a difference shows, and nothing is left however a run ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.aws import ACCESS_KEY, ACCOUNT_ID, REGION, SECRET_KEY
from local.aws.server import LocalAws
from local.ecr.errors import EcrError
from local.ecr.faults import Call
from local.images import make_image
from local.registry import FakeRegistry
from tests.e2e.sam_project import SAM
from tests.live.__main__ import local_account, main
from tests.live.account import Account
from tests.live.cleaning import clean, leftovers
from tests.live.consent import RefusedError, confirm
from tests.live.deploying import NotDeployedError, deploy_by_sam
from tests.live.fact import UnmetError, Verdict
from tests.live.facts.docker_endpoint import mount_while_enabled
from tests.live.interrupts import Interrupts
from tests.live.naming import TAG, Run, new_run, run_of
from tests.live.site import DeployedStack, Site
from tests.live.suite import Report, chosen_facts, run_suite
from tests.live.upstreams import Upstream, fill
from tests.live.waiting import LOCAL
from tests.polling import until

pytestmark = pytest.mark.timeout(600)  # the whole suite with `sam` takes half a minute, several times that if busy

RETAINED = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "RetainExceptOnCreate"}
GROUP = {"Type": "AWS::Logs::LogGroup"}


class Stage(NamedTuple):
    """A local AWS, the account in it, and the upstream."""

    aws: LocalAws
    account: Account
    upstream: Upstream

    def site(self, run: Run | None = None, *, may_set_account: bool = True) -> Site:
        return Site(self.account, run or new_run(), self.upstream, LOCAL, may_set_account=may_set_account)

    def run(self, *facts: str, deploy: Callable[[Site], DeployedStack] = deploy_by_sam) -> "Ended":
        site, lines = self.site(), list[str]()
        report = run_suite(site, chosen_facts(facts), deploy, lines.append)
        return Ended(site.run, report, "\n".join(lines))


class Ended(NamedTuple):
    """A run that came to its end."""

    run: Run
    report: Report
    printed: str

    def verdicts(self) -> dict[str, Verdict]:
        return {result.fact.id: result.verdict for result in self.report.results}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("live")
    with LocalAws(folder / "aws", wait_scale=0.01) as aws, FakeRegistry() as registry:
        aws.ecr.quotas.enforced = True
        yield Stage(aws, local_account(aws, folder), fill(registry))


@pytest.fixture
def terminal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The environment of a user whose credentials are of the local AWS; the suite takes it for a real account."""
    for name, value in environment(stage).items():
        monkeypatch.setenv(name, value)
    return stage


def environment(stage: Stage) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": stage.aws.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_DEFAULT_REGION": REGION,
    }


def everything(aws: LocalAws) -> dict[str, list[str]]:
    """List by moto's and our own operations what is in the account, whatever its name."""
    client = aws.client
    return {
        "stacks": [each["StackName"] for each in client("cloudformation").describe_stacks()["Stacks"]],
        "functions": [each["FunctionName"] for each in client("lambda").list_functions()["Functions"]],
        "layers": [each["LayerName"] for each in client("lambda").list_layers()["Layers"]],
        "tables": client("dynamodb").list_tables()["TableNames"],
        "roles": [each["RoleName"] for each in client("iam").list_roles()["Roles"]],
        "machines": [each["name"] for each in client("stepfunctions").list_state_machines()["stateMachines"]],
        "topics": [each["TopicArn"] for each in client("sns").list_topics()["Topics"]],
        "queues": client("sqs").list_queues().get("QueueUrls", []),
        "rules": [each["Name"] for each in client("events").list_rules()["Rules"]],
        "log groups": [each["logGroupName"] for each in client("logs").describe_log_groups()["logGroups"]],
        "buckets": [each["Name"] for each in client("s3").list_buckets()["Buckets"]],
        "dashboards": [each["DashboardName"] for each in client("cloudwatch").list_dashboards()["DashboardEntries"]],
        "repositories": [each["repositoryName"] for each in client("ecr").describe_repositories()["repositories"]],
        "cache rules": client("ecr").describe_pull_through_cache_rules()["pullThroughCacheRules"],
        "templates": client("ecr").describe_repository_creation_templates()["repositoryCreationTemplates"],
    }


def create_stack(site: Site, name: str | None = None, *, tagged: bool = True, **resources: Any) -> None:
    template = {"Resources": resources}
    site.account.client("cloudformation").create_stack(
        StackName=name or site.run.name,
        TemplateBody=json.dumps(template),
        Tags=[{"Key": TAG, "Value": site.run.name}] if tagged else [],
    )


def make_much(site: Site) -> None:
    """Make some of everything that a run makes, with content in all buckets, as a run does that is killed."""
    site.prepare()
    repository = site.repository("app")
    site.push(make_image(seed=1), repository, "v1")
    site.ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix=site.run.cache_prefix, upstreamRegistryUrl=site.upstream.host
    )
    site.ecr.create_repository_creation_template(prefix=site.run.repository("t"), appliedFor=["CREATE_ON_PUSH"])
    site.ecr.create_repository(repositoryName=f"{site.run.cache_prefix}/cached")  # ECR makes these without a tag
    create_stack(site, Plans=RETAINED, Group=GROUP)
    s3 = site.account.client("s3")
    for bucket in (each["Name"] for each in s3.list_buckets()["Buckets"] if run_of(each["Name"]) == site.run):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for _ in range(2):
            s3.put_object(Bucket=bucket, Key="plans/one", Body=b"content")
        s3.delete_object(Bucket=bucket, Key="plans/one")
    site.account.client("logs").create_log_group(
        logGroupName=f"/aws/vendedlogs/states/{site.run.name}-refresh", tags={TAG: site.run.name}
    )


@pytest.mark.sam
@pytest.mark.skipif(not SAM.exists(), reason="the SAM CLI is not in .venv-sam (make setup)")
def test_every_fact_is_as_expected_in_the_local_aws_and_nothing_is_left(stage: Stage) -> None:
    before = everything(stage.aws)
    ended = stage.run()
    expected = {fact.id: Verdict.NOT_CHECKED if fact.only_live else Verdict.AGREES for fact in chosen_facts()}
    assert ended.verdicts() == expected, ended.printed
    assert ended.report.is_good
    assert everything(stage.aws) == before
    for result in ended.report.results:
        assert f"\n{result.fact.id} " in ended.printed
    assert f"left of {ended.run.name}: 0 stacks · 0 event rules" in ended.printed
    setting = stage.aws.client("ecr").get_account_setting(name="BLOB_MOUNTING")
    assert setting["value"] == "DISABLED"


@pytest.mark.parametrize(
    ("fact", "operation", "code"),
    [
        ("probe-for-offset", "UploadLayerPart", "InvalidParameterException"),
        ("layers-missing", "PutImage", "InvalidParameterException"),
        ("describe-missing-repository", "DescribeImages", "ImageNotFoundException"),
    ],
)
def test_account_that_answers_otherwise_is_told_as_a_difference(
    stage: Stage, fact: str, operation: str, code: str
) -> None:
    def answer_otherwise(_: Call) -> None:
        raise EcrError(code, "as no local AWS answers")

    stage.aws.ecr.faults.before(operation, answer_otherwise)
    try:
        ended = stage.run(fact)
    finally:
        stage.aws.ecr.faults.clear()
    (result,) = ended.report.results
    assert result.verdict in (Verdict.DIFFERS, Verdict.FAILED)
    assert code in result.seen
    assert code in ended.printed
    assert not ended.report.is_good


def test_stack_that_is_not_deployed_fails_its_facts_and_leaves_nothing(stage: Stage) -> None:
    before = everything(stage.aws)

    def deploy(site: Site) -> DeployedStack:
        # The second bucket has the name of the first one, so that the stack is rolled back.
        create_stack(site, Plans=RETAINED, Group=GROUP, Again=named_bucket(site.bucket))
        (stack,) = site.account.client("cloudformation").describe_stacks(StackName=site.run.name)["Stacks"]
        raise NotDeployedError(f"sam deploy failed: {stack['StackStatus']}")

    ended = stage.run("part-size", "mirrors-missing-tag", deploy=deploy)
    assert ended.verdicts() == {"part-size": Verdict.AGREES, "mirrors-missing-tag": Verdict.FAILED}
    assert "sam deploy failed: ROLLBACK_COMPLETE" in ended.printed
    assert f"  stacks: {ended.run.name}" in ended.printed
    assert not ended.report.is_good
    assert everything(stage.aws) == before


def named_bucket(name: str) -> Any:
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}}


def interrupted(stage: Stage, again_at: str = "nowhere") -> str:
    """Interrupt a run when it has made a stack, and again where it prints something; return what it printed."""
    lines: list[str] = []

    def deploy(site: Site) -> DeployedStack:
        create_stack(site, Plans=RETAINED)
        raise KeyboardInterrupt

    def tell(line: str) -> None:
        lines.append(line)
        if again_at in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_suite(stage.site(), chosen_facts(["lifecycle-policy", "scan-event"]), deploy, tell)
    return "\n".join(lines)


def test_interrupted_run_leaves_nothing(stage: Stage) -> None:
    before = everything(stage.aws)
    assert "left of pullahead-live-" in interrupted(stage).splitlines()[-1]
    assert everything(stage.aws) == before


def test_interrupted_run_tells_what_it_could_not_remove(stage: Stage) -> None:
    before = everything(stage.aws)
    stage.aws.ecr.faults.add("DeleteRepository", "AccessDeniedException")
    assert "NOT REMOVED: repositories: pullahead-live-" in interrupted(stage)
    assert clean(stage.account, None, LOCAL, lambda _: None) == []
    assert everything(stage.aws) == before


def test_interrupted_removal_says_how_to_remove_the_rest(stage: Stage) -> None:
    before = everything(stage.aws)
    printed = interrupted(stage, again_at="  repositories: ")
    assert printed.endswith("remove the rest by: make live ARGS=--clean")
    assert leftovers(stage.account) != []
    assert clean(stage.account, None, LOCAL, lambda _: None) == []
    assert everything(stage.aws) == before


def test_leftovers_of_killed_runs_are_found_and_removed_and_nothing_else(
    terminal: Stage, capfd: pytest.CaptureFixture[str]
) -> None:
    stage, others = terminal, make_similar_things(terminal)
    before = everything(stage.aws)
    killed = [stage.site(), stage.site()]
    for site in killed:
        make_much(site)
    killed[0]._tag_bucket({"pullahead-live-restore": "BLOB_MOUNTING=DISABLED"})
    stage.aws.client("ecr").put_account_setting(name="BLOB_MOUNTING", value="ENABLED")

    assert main(["--clean", "--account", ACCOUNT_ID]) == 0
    printed = capfd.readouterr().out
    assert all(f"  buckets: {site.bucket}" in printed for site in killed)
    assert "left of all runs: 0 stacks" in printed
    assert everything(stage.aws) == before
    assert stage.aws.client("ecr").get_account_setting(name="BLOB_MOUNTING")["value"] == "DISABLED"
    others()


def make_similar_things(stage: Stage) -> Callable[[], None]:
    """Make what a run has not made, by names as similar as can be; return what removes it."""
    aws, site = stage.aws, stage.site(Run("pullahead-live-deadbeef"))
    ecr, s3 = aws.client("ecr"), aws.client("s3")
    repositories = ("pullahead-live/app", "pullahead-live-mine/app", "team/pullahead-live-deadbeef/app")
    for name in (*repositories, "pullahead-live-deadbeefed/app"):
        ecr.create_repository(repositoryName=name)
    ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="quay", upstreamRegistryUrl="quay.io")
    create_stack(site, "pullahead-live-deadbeef", tagged=False, Group=GROUP)
    create_stack(site, "pullahead-live", Group=GROUP)
    bucket = "pullahead-live-deadbeef-of-somebody"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket, Key="precious", Body=b"content")
    aws.client("sqs").create_queue(QueueName="pullahead-live-queue")
    aws.client("events").put_rule(Name="pullahead-live-rule", ScheduleExpression="rate(1 day)", State="DISABLED")

    def remove() -> None:
        for name in (*repositories, "pullahead-live-deadbeefed/app"):
            ecr.delete_repository(repositoryName=name)
        ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix="quay")
        for name in ("pullahead-live-deadbeef", "pullahead-live"):
            aws.client("cloudformation").delete_stack(StackName=name)
        s3.delete_object(Bucket=bucket, Key="precious")
        s3.delete_bucket(Bucket=bucket)
        aws.client("sqs").delete_queue(
            QueueUrl=aws.client("sqs").get_queue_url(QueueName="pullahead-live-queue")["QueueUrl"]
        )
        aws.client("events").delete_rule(Name="pullahead-live-rule")

    return remove


def test_what_cannot_be_removed_is_told(terminal: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    site = terminal.site()
    site.repository("app")
    terminal.aws.ecr.faults.add("DeleteRepository", "AccessDeniedException")
    assert main(["--clean", "--account", ACCOUNT_ID]) == 1
    printed = capfd.readouterr().out
    assert f"NOT REMOVED: repositories: {site.run.name}/app" in printed
    assert "AccessDeniedException" in printed
    assert main(["--clean", "--account", ACCOUNT_ID]) == 0
    assert leftovers(terminal.account) == []


def test_account_setting_is_changed_only_if_allowed(stage: Stage) -> None:
    site = stage.site(may_set_account=False)
    site.prepare()
    stage.aws.ecr.calls.clear()
    try:
        with pytest.raises(UnmetError, match="--set-blob-mounting"):
            mount_while_enabled(site)
        assert "PutAccountSetting" not in stage.aws.ecr.calls.operations()
    finally:
        assert clean(stage.account, None, LOCAL, lambda _: None) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "give the ID with --account"),
        (["--account", "999999999999"], "and not of 999999999999"),
        (["--clean"], "give the ID with --account"),
        (["--fact", "no-such-fact", "--account", ACCOUNT_ID], "no-such-fact"),
        (["--local", "--write-docs"], "a real account"),
    ],
)
def test_run_without_consent_makes_nothing(
    terminal: Stage, capfd: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    before = everything(terminal.aws)
    assert main(arguments) == 2
    assert why in capfd.readouterr().err
    assert everything(terminal.aws) == before


def test_run_without_a_region_is_refused(
    terminal: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    assert main(["--account", ACCOUNT_ID]) == 2
    assert "set AWS_DEFAULT_REGION" in capfd.readouterr().err


def test_user_is_asked_for_the_id_and_shown_who_asks(stage: Stage) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return f" {ACCOUNT_ID}\n"

    confirm(stage.account, None, ask, "This makes things.")
    assert ACCOUNT_ID in asked[0]
    assert REGION in asked[0]
    assert "This makes things." in asked[0]
    with pytest.raises(RefusedError):
        confirm(stage.account, None, lambda _: "", "This makes things.")


def test_second_ctrl_c_does_not_stop_the_removal_and_a_third_does() -> None:
    told: list[str] = []
    with Interrupts(told.append) as interrupts:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with interrupts.cleaning_up():
            os.kill(os.getpid(), signal.SIGTERM)
            assert "interrupt once more" in told[0]
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.sam
@pytest.mark.skipif(not SAM.exists(), reason="the SAM CLI is not in .venv-sam (make setup)")
def test_ctrl_c_while_sam_runs_leaves_nothing(stage: Stage, tmp_path: Path) -> None:
    before, output = everything(stage.aws), tmp_path / "output"
    command = [sys.executable, "-m", "tests.live", "--account", ACCOUNT_ID, "--fact", "mirrors-missing-tag"]
    with (
        output.open("wb") as file,
        subprocess.Popen(
            command,
            env={**os.environ, **environment(stage)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        until(lambda: b"sam build" in output.read_bytes() or process.poll() is not None, "sam runs")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
        status = process.wait(120)
    printed = output.read_text(encoding="utf-8")
    assert status == 130, printed
    assert "left of pullahead-live-" in printed
    assert everything(stage.aws) == before
