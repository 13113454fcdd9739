"""`bin/pullahead plan`, `check` and `sync` between two real docker-registries: ends, kills, namespaces, platforms."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from local.images import LocalImage, SparseBlob, make_image, make_index
from local.registry import FakeRegistry
from pullahead.oci.media_types import ACCEPT
from tests.e2e.cli_copies import Command, Home
from tests.e2e.processes import ROOT
from tests.polling import until
from tests.real_servers import docker_registry

AMD64 = make_image([70_000, 1_000], seed=1)
ARM64 = make_image([80_000], seed=2, platform="linux/arm64")
WINDOWS = make_image([60_000], seed=3, platform="windows/amd64")
INDEX = make_index([AMD64, ARM64, WINDOWS])
LARGE = SparseBlob(12_000_000, seed=3)
SLOW_BYTES_PER_SECOND = 4_000_000

pytestmark = pytest.mark.real_registry


class Mirrors(NamedTuple):
    """An upstream and a target, and rules between them."""

    upstream: str
    target: str
    command: Command

    @property
    def file(self) -> Path:
        return self.command.folder / "rules.yaml"

    def rules(self, *mirrors: str) -> None:
        settings = "{plain_http: true, private_addresses: true}"
        entries = "".join(f"  - {{{each}}}\n".replace("HOST", self.upstream) for each in mirrors)
        defaults = "defaults: {repository: 'mirror/{path}'}"
        self.file.write_text(
            f"version: 1\n{defaults}\nupstreams: {{'{self.upstream}': {settings}}}\nmirrors:\n{entries}"
        )

    def options(self, command: str) -> list[str]:
        return [command, str(self.file), "--registry", self.target, "--insecure", self.target]

    def run(self, command: str, *options: str) -> "subprocess.CompletedProcess[str]":
        return self.command.run(*self.options(command), *options)

    def home(self, path: str) -> Home:
        return Home(self.target, f"mirror/{path}", {"Accept": ACCEPT})

    def fill(self, image: LocalImage, *references: str) -> None:
        """Let a real upstream have an image, by way of a registry that is made for it."""
        with FakeRegistry() as made:
            made.push(image, "seed", "1")
            for reference in references:
                ran = self.command.run(
                    "copy", f"{made.host}/seed:1", f"{self.upstream}/{reference}", insecure=(made.host, self.upstream)
                )
                assert ran.returncode == 0, ran.stderr


@pytest.fixture
def mirrors(tmp_path: Path) -> Iterator[Mirrors]:
    folders = [tmp_path / name for name in ("upstream", "target", "login")]
    for folder in folders:
        folder.mkdir()
    with docker_registry(folders[0]) as upstream, docker_registry(folders[1]) as target:
        yield Mirrors(upstream, target, Command(folders[2]))


def test_rules_file_is_planned_synced_and_checked_between_real_registries(mirrors: Mirrors) -> None:
    mirrors.fill(AMD64, "team/app:1.0", "team/app:1.1", "team/lib:v1")
    mirrors.fill(INDEX, "other/app:2.0")
    mirrors.rules(
        "upstream: HOST/team/*, tags: [{semver: '>=1'}], newest: 1, name: team",
        "upstream: HOST/other/app, tags: ['2.0'], platforms: [linux/amd64, linux/arm64]",
    )
    plan = json.loads(mirrors.run("plan", "--json").stdout)
    assert {(rule["repository"], tag["tag"]) for rule in plan["rules"] for tag in rule["tags"]} == {
        ("mirror/team/app", "1.1"),
        ("mirror/team/lib", "v1"),
        ("mirror/other/app", "2.0"),
    }
    assert (plan["totals"]["missing"], plan["totals"]["unsized"]) == (3, 0)
    assert mirrors.run("check").returncode == mirrors.run("plan", "--detailed-exitcode").returncode == 3
    synced = json.loads(mirrors.run("sync", "--json").stdout)
    assert synced["totals"]["bytes_copied"] == plan["totals"]["bytes_missing"]
    assert mirrors.home("team/app").lacks(AMD64) == ["tag"]  # which is 1.0, and was not chosen
    assert mirrors.home("team/app").served("1.1") == AMD64.digest
    assert [mirrors.run(command).returncode for command in ("check", "sync", "plan")] == [0, 0, 0]


def test_interrupted_sync_leaves_no_partial_tag_and_the_next_sync_continues(
    mirrors: Mirrors, source: FakeRegistry
) -> None:
    slow = make_image([LARGE, 70_000], seed=5)
    source.push(slow, "team/app", "1.0")
    mirrors = mirrors._replace(upstream=source.host)
    mirrors.rules("upstream: HOST/team/app, tags: ['1.0']")
    source.limit_bytes_per_second = SLOW_BYTES_PER_SECOND
    with subprocess.Popen(
        [str(ROOT / "bin" / "pullahead"), *mirrors.options("sync")],
        env={**os.environ, "DOCKER_CONFIG": str(mirrors.command.folder)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: source.count("GET", LARGE.digest) > 0, "the large blob is on its way")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130
    assert said.endswith("pullahead: interrupted\n")
    assert mirrors.home("team/app").served() is None
    source.limit_bytes_per_second = None
    assert mirrors.run("sync").returncode == 0
    assert mirrors.home("team/app").lacks(slow) == []
