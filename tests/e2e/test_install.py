"""The wheel of the project, installed in an environment of its own: the `pullahead` command and its dependencies."""

import ast
import os
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

import pullahead
from tests.e2e.processes import ROOT

PACKAGE = ROOT / "layers" / "pullahead" / "pullahead"
NOT_OF_THE_COMMAND_LINE = ("app", "lambdas")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without an index, by the build backend that this environment has."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], check=True, timeout=120)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel in a new environment, which has its dependencies from this one."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120)
    python = environment / "bin" / "python"
    install = ["--python", str(python), "install", "--no-index", "--no-deps", "--quiet", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, timeout=120)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin" / "pullahead"


def run(program: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(program), *arguments]
    return subprocess.run(
        command, cwd=program.parent, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_installed_command_shows_the_version_of_the_package(program: Path) -> None:
    ran = run(program, "--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"pullahead {pullahead.__version__}\n", "")


def test_installed_command_validates_a_rules_file(program: Path) -> None:
    ran = run(program, "validate", str(ROOT / "layers" / "rules" / "rules.yaml"))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "valid" in ran.stdout


def test_installed_command_fails_with_one_line(program: Path) -> None:
    ran = run(program, "tags", "127.0.0.1:1/app")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("pullahead: ")
    assert ran.stderr.count("\n") == 1


def test_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert packed == {str(path.relative_to(PACKAGE.parent)) for path in files}


def test_wheel_has_the_version_of_the_changelog(wheel: Path) -> None:
    (metadata,) = (name for name in ZipFile(wheel).namelist() if name.endswith("/METADATA"))
    version = Parser().parsestr(ZipFile(wheel).read(metadata).decode())["Version"]
    releases = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert releases[0] == "## Unreleased"
    assert releases[1].startswith(f"## {version} (")


def test_every_import_of_the_package_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["verify"]]
    declared = {requirement.split(">=")[0] for requirement in requirements}
    distributions = packages_distributions()
    needed = {
        distributions[name][0].lower().replace("_", "-")
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0] not in NOT_OF_THE_COMMAND_LINE
        for name in imported(path)
        if name in distributions
    }
    assert needed - {"botocore"} == declared  # boto3 requires botocore


def imported(path: Path) -> Iterator[str]:
    """Name the top-level packages that a module imports when it runs."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("mypy_boto3"):
            yield node.module.partition(".")[0]
