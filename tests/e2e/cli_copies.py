"""`bin/pullahead copy` as a process, to registries that are read back by plain requests."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import requests

from local.images import LocalImage
from pullahead.oci import Digest, algorithm_of, digest_of, media_types
from tests.e2e.processes import ROOT

WALL_SECONDS = 120


class Home(NamedTuple):
    """A repository to copy to, and the headers that let it be read."""

    host: str
    repository: str
    headers: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where its manifests and blobs are."""
        return f"http://{self.host}/v2/{self.repository}"

    def served(self, tag: str = "1.0") -> str | None:
        """Ask which digest a tag has."""
        answer = self._get(f"manifests/{tag}")
        return digest_of(answer.content) if answer.status_code == 200 else None

    def lacks(self, image: LocalImage) -> list[str]:
        """Name what cannot be read here byte for byte, the tag included."""
        different = [digest for digest, raw in image.manifests.items() if self._read(f"manifests/{digest}") != raw[1]]
        damaged = [digest for digest in image.blobs if self._digest(digest) != digest]
        tag = [] if self.served() == image.digest else ["tag"]
        return [*different, *damaged, *tag]

    def _digest(self, blob: Digest) -> Digest | None:
        content = self._read(f"blobs/{blob}")
        return None if content is None else digest_of(content, algorithm_of(blob))

    def _read(self, path: str) -> bytes | None:
        answer = self._get(path)
        return answer.content if answer.status_code == 200 else None

    def _get(self, path: str) -> requests.Response:
        accept = {"Accept": media_types.ACCEPT}
        return requests.get(f"{self.url}/{path}", headers={**accept, **self.headers}, timeout=10)


class Command(NamedTuple):
    """The program, with a folder of its own for docker's login."""

    folder: Path

    def run(self, *arguments: str, insecure: Sequence[str] = ()) -> "subprocess.CompletedProcess[str]":
        """Run a command and wait for its end, which must come within two minutes."""
        hosts = [option for host in insecure for option in ("--insecure", host)]
        return subprocess.run(
            [str(ROOT / "bin" / "pullahead"), *arguments, *hosts],
            env={**os.environ, "DOCKER_CONFIG": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=WALL_SECONDS,
            check=False,
        )

    def copy(
        self, source: str, home: Home, *options: str, insecure: Sequence[str] = ()
    ) -> "subprocess.CompletedProcess[str]":
        """Copy to the tag `1.0` of a home."""
        hosts = (source.partition("/")[0], home.host, *insecure)
        return self.run("copy", source, f"{home.host}/{home.repository}:1.0", *options, insecure=hosts)


def failure(ran: "subprocess.CompletedProcess[str]") -> str:
    """Return the one line of a command that failed."""
    assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
    assert ran.stderr.startswith("pullahead: ")
    assert ran.stderr.count("\n") == 1
    return ran.stderr
