"""`bin/pullahead` as a user runs it, between a fake registry and Debian's docker-registry: ends, kills, terminals."""

import json
import os
import pty
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from local.images import LocalImage, SparseBlob, make_image, make_index
from local.registry import FakeRegistry
from pullahead.oci import digest_of
from tests.e2e.processes import ROOT
from tests.real_servers import docker_registry

PROGRAM = ROOT / "bin" / "pullahead"
LARGE = SparseBlob(12_000_000, seed=3)
INDEX = make_index([make_image([LARGE, 70_000], seed=1), make_image([80_000], seed=2, platform="linux/arm64")])
ACCEPT = {"Accept": "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"}
SLOW_BYTES_PER_SECOND = 4_000_000

pytestmark = pytest.mark.real_registry


class Ends(NamedTuple):
    """A source, a target, and the command that copies between them."""

    source: FakeRegistry
    target: str
    environment: dict[str, str]

    def command(self, *options: str) -> list[str]:
        names = [f"{self.source.host}/team/app:1.0", f"{self.target}/mirror/app:1.0"]
        return [str(PROGRAM), "copy", *names, "--insecure", self.source.host, "--insecure", self.target, *options]

    def copy(self, *options: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        """Copy, and wait."""
        return subprocess.run(
            self.command(*options),
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self) -> "subprocess.Popen[str]":
        """Begin to copy slowly, and wait until the large blob is on its way."""
        self.source.limit_bytes_per_second = SLOW_BYTES_PER_SECOND
        pipe = subprocess.PIPE
        process = subprocess.Popen(self.command(), env=self.environment, stdout=pipe, stderr=pipe, text=True)
        wait_for(lambda: self.source.count("GET", LARGE.digest) > 0)
        return process

    def served(self) -> str | None:
        """Ask the target which digest its tag has."""
        answer = requests.head(f"http://{self.target}/v2/mirror/app/manifests/1.0", headers=ACCEPT, timeout=10)
        return answer.headers.get("Docker-Content-Digest") if answer.status_code == 200 else None

    def serves(self, image: LocalImage) -> None:
        """Read all of an image back, byte for byte."""
        base = f"http://{self.target}/v2/mirror/app"
        assert self.served() == image.digest
        for digest, manifest in image.manifests.items():
            assert requests.get(f"{base}/manifests/{digest}", headers=ACCEPT, timeout=10).content == manifest.content
        for digest in image.blobs:
            assert digest_of(requests.get(f"{base}/blobs/{digest}", timeout=10).content) == digest


def wait_for(happened: Callable[[], bool]) -> None:
    """Wait until something has happened, for at most 20 seconds."""
    until = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        threading.Event().wait(0.02)


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[Ends]:
    environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
    with docker_registry(tmp_path) as target, FakeRegistry() as source:
        source.push(INDEX, "team/app", "1.0")
        yield Ends(source, target, environment)


def test_target_serves_the_source_byte_for_byte(ends: Ends) -> None:
    ran = ends.copy("--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["blobs_copied"] == len(INDEX.blobs)
    ends.serves(INDEX)
    assert ends.copy().returncode == 0


def test_each_manifest_and_blob_is_requested_once(ends: Ends) -> None:
    ends.copy("--quiet")
    assert ends.source.count("GET", "/manifests/") == len(INDEX.manifests)
    assert ends.source.count("GET", "/blobs/") == len(INDEX.blobs)
    assert len(ends.source.requests) == len(INDEX.manifests) + len(INDEX.blobs)


def test_program_runs_from_any_folder_through_a_link(ends: Ends, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    (elsewhere / "requests.py").write_text("raise SystemExit('imported from where somebody stands')")
    link = elsewhere / "pa"
    link.symlink_to(os.path.relpath(PROGRAM, elsewhere))
    command = [str(link), *ends.command()[1:]]
    ran = subprocess.run(command, cwd=elsewhere, env=ends.environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ends.served() == INDEX.digest


def test_ctrl_c_leaves_the_tag_and_keeps_complete_blobs(ends: Ends) -> None:
    process = ends.start()
    wait_for(lambda: ends.source.count("GET", "/blobs/") == len(INDEX.blobs))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (130, "", "pullahead: interrupted\n")
    assert ends.served() is None
    ends.source.limit_bytes_per_second = None
    document = json.loads(ends.copy("--json").stdout)
    assert document["blobs_present"] >= 1
    assert document["blobs_copied"] + document["blobs_present"] == len(INDEX.blobs)
    ends.serves(INDEX)


def test_kill_leaves_no_tag_and_the_next_copy_succeeds(ends: Ends) -> None:
    process = ends.start()
    process.kill()
    process.communicate(timeout=10)
    assert ends.served() is None
    ends.source.limit_bytes_per_second = None
    assert ends.copy("--quiet").returncode == 0
    ends.serves(INDEX)


def test_upstream_that_is_down_is_one_line_and_exit_code_one(ends: Ends) -> None:
    ends.source.down = True
    ran = ends.copy()
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("pullahead: reading the manifest of ")
    assert ran.stderr.count("\n") == 1


def test_terminal_shows_bars_and_wipes_them(ends: Ends) -> None:
    ends.source.limit_bytes_per_second = 2 * SLOW_BYTES_PER_SECOND
    ours, theirs = pty.openpty()
    environment = {**ends.environment, "TERM": "xterm-256color", "COLUMNS": "100"}
    pipe = subprocess.PIPE
    with subprocess.Popen(ends.command(), env=environment, stdout=pipe, stderr=theirs, text=True) as process:
        os.close(theirs)
        shown = _read_terminal(ours)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out.startswith("copied ")
    assert LARGE.digest.removeprefix("sha256:")[:12] in shown
    assert shown.rstrip().endswith("\x1b[2K")  # the bars are wiped
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h") == 1  # and the cursor is back


def test_closed_pipe_ends_the_program_silently(ends: Ends) -> None:
    for number in range(9000):
        ends.source.content.tag("team/app", f"v{number:020}", INDEX.digest)
    command = f"'{PROGRAM}' tags {ends.source.host}/team/app --insecure {ends.source.host} | head -1"
    ran = subprocess.run(command, shell=True, env=ends.environment, capture_output=True, text=True, check=False)  # noqa: S602
    assert (ran.stdout, ran.stderr) == ("1.0\n", "")


def _read_terminal(descriptor: int) -> str:
    shown = b""
    while True:
        try:
            piece = os.read(descriptor, 65536)
        except OSError:  # how Linux reports that the other end was closed
            piece = b""
        if not piece:
            os.close(descriptor)
            return shown.decode()
        shown += piece
