"""A registry to read from and one to write to, which a test makes depart from the specification."""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from pullahead.cli.main import main
from tests.unit.cli.conftest import Ran
from tests.unit.manners.copying import IMAGE
from tests.unit.manners.registry import ImperfectRegistry


@pytest.fixture(scope="module", autouse=True)
def collected() -> Iterator[None]:
    """Clients that nobody uses any more close their connections: hundreds of tests would run out of descriptors."""
    yield
    gc.collect()


@pytest.fixture
def source() -> Iterator[ImperfectRegistry]:
    with ImperfectRegistry() as running:
        running.hold(IMAGE)
        yield running


@pytest.fixture
def target() -> Iterator[ImperfectRegistry]:
    with ImperfectRegistry() as running:
        yield running


class Command(Protocol):
    """Runs a command for which plain HTTP to both registries, and to hosts that a test names, is allowed."""

    def __call__(self, *arguments: str, insecure: Sequence[str] = ()) -> Ran: ...


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without logins, proxies and certificates; returns the home directory."""
    for name in ("DOCKER_CONFIG", "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


@pytest.fixture
def command(
    source: ImperfectRegistry, target: ImperfectRegistry, home: Path, capsys: pytest.CaptureFixture[str]
) -> Command:
    def run(*arguments: str, insecure: Sequence[str] = ()) -> Ran:
        capsys.readouterr()
        hosts = (option for host in (source.host, target.host, *insecure) for option in ("--insecure", host))
        code = main([*arguments, *hosts])
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return run


class CopyCommand(Protocol):
    """Runs `pullahead copy` from the source's team/app:1.0 to the target's mirror/app:1.0."""

    def __call__(self, *options: str, insecure: Sequence[str] = ()) -> Ran: ...


@pytest.fixture
def copy_command(command: Command, source: ImperfectRegistry, target: ImperfectRegistry) -> CopyCommand:
    def run(*options: str, insecure: Sequence[str] = ()) -> Ran:
        names = (f"{source.host}/team/app:1.0", f"{target.host}/mirror/app:1.0")
        return command("copy", *names, *options, insecure=insecure)

    return run
