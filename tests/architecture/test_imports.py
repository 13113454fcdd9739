"""Imports run one way, and the core stays pure."""

import pytest

from tests.architecture.import_rules import direction_findings, function_findings, purity_findings
from tests.architecture.source import ROOT, source, sources

PACKAGE = "layers/pullahead/pullahead"


def test_the_package_was_found() -> None:
    modules = {file.module for file in sources()}
    assert {"pullahead.errors", "pullahead.oci", "pullahead.rules.load", "pullahead.wiring"} <= modules


def test_imports_run_one_way() -> None:
    assert list(direction_findings(sources())) == []


def test_core_knows_no_aws_http_environment_or_clock() -> None:
    assert list(purity_findings(sources())) == []


def test_handlers_import_messages_and_wiring_only() -> None:
    assert list(function_findings(sources())) == []


@pytest.mark.parametrize(
    ("path", "text", "finding"),
    [
        ("oci/a.py", "from pullahead.rules.model import Rules", "oci must not import pullahead.rules.model"),
        ("errors.py", "import pullahead.oci", "errors must not import pullahead.oci"),
        ("rules/a.py", "from pullahead.freshness import judge", "rules must not import pullahead.freshness"),
        ("copying/a.py", "from pullahead.freshness.judge import x", "copying must not import pullahead.freshness"),
        ("freshness/a.py", "from pullahead.rules.load import x", "freshness must not import pullahead.rules.load"),
        ("freshness/a.py", "from pullahead.copying.plan import x", "freshness must not import pullahead.copying"),
        ("messages.py", "from pullahead.ports import Clock", "messages must not import pullahead.ports"),
        ("usecases/a.py", "from pullahead.targets.ecr import EcrTarget", "usecases must not import pullahead.targets"),
        ("registry/a.py", "from pullahead.targets.ecr import x", "registry must not import pullahead.targets"),
        ("targets/a.py", "def f():\n    import pullahead.aws.plans", ":2: targets must not import pullahead.aws.plans"),
        ("aws/a.py", "from pullahead import wiring", "aws must not import pullahead.wiring"),
        ("settings.py", "from pullahead.wiring import application", "settings must not import pullahead.wiring"),
        ("wiring.py", "from pullahead.cli import main", "wiring must not import pullahead.cli"),
        ("wiring.py", "from local.clock import x", "not deployed"),
        ("aws/a.py", "import tests.fakes", "not deployed"),
        ("oci/a.py", "from .digest import Digest", "a relative import"),
        ("misc/a.py", "", "misc has no place"),
    ],
)
def test_import_against_the_direction_is_found(path: str, text: str, finding: str) -> None:
    found = list(direction_findings([source(f"{PACKAGE}/{path}", text)]))
    assert any(finding in line for line in found), found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("freshness/a.py", "from pullahead.rules.model import Mirror"),
        ("freshness/a.py", "from pullahead.rules import model"),
        ("wiring.py", "from pullahead.settings import Settings\nimport boto3, os"),
        ("targets/a.py", "from pullahead.ports import Target\nfrom pullahead.targets.b import c"),
        ("__init__.py", "from pullahead.wiring import application"),
    ],
)
def test_import_along_the_direction_is_allowed(path: str, text: str) -> None:
    assert list(direction_findings([source(f"{PACKAGE}/{path}", text)])) == []


@pytest.mark.parametrize(
    "text",
    [
        "import boto3",
        "from botocore.exceptions import ClientError",
        "import requests",
        "from aws_lambda_powertools import Logger",
        "import aws_xray_sdk",
        "import os",
        "from os import environ",
        "from time import monotonic",
        "import random",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.datetime.utcnow",
        "from datetime import date\nx = date.today()",
    ],
)
def test_impure_core_is_found(text: str) -> None:
    assert len(list(purity_findings([source(f"{PACKAGE}/usecases/a.py", text)]))) >= 1
    assert list(purity_findings([source(f"{PACKAGE}/aws/a.py", text)])) == []


@pytest.mark.parametrize(
    "text",
    [
        "import boto3",
        "import os",
        "from pullahead.aws.plans import S3Plans",
        "from pullahead.oci import Digest",
        "import local",
    ],
)
def test_handler_that_reaches_too_far_is_found(text: str) -> None:
    assert len(list(function_findings([source("functions/a/app.py", text)]))) >= 1


def test_every_function_was_found() -> None:
    apps = {file.path.parent.name for file in sources() if file.path.parts[0] == "functions"}
    assert apps == {path.name for path in (ROOT / "functions").iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert "publish_image" in apps
