"""The code keeps the project's habits."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.architecture import code_rules
from tests.architecture.source import Source, source, sources

Check = Callable[[Iterable[Source]], Iterator[str]]

CHECKS: list[Check] = [
    code_rules.patch_findings,
    code_rules.name_findings,
    code_rules.sleep_findings,
    code_rules.swallow_findings,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_code_keeps_the_habits(check: Check) -> None:
    assert list(check(sources())) == []


def test_no_file_names_a_package_index_or_is_unfinished() -> None:
    assert list(code_rules.text_findings(code_rules.project_texts())) == []


def test_texts_of_the_project_are_found() -> None:
    paths = {str(path) for path, _ in code_rules.project_texts()}
    assert {"template.yaml", "Makefile", "layers/rules/rules.yaml", "requirements/dev.txt"} <= paths
    assert not any(path.startswith((".venv", ".git/")) for path in paths)


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (code_rules.patch_findings, "tests/a.py", "from unittest import mock\nmock.patch('a.b')"),
        (code_rules.patch_findings, "tests/a.py", "import unittest.mock\nunittest.mock.patch.object(a, 'b')"),
        (code_rules.patch_findings, "tests/a.py", "from unittest.mock import patch"),
        (code_rules.patch_findings, "tests/a.py", "def test_a(mocker):\n    mocker.patch('a.b')"),
        (code_rules.patch_findings, "tests/a.py", "def test_a(monkeypatch):\n    monkeypatch.setattr(a, 'b', 1)"),
        (code_rules.name_findings, "local/utils.py", ""),
        (code_rules.name_findings, "tests/helpers.py", ""),
        (code_rules.name_findings, "local/a.py", "class UploadManager: ..."),
        (code_rules.sleep_findings, "tests/unit/a.py", "import time\ntime.sleep(1)"),
        (code_rules.sleep_findings, "tests/unit/a.py", "from time import sleep"),
        (code_rules.swallow_findings, "local/a.py", "try:\n    a()\nexcept OSError:\n    pass"),
        (code_rules.swallow_findings, "local/a.py", "try:\n    a()\nexcept OSError:\n    'ignored'\n    ..."),
    ],
)
def test_lost_habit_is_found(check: Check, path: str, text: str) -> None:
    assert len(list(check([source(path, text)]))) >= 1


@pytest.mark.parametrize(
    ("check", "path", "text"),
    [
        (code_rules.patch_findings, "tests/a.py", "def test_a(monkeypatch):\n    monkeypatch.setenv('a', 'b')"),
        (code_rules.patch_findings, "local/a.py", "client.patch(url)"),
        (code_rules.sleep_findings, "tests/polling.py", "import time\ntime.sleep(0.01)"),
        (code_rules.sleep_findings, "tests/unit/b/functions/slow/app.py", "import time\ntime.sleep(60)"),
        (code_rules.sleep_findings, "tests/unit/a.py", "time = FakeTime()\nuse(time.sleep)"),
        (code_rules.sleep_findings, "local/a.py", "import time\ntime.sleep(1)"),
        (code_rules.swallow_findings, "local/a.py", "try:\n    a()\nexcept OSError:\n    b = None"),
    ],
)
def test_kept_habit_is_left_alone(check: Check, path: str, text: str) -> None:
    assert list(check([source(path, text)])) == []


@pytest.mark.parametrize(
    "text",
    ["--index" + "-url https://example.com", "https://py" + "pi.org/simple", "# TO" + "DO: later", "FIX" + "ME"],
)
def test_text_that_does_not_belong_is_found(text: str) -> None:
    assert len(list(code_rules.text_findings([(Path("a.md"), f"first\n{text}\n")]))) == 1
