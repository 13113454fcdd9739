"""`make package`: what it writes means what template.yaml means, and works as deployed, from a bucket of the user."""

import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local.aws import REGION
from local.aws.server import LocalAws
from local.deploy.build import replace_folders
from local.deploy.template import load_template
from local.deploy.translate import translate, with_definitions_in_line, without_sub
from local.images import make_image
from local.package import MAX_BYTES, TEMPLATE, Package, package
from local.registry import FakeRegistry
from local.stacks.settled import settle
from pullahead import __version__
from tests.architecture.source import ROOT
from tests.e2e.sam_project import DeployedStack

BUCKET, PREFIX = f"team-artifacts-{REGION}", "tools/pullahead/"
WHERE = {"ArtifactsBucket": "team-artifacts-{region}", "ArtifactsPrefix": PREFIX}
APP = make_image(seed=1)
EVERYTHING = {
    "AlertEmail": "team@example.com",
    "Webhooks": "on",
    "WebhookSecret": "team/webhooks",
    "OnDemandPrefix": "mirror/hub/",
    "PullThroughCacheRepositories": "docker-hub/*,ecr/*",
    "RulesUri": "s3://team-rules/rules.yaml",
    "UpstreamRoles": "arn:aws:iam::222222222222:role/upstream",
    "UpstreamRepositories": "base/*",
    "VpcSubnetIds": "subnet-1,subnet-2",
    "VpcSecurityGroupIds": "sg-1",
}
NOTHING = {"PullThroughCacheRepositories": "none", "UpstreamRepositories": "none", "ExpireUntaggedDays": "0"}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package, with a layer for the Lambda of this machine."""
    return package(ROOT / "template.yaml", tmp_path_factory.mktemp("dist") / "pullahead", for_lambda=False)


def read(packaged: Package) -> dict[str, Any]:
    template: dict[str, Any] = json.loads((packaged.folder / TEMPLATE).read_text(encoding="utf-8"))
    return template


def places(template: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Where functions and layers have their code."""
    properties = [each["Properties"] for each in template["Resources"].values()]
    return [each.get("Code") or each["Content"] for each in properties if "Code" in each or "Content" in each]


