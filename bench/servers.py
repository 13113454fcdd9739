"""Programs that the bench copies between, each a process of its own on a free port of 127.0.0.1, over TLS.

Whoever asks them here trusts the bench's authority by the environment (`authority.trusted`).
"""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from bench.authority import HOST, Authority

_CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: {quiet}}}}}
storage: {{filesystem: {{rootdirectory: {content}}}, delete: {{enabled: true}}}}
http: {{addr: "{host}"{tls}}}
"""
_TLS = ", tls: {{certificate: {authority.certificate}, key: {authority.key}}}"
_PATIENCE_SECONDS = 20
_POLL_SECONDS = 0.05
_REQUEST = re.compile(r'"(HEAD|GET|POST|PUT|PATCH|DELETE) /v2/[^"]*"')
_LOG_SETTLES_SECONDS = 0.2
_REGISTRY = "docker-registry"


class ServerFailedError(Exception):
    """A server of the bench is missing or does not answer."""


class Distribution(NamedTuple):
    """The registry to run: CNCF distribution, as Debian packages it or as its own project builds it."""

    program: str
    version: str


def find_distribution(name: str | None = None) -> Distribution:
    """Find the program by its name or path, and ask its version. Raises ServerFailedError."""
    program = shutil.which(name or _REGISTRY)
    if program is None:
        raise ServerFailedError(f"{name or _REGISTRY} is not on PATH (apt install docker-registry)")
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    return Distribution(program, said.stdout.split()[-1].removeprefix("v") if said.stdout else "unknown")


class Registry(NamedTuple):
    """A running registry."""

    host: str
    content: Path
    log: Path
    plain_http: bool = False

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{'http' if self.plain_http else 'https'}://{self.host}"

    def empty(self) -> None:
        """Forget everything stored. docker-registry keeps nothing of it in memory, as it is set up here."""
        shutil.rmtree(self.content, ignore_errors=True)

    def requests_seen(self) -> Counter[str]:
        """Count the requests in the access log by method, when it is up to date."""
        time.sleep(_LOG_SETTLES_SECONDS)  # an answer comes before its line in the log
        return Counter(_REQUEST.findall(self.log.read_text()))


class Registries(NamedTuple):
    """Starts registries of one kind."""

    distribution: Distribution
    authority: Authority

    @contextlib.contextmanager
    def run(self, folder: Path, content: Path, *, count: bool = False, plain_http: bool = False) -> Iterator[Registry]:
        """Run one until the end of the block; with `count` it writes an access log, which costs it time."""
        folder.mkdir(parents=True, exist_ok=True)
        registry = Registry(f"{HOST}:{free_port()}", content, folder / "registry.log", plain_http)
        config = folder / "config.yml"
        tls = "" if plain_http else _TLS.format(authority=self.authority)
        config.write_text(_CONFIG.format(quiet=str(not count).lower(), content=content, host=registry.host, tls=tls))
        with running([self.distribution.program, "serve", str(config)], f"{registry.url}/v2/", registry.log):
            yield registry


@contextlib.contextmanager
def bench_server(
    module: str, arguments: Sequence[str], log: Path, patience_seconds: int = _PATIENCE_SECONDS
) -> Iterator[str]:
    """Run one of the bench's own servers, `python -m MODULE PORT ...`, and yield its host and port."""
    host = f"{HOST}:{free_port()}"
    command = [sys.executable, "-m", module, host.partition(":")[2], *arguments]
    with running(command, f"https://{host}/v2/", log, patience_seconds):
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
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", url: str, log: Path, patience_seconds: int) -> None:
    until = time.monotonic() + patience_seconds
    while process.poll() is None and time.monotonic() < until:
        try:
            requests.get(url, timeout=10)
        except requests.exceptions.SSLError as error:
            raise ServerFailedError(f"{url} shows a certificate that is not trusted: {error}") from error
        except requests.ConnectionError:
            time.sleep(_POLL_SECONDS)
        else:
            return
    raise ServerFailedError(f"{url} does not answer; its log: {log.read_text()[-2000:]}")
