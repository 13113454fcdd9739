"""One fake registry for each test, no login but a test's own, and the command line run in this process."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.registry import FakeRegistry
from local.tests.ecr.harness import RunningEcr, running_ecr
from pullahead.cli.main import main


class Ran(NamedTuple):
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it wrote as JSON."""
        return json.loads(self.out)

    @property
    def failure(self) -> str:
        """The one line of a command that failed."""
        assert self.code == 1
        assert self.out == ""
        assert self.err.startswith("pullahead: ")
        assert self.err.count("\n") == 1
        return self.err


Run = Callable[..., Ran]


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as running:
        yield running


@pytest.fixture(scope="session")
def _ecr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEcr]:
    with running_ecr(tmp_path_factory.mktemp("cli-ecr")) as running:
        yield running


@pytest.fixture
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name where docker's config.json is to be written."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    return tmp_path / "config.json"


@pytest.fixture
def run(registry: FakeRegistry, docker_config: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command for which plain HTTP to the fake registry is allowed."""

    def run_command(*arguments: str, insecure: Sequence[str] = (registry.host,)) -> Ran:
        capsys.readouterr()
        hosts = (option for host in insecure for option in ("--insecure", host))
        code = main([*arguments, *hosts])
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return run_command