def test_template_is_plain_within_the_limit_and_passes_cfn_lint(packaged: Package) -> None:
    template = read(packaged)
    assert "Transform" not in template
    assert "Globals" not in template
    assert not [each for each in template["Resources"].values() if each["Type"].startswith("AWS::Serverless::")]
    assert list(template["Metadata"]) == ["AWS::CloudFormation::Interface"]
    assert packaged.template_bytes == (packaged.folder / TEMPLATE).stat().st_size <= MAX_BYTES
    assert REGION not in json.dumps(template["Resources"])
    linted = subprocess.run(
        # W3037: cfn-lint's list of actions lacks ecr:ListImageReferrers.
        [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3037", "--", packaged.folder / TEMPLATE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout) == (0, "")


def test_deploying_says_how_large_the_template_is(packaged: Package) -> None:
    (written,) = re.findall(r"The template has about (\d+) KB", (ROOT / "docs" / "deploying.md").read_text("utf-8"))
    assert packaged.template_bytes / 1000 == pytest.approx(int(written), rel=0.1)


def test_every_archive_is_named_by_the_template_and_has_code(packaged: Package) -> None:
    keys = [place["S3Key"]["Fn::Join"][1][1] for place in places(read(packaged))]
    assert sorted(keys) == list(packaged.archives)
    assert {file.name for file in packaged.folder.iterdir()} == {TEMPLATE, *packaged.archives}
    for file in packaged.archives:
        archive = zipfile.ZipFile(io.BytesIO((packaged.folder / file).read_bytes()))
        assert archive.testzip() is None
        assert archive.namelist()


def test_same_sources_give_the_same_bytes(packaged: Package, tmp_path: Path) -> None:
    again = package(ROOT / "template.yaml", tmp_path / "again", for_lambda=False)
    assert again.archives == packaged.archives
    for file in (TEMPLATE, *packaged.archives):
        assert (again.folder / file).read_bytes() == (packaged.folder / file).read_bytes()


@pytest.mark.parametrize("parameters", [{}, EVERYTHING, NOTHING], ids=["defaults", "everything", "nothing"])
def test_it_means_what_sam_makes_of_template_yaml(packaged: Package, parameters: dict[str, str]) -> None:
    template = load_template(ROOT / "template.yaml")
    definitions = replace_folders(template, ROOT, lambda name, _: {"Bucket": "bucket", "Key": name})
    by_sam = meaning(translate(template, parameters, definitions), parameters)
    plain = meaning(without_sub(with_definitions_in_line(read(packaged))), {**WHERE, **parameters})
    assert plain == by_sam


def meaning(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, Any]:
    """What CloudFormation makes of a template: without the archives' places, and the layers' names that follow them."""
    settled = settle(template, parameters, "pullahead", "arn:aws:cloudformation:eu-west-1:123456789012:stack/a/b")
    resources = {name: each._asdict() | {"after": sorted(each.after)} for name, each in settled.resources.items()}
    for each in resources.values():
        each["properties"] = without_places(each["properties"])
    outputs = {name: each for name, each in settled.outputs.items() if name != "EditTheRules"}
    text = json.dumps([resources, outputs], sort_keys=True)
    document: dict[str, Any] = json.loads(re.sub(r"\b(\w+Layer)[0-9a-f]{10}\b", r"\1", text))
    return document


def without_places(properties: dict[str, Any]) -> dict[str, Any]:
    tags = [tag for tag in properties.get("Tags", []) if not tag["Key"].endswith(":createdBy")]
    kept = {name: each for name, each in properties.items() if name not in ("Code", "Content", "Tags")}
    if "DefinitionString" in kept:
        kept["DefinitionString"] = json.dumps(kept["DefinitionString"]).replace(" ", "")
    return kept | ({"Tags": tags} if tags else {})


@pytest.mark.parametrize(
    ("given", "bucket"),
    [("team", "team"), ("{region}-team", f"{REGION}-team"), ("team.{region}.archives", f"team.{REGION}.archives")],
)
def test_bucket_may_be_named_by_region(packaged: Package, given: str, bucket: str) -> None:
    settled = settle(without_sub(read(packaged)), {"ArtifactsBucket": given}, "pullahead", "arn:aws:cloudformation:::a")
    code = settled.resources["ScheduleChecksFunction"].properties["Code"]
    assert code["S3Bucket"] == bucket
    assert code["S3Key"].startswith(f"pullahead/{__version__}/ScheduleChecksFunction-")


def test_deployed_from_a_bucket_of_the_user_it_mirrors(packaged: Package, tmp_path: Path) -> None:
    with LocalAws(tmp_path / "aws", wait_scale=0.01) as aws, FakeRegistry() as upstream:
        upstream.push(APP, "team/app", "1.0")
        s3 = aws.client("s3")
        for bucket in (BUCKET, "team-rules"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for file in packaged.folder.iterdir():
            s3.upload_file(str(file), BUCKET, f"{PREFIX}{file.name}")
        s3.put_object(Bucket="team-rules", Key="rules.yaml", Body=rules(upstream).encode())
        aws.client("cloudformation").create_stack(
            StackName="pullahead",
            TemplateURL=f"{aws.url}/{BUCKET}/{PREFIX}{TEMPLATE}",
            Parameters=[
                {"ParameterKey": name, "ParameterValue": value}
                for name, value in {**WHERE, "RulesUri": "s3://team-rules/rules.yaml"}.items()
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        stack = DeployedStack(aws, "pullahead")
        assert stack.status() == "CREATE_COMPLETE"
        stack.check_all()
        assert stack.digest("mirror/app", "1.0") == APP.digest


def rules(upstream: FakeRegistry) -> str:
    entry = f'  - upstream: {upstream.host}/team/app\n    tags: ["1.0"]\n    repository: mirror/app\n'
    return f'version: 1\nupstreams: {{"{upstream.host}": {{plain_http: true}}}}\nmirrors:\n{entry}'
