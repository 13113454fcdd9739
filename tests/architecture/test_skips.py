"""Under CI=true a skipped test fails and says why; elsewhere it is skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

SUITE = """
import pytest

@pytest.mark.skipif(True, reason="no docker-registry here")
def test_marked():
    assert True

def test_inside():
    pytest.skip("no skopeo here")

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_failure():
    assert False

def test_passes():
    assert True
"""


def run(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    environment = {**os.environ, "CI": ci, "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "--rootdir", str(folder), str(folder)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_skip_fails_in_ci_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    result = run(tmp_path, "true")
    assert result.returncode == 1
    assert "1 failed, 1 passed, 1 xfailed, 1 error" in result.stdout  # pytest calls a failure of set-up an error
    for reason in ("no docker-registry here", "no skopeo here", "CI=true does not allow"):
        assert reason in result.stdout


def test_module_that_skips_itself_fails_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text("import pytest\npytest.importorskip('no_such_module')\n")
    result = run(tmp_path, "true")
    assert result.returncode != 0
    assert "no_such_module" in result.stdout


@pytest.mark.parametrize("ci", ["", "false"])
def test_skip_is_a_skip_elsewhere(tmp_path: Path, ci: str) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    result = run(tmp_path, ci)
    assert result.returncode == 0
    assert "1 passed, 2 skipped, 1 xfailed" in result.stdout
