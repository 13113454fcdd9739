"""The code keeps the project's habits; each rule is shown to find what breaks it."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.architecture import code_rules
from tests.architecture.source import ROOT, Source, source, sources

Check = Callable[[Iterable[Source]], Iterator[str]]

CHECKS: list[Check] = [code_rules.patch_findings, code_rules.name_findings, code_rules.handler_findings]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_code_follows_the_rules(check: Check) -> None:
    assert list(check(sources())) == []


def test_no_file_names_a_package_index_or_is_unfinished() -> None:
    assert list(code_rules.text_findings(code_rules.project_texts())) == []


def test_every_text_file_is_checked() -> None:
    paths = {str(path) for path, _ in code_rules.project_texts()}
    assert {"template.yaml", "Makefile", "layers/rules/rules.yaml", "requirements/dev.txt"} <= paths
    assert not any(path.startswith((".venv", ".git/")) for path in paths)


def test_every_package_and_function_is_found() -> None:
    modules = {file.module for file in sources()}
    assert {"pullahead.errors", "pullahead.oci", "pullahead.rules.load", "pullahead.app"} <= modules
    apps = {file.path.parent.name for file in sources() if file.path.parts[0] == "functions"}
    assert apps == {path.name for path in (ROOT / "functions").iterdir() if path.is_dir() and path.name[0] not in "._"}


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (code_rules.patch_findings, "tests/a.py", "def test_a(mocker):\n    mocker.patch('a.b')"),
        (code_rules.patch_findings, "tests/a.py", "def test_a(monkeypatch):\n    monkeypatch.setattr(a, 'b', 1)"),
        (code_rules.name_findings, "local/utils.py", ""),
        (code_rules.name_findings, "tests/helpers.py", ""),
        (code_rules.name_findings, "local/a.py", "class UploadManager: ..."),
        (code_rules.handler_findings, "functions/a/app.py", "import boto3"),
        (code_rules.handler_findings, "functions/a/app.py", "from os import environ"),
        (code_rules.handler_findings, "functions/a/app.py", "from pullahead.aws.s3 import S3PlanStore"),
        (code_rules.handler_findings, "functions/a/app.py", "from pullahead.oci import Digest"),
        (code_rules.handler_findings, "functions/a/app.py", "import local"),
    ],
)
def test_violation_is_found(check: Check, path: str, text: str) -> None:
    assert len(list(check([source(path, text)]))) >= 1


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (code_rules.patch_findings, "tests/a.py", "def test_a(monkeypatch):\n    monkeypatch.setenv('a', 'b')"),
        (code_rules.patch_findings, "local/a.py", "client.patch(url)"),
        (code_rules.handler_findings, "functions/a/app.py", "from pullahead.app import application"),
        (code_rules.handler_findings, "local/app.py", "import boto3"),
    ],
)
def test_compliant_code_is_accepted(check: Check, path: str, text: str) -> None:
    assert list(check([source(path, text)])) == []


@pytest.mark.parametrize(
    "text",
    ["--index" + "-url https://example.com", "https://py" + "pi.org/simple", "# TO" + "DO: later", "FIX" + "ME"],
)
def test_forbidden_text_is_found(text: str) -> None:
    assert len(list(code_rules.text_findings([(Path("a.md"), f"first\n{text}\n")]))) == 1
