"""Imports run one way, and the core stays pure."""

import pytest

from tests.architecture.import_rules import direction_findings, function_findings, purity_findings
from tests.architecture.source import ROOT, source, sources

PACKAGE = "layers/pullahead/pullahead"


def test_the_package_was_found() -> None:
    modules = {file.module for file in sources()}
    assert {"pullahead.errors", "pullahead.oci", "pullahead.rules.load", "pullahead.app"} <= modules


def test_imports_run_one_way() -> None:
    assert list(direction_findings(sources())) == []


def test_core_knows_no_aws_http_environment_or_clock() -> None:
    assert list(purity_findings(sources())) == []


def test_handlers_import_messages_use_cases_and_app_only() -> None:
    assert list(function_findings(sources())) == []


@pytest.mark.parametrize(
    ("path", "text", "finding"),
    [
        ("oci/a.py", "from pullahead.rules.model import Rules", "oci must not import pullahead.rules.model"),
        ("errors.py", "import pullahead.oci", "errors must not import pullahead.oci"),
        ("rules/a.py", "from pullahead.mirrors import judge", "rules must not import pullahead.mirrors"),
        ("refresh/a.py", "from pullahead.alerts.text import x", "refresh must not import pullahead.alerts"),
        ("messages.py", "from pullahead.checks.ports import x", "messages must not import pullahead.checks"),
        ("refresh/a.py", "from pullahead.ecr.target import EcrTarget", "refresh must not import pullahead.ecr"),
        ("registry/a.py", "from pullahead.ecr.target import x", "registry must not import pullahead.ecr"),
        ("ecr/a.py", "def f():\n    import pullahead.aws.s3", ":2: ecr must not import pullahead.aws.s3"),
        ("aws/a.py", "from pullahead import app", "aws must not import pullahead.app"),
        ("settings.py", "from pullahead.app import application", "settings must not import pullahead.app"),
        ("app/a.py", "from pullahead.cli import main", "app must not import pullahead.cli"),
        ("app/a.py", "from local.clock import x", "not deployed"),
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
        ("mirrors/a.py", "from pullahead.rules.model import Mirror"),
        ("mirrors/a.py", "from pullahead.rules import model"),
        ("app/a.py", "from pullahead.settings import Settings\nimport boto3, os"),
        ("ecr/a.py", "from pullahead.oci.registries import Target\nfrom pullahead.ecr.b import c"),
        ("__init__.py", "from pullahead.app import application"),
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
    assert len(list(purity_findings([source(f"{PACKAGE}/checks/a.py", text)]))) >= 1
    assert list(purity_findings([source(f"{PACKAGE}/aws/a.py", text)])) == []


@pytest.mark.parametrize(
    "text",
    [
        "import boto3",
        "import os",
        "from pullahead.aws.s3 import S3Plans",
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
