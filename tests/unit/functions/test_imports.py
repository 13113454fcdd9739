"""What a handler imports at a cold start: nothing that it does not need before its first message."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pullahead.app import NEEDED, Application

ROOT = Path(__file__).parents[3]
FUNCTIONS = sorted(app.parent.name for app in (ROOT / "functions").glob("*/app.py"))
NOT_NEEDED = {"aws_xray_sdk", "boto3", "s3transfer", "yaml", "jinja2", "requests", "re2"}
"""Slow to import. What a use case needs of them is imported when it is made."""

_IMPORT_EACH = """\
import importlib, json, os, sys
from multiprocessing import get_context

def imported(function):
    importlib.import_module(f"functions.{function}.app")
    return sorted({name.partition(".")[0] for name in sys.modules})

if __name__ == "__main__":
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        print(json.dumps({function: pool.apply(imported, (function,)) for function in sys.argv[1:]}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """Import each handler in a process of its own that has imported nothing else."""
    environment = os.environ | {"POWERTOOLS_SERVICE_NAME": "test", "POWERTOOLS_METRICS_NAMESPACE": "Test"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "layers" / "pullahead")])
    command = [sys.executable, "-c", _IMPORT_EACH, *FUNCTIONS]
    done = subprocess.run(
        command, env={**environment, "PYTHONPATH": path}, capture_output=True, text=True, timeout=120, check=True
    )
    return {name: set(modules) for name, modules in json.loads(done.stdout).items()}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_handler_imports_nothing_slow_that_it_may_not_need(function: str, imported: dict[str, set[str]]) -> None:
    assert "pullahead" in imported[function]
    assert imported[function] & NOT_NEEDED == set()


def test_what_each_function_needs_is_made_at_its_start() -> None:
    assert sorted(NEEDED) == FUNCTIONS
    assert {name for names in NEEDED.values() for name in names} <= {*dir(Application)}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_handler_prepares_its_own_function(function: str) -> None:
    text = (ROOT / "functions" / function / "app.py").read_text(encoding="utf-8")
    assert f'prepare("{function}")' in text
