"""The tools and their command lines. Each is optional; one that is not on this machine is named, and does nothing.

All trust the bench's authority by SSL_CERT_FILE (`authority.trusted`).
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.results import BARE_LOOP, OURS

NOT_ON_PATH = "not on PATH"

_HERE = Path(__file__).parent
_ROOT = _HERE.parent
_OUR_PROGRAM = _ROOT / "bin" / "pullahead"
_AT_ONCE = 8


class Copy(NamedTuple):
    """One copy to be made: `host:port/repository:tag` on each side. `all_platforms`: of an index."""

    source: str
    target: str
    all_platforms: bool = False
    plain_http: bool = False

    @property
    def hosts(self) -> tuple[str, str]:
        """The registry of the source, and that of the target."""
        return self.source.partition("/")[0], self.target.partition("/")[0]


class Mirroring(NamedTuple):
    """All tags of `source` to be mirrored to `target`, both `host:port/…/NAME`. `folder` holds what a tool is told.

    The last part of both names is the same, since `skopeo sync` knows no other way. `only_compare`: nothing is stale.
    """

    source: str
    target: str
    tags: tuple[str, ...]
    folder: Path
    only_compare: bool


class Commands(NamedTuple):
    """How a tool is told what to do; None where it does no such thing."""

    copy: Callable[[str, Copy], list[str]] | None = None
    mirror: Callable[[str, Mirroring], list[str]] | None = None


class Tool(NamedTuple):
    """A program that copies images; without one it is not on this machine."""

    name: str
    program: str | None
    version: str
    commands: Commands

    def copy(self, copy: Copy) -> list[str]:
        """Write the command line of a copy."""
        if self.program is None or self.commands.copy is None:
            raise ValueError(f"{self.name} does not copy here")
        return self.commands.copy(self.program, copy)

    def mirror(self, mirroring: Mirroring) -> list[str]:
        """Write the command line that mirrors or compares all tags."""
        if self.program is None or self.commands.mirror is None:
            raise ValueError(f"{self.name} does not mirror here")
        return self.commands.mirror(self.program, mirroring)


def find_tools() -> tuple[Tool, ...]:
    """Find the tools, ours first."""
    return tuple(_find(name, commands) for name, commands in _COMMANDS.items())


def bare_loop() -> Tool:
    """Give the process that does only what every tool must: measured beside the tools, and none of them."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Tool(BARE_LOOP, sys.executable, version, Commands(_bare_copy, _bare_check))


def _find(name: str, commands: Commands) -> Tool:
    ours = str(_OUR_PROGRAM) if _OUR_PROGRAM.is_file() else None
    program = ours if name == OURS else shutil.which(name)
    return Tool(name, program, NOT_ON_PATH if program is None else _version(name, program), commands)


def _version(name: str, program: str) -> str:
    if name == OURS:
        command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    else:
        command = [program, "--version" if name == "skopeo" else "version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    lines = said.stdout.strip().splitlines()
    return lines[0].removeprefix(f"{name} version ") if said.returncode == 0 and lines else "unknown"


def _pullahead(program: str, copy: Copy) -> list[str]:
    plain = [word for host in copy.hosts for word in ("--insecure", host)] if copy.plain_http else []
    return [program, "copy", "--json", *plain, copy.source, copy.target]


def _pullahead_rules(program: str, mirroring: Mirroring) -> list[str]:
    upstream, target = mirroring.source.partition("/")[0], mirroring.target.partition("/")
    rules = {
        "version": 1,
        "upstreams": {upstream: {"private_addresses": True}},
        "mirrors": [{"upstream": mirroring.source, "tags": list(mirroring.tags), "repository": target[2]}],
    }
    file = mirroring.folder / "rules.yaml"
    file.write_text(json.dumps(rules))  # which is YAML, too
    command = "check" if mirroring.only_compare else "sync"
    registry = ["--registry", target[0]] if target[0] else []  # without one it is ECR
    return [program, command, "--json", *registry, str(file)]


def _skopeo(program: str, copy: Copy) -> list[str]:
    # Without --preserve-digests it may compress a layer anew, which is other work than a copy.
    manner = ["--preserve-digests", *(["--all"] if copy.all_platforms else [])]
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"] if copy.plain_http else []
    anybody = ["--insecure-policy", "copy", "--quiet"]
    return [program, *anybody, *manner, *plain, f"docker://{copy.source}", f"docker://{copy.target}"]


def _skopeo_sync(program: str, mirroring: Mirroring) -> list[str]:
    into = mirroring.target.rpartition("/")[0]
    anybody = ["--insecure-policy", "sync", "--preserve-digests", "--all"]
    return [program, *anybody, "--src", "docker", "--dest", "docker", mirroring.source, into]


def _crane(program: str, copy: Copy) -> list[str]:
    return [program, "copy", *(["--insecure"] if copy.plain_http else []), copy.source, copy.target]


def _crane_all_tags(program: str, mirroring: Mirroring) -> list[str]:
    return [program, "copy", "--all-tags", mirroring.source, mirroring.target]


def _regctl(program: str, copy: Copy) -> list[str]:
    plain = [word for host in copy.hosts for word in ("--host", f"reg={host},tls=disabled")] if copy.plain_http else []
    return [program, *plain, "image", "copy", copy.source, copy.target]


def _regsync(program: str, mirroring: Mirroring) -> list[str]:
    config = {
        "version": 1,
        "defaults": {"parallel": _AT_ONCE},
        "sync": [{"source": mirroring.source, "target": mirroring.target, "type": "repository"}],
    }
    file = mirroring.folder / "regsync.yaml"
    file.write_text(json.dumps(config))
    return [program, "once", "--config", str(file)]


def _oras(program: str, copy: Copy) -> list[str]:
    plain = ["--from-plain-http", "--to-plain-http"] if copy.plain_http else []
    return [program, "copy", *plain, copy.source, copy.target]


def _bare_copy(program: str, copy: Copy) -> list[str]:
    script = str(_HERE / "bare_copy.py")
    return [program, "-I", "-S", script, copy.source, copy.target, *(["plain"] if copy.plain_http else [])]


def _bare_check(program: str, mirroring: Mirroring) -> list[str]:
    file = mirroring.folder / "tags.txt"
    file.write_text("\n".join(mirroring.tags))
    return [program, "-I", "-S", str(_HERE / "bare_check.py"), mirroring.source, mirroring.target, str(file)]


_COMMANDS: Mapping[str, Commands] = {
    OURS: Commands(_pullahead, _pullahead_rules),
    "skopeo": Commands(_skopeo, _skopeo_sync),
    "crane": Commands(_crane, _crane_all_tags),
    "regctl": Commands(_regctl),
    "regsync": Commands(None, _regsync),
    "oras": Commands(_oras),
}
