"""What a command imports: none waits for the libraries of another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pullahead
from local.images import make_image
from local.registry import FakeRegistry

AWS = {"boto3", "botocore", "aws_lambda_powertools"}
HTTP = {"requests", "urllib3", "http.client", "ssl"}
PROGRAM = """
import sys
from pullahead.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as exited:
    code = exited.code
sys.stderr.write(" ".join(sys.modules))
sys.exit(code)
"""


def imported_by(*arguments: str) -> set[str]:
    """Run a command, which must succeed, in a process of its own, and return the modules that it imported."""
    path = str(Path(pullahead.__file__).parents[1])
    ran = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, *arguments],
        env={**os.environ, "PYTHONPATH": path, "DOCKER_CONFIG": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(ran.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("options", [("--quiet",), ("--json",), ()])
def test_copy_imports_no_aws_no_terminal_and_no_yaml(registry: FakeRegistry, options: tuple[str, ...]) -> None:
    registry.push(make_image([1000], seed=1), "team/app", "1.0")
    source = f"{registry.host}/team/app:1.0"  # which is its own target: a whole copy would only read and send
    imported = imported_by("copy", source, source, "--insecure", registry.host, *options)
    assert "pullahead.standalone.copy_image" in imported
    assert imported.isdisjoint({*AWS, "rich", "yaml", "pullahead.rules.load", "pullahead.cli.stack"})


def test_tags_import_no_aws_no_terminal_and_no_yaml(registry: FakeRegistry) -> None:
    registry.push(make_image([1000], seed=1), "team/app", "1.0")
    imported = imported_by("tags", f"{registry.host}/team/app", "--insecure", registry.host)
    assert "pullahead.registry.client" in imported
    assert imported.isdisjoint({*AWS, "rich", "yaml", "pullahead.registry.push", "pullahead.standalone.copy_image"})


def test_validate_imports_no_aws_and_no_http() -> None:
    imported = imported_by("validate", "--schema")
    assert "pullahead.rules.load" in imported
    assert imported.isdisjoint({*AWS, *HTTP, "rich"})


def test_help_imports_no_command() -> None:
    imported = imported_by("--help")
    assert "pullahead.cli.main" in imported
    assert imported.isdisjoint({*AWS, *HTTP, "rich", "yaml", "pullahead.cli.copy", "pullahead.cli.stack"})
