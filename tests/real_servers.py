"""Real programs as servers for one test run: started on a free port of 127.0.0.1 in a folder of their own."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import requests.adapters
import urllib3

_REGISTRY_CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "{host}"{tls}}}
"""


@contextlib.contextmanager
def docker_registry(folder: Path, *, auth: str = "", certified: Path | None = None) -> Iterator[str]:
    """Run Debian's docker-registry on a folder and yield its host and port; skip where it is not installed.

    `auth` is a section of its configuration; `certified` the file of a key and a certificate, for TLS.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not on PATH")
    host = f"127.0.0.1:{free_port()}"
    config, log = folder / "config.yml", folder / "registry.log"
    tls = "" if certified is None else f', tls: {{certificate: "{certified}", key: "{certified}"}}'
    config.write_text(_REGISTRY_CONFIG.format(folder=folder / "content", host=host, tls=tls) + auth)
    with (
        log.open("wb") as output,
        subprocess.Popen([program, "serve", config], stdout=output, stderr=output) as process,
    ):
        try:
            _wait_until_it_answers(f"{'http' if certified is None else 'https'}://{host}/v2/", log, certified)
            yield host
        finally:
            process.terminate()


def free_port() -> int:
    """Find an unused port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_it_answers(url: str, log: Path, certified: Path | None) -> None:
    patience = urllib3.Retry(connect=60, backoff_factor=0.01, backoff_max=0.2)
    with requests.Session() as session:
        session.mount(f"{url.partition(':')[0]}://", requests.adapters.HTTPAdapter(max_retries=patience))
        try:
            answer = session.get(url, timeout=10, verify=True if certified is None else str(certified))
            if answer.status_code != 401:  # a registry that wants to know who asks is up
                answer.raise_for_status()
        except requests.RequestException as error:
            raise RuntimeError(f"{url} does not answer; its log: {log.read_text()[-2000:]}") from error
