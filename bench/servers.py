"""Programs that the bench copies between, each a process of its own on a free port of 127.0.0.1."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import requests

_CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: {quiet}}}}}
storage: {{filesystem: {{rootdirectory: {content}}}, delete: {{enabled: true}}}}
http: {{addr: "{host}"}}
"""
_PATIENCE_SECONDS = 20
_POLL_SECONDS = 0.05
_REQUEST = re.compile(r'"(?:HEAD|GET|POST|PUT|PATCH|DELETE) /v2/[^"]*"')


class ServerFailedError(Exception):
    """A server of the bench is missing or does not answer."""


class Registry(NamedTuple):
    """A running docker-registry."""

    host: str
    content: Path
    log: Path

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self.host}"

    def empty(self) -> None:
        """Forget everything stored. docker-registry keeps nothing of it in memory, as it is set up here."""
        shutil.rmtree(self.content, ignore_errors=True)

    def requests_seen(self) -> int:
        """Count the requests in the access log."""
        return len(_REQUEST.findall(self.log.read_text()))


@contextlib.contextmanager
def docker_registry(folder: Path, content: Path, *, count: bool = False) -> Iterator[Registry]:
    """Run Debian's docker-registry; with `count` it writes an access log, which costs it time."""
    program = shutil.which("docker-registry")
    if program is None:
        raise ServerFailedError("docker-registry is not on PATH (apt install docker-registry)")
    folder.mkdir(parents=True, exist_ok=True)
    registry = Registry(f"127.0.0.1:{free_port()}", content, folder / "registry.log")
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(quiet=str(not count).lower(), content=content, host=registry.host))
    with running([program, "serve", str(config)], f"{registry.url}/v2/", registry.log):
        yield registry


@contextlib.contextmanager
def bench_server(
    module: str, arguments: Sequence[str], log: Path, patience_seconds: int = _PATIENCE_SECONDS
) -> Iterator[str]:
    """Run one of the bench's own servers, `python -m MODULE PORT ...`, and yield its host and port."""
    host = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", module, host.partition(":")[2], *arguments]
    with running(command, f"http://{host}/v2/", log, patience_seconds):
        yield host


def own_environment() -> dict[str, str]:
    """Let a process of ours import what we import, however we were started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@contextlib.contextmanager
def running(command: Sequence[str], url: str, log: Path, patience_seconds: int = _PATIENCE_SECONDS) -> Iterator[None]:
    """Run a server until the end of the block."""
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=own_environment()) as process,
    ):
        try:
            _wait_until_it_answers(process, url, log, patience_seconds)
            yield
        finally:
            process.terminate()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, log: Path, patience_seconds: int) -> None:
    until = time.monotonic() + patience_seconds
    while process.poll() is None and time.monotonic() < until:
        try:
            requests.get(url, timeout=10)
        except requests.ConnectionError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise ServerFailedError(f"{url} does not answer; its log: {log.read_text()[-2000:]}")
