"""The tools and their command lines. A tool that is not on this machine is left out."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.results import OURS

_ROOT = Path(__file__).parent.parent
_OUR_PROGRAM = _ROOT / "bin" / "pullahead"


class Copy(NamedTuple):
    """One copy to be made: `host:port/repository:tag` on each side, both plain HTTP. `all_platforms`: of an index."""

    source: str
    target: str
    all_platforms: bool

    @property
    def hosts(self) -> tuple[str, str]:
        """The registry of the source, and that of the target."""
        return self.source.partition("/")[0], self.target.partition("/")[0]


class Tool(NamedTuple):
    """A program that copies images."""

    name: str
    program: str
    version: str
    command: Callable[[str, Copy], list[str]]

    def copy(self, copy: Copy) -> list[str]:
        """Write the command line."""
        return self.command(self.program, copy)


def find_tools() -> tuple[Tool, ...]:
    """Find the tools that are on this machine, ours first."""
    found = [(name, program) for name in _COMMANDS if (program := _find(name)) is not None]
    return tuple(Tool(name, program, _version(name, program), _COMMANDS[name]) for name, program in found)


def _find(name: str) -> str | None:
    if name == OURS:
        return str(_OUR_PROGRAM) if _OUR_PROGRAM.is_file() else None
    return shutil.which(name)


def _version(name: str, program: str) -> str:
    if name == OURS:
        command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty"]
    else:
        command = [program, "--version" if name == "skopeo" else "version"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    lines = said.stdout.strip().splitlines()
    return lines[0].removeprefix(f"{name} version ") if said.returncode == 0 and lines else "unknown"


def _pullahead(program: str, copy: Copy) -> list[str]:
    insecure = [word for host in copy.hosts for word in ("--insecure", host)]
    return [program, "copy", "--json", *insecure, copy.source, copy.target]


def _skopeo(program: str, copy: Copy) -> list[str]:
    # Without --preserve-digests it may compress a layer anew, which is other work than a copy.
    manner = ["--preserve-digests", *(["--all"] if copy.all_platforms else [])]
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    anybody = ["--insecure-policy", "copy", "--quiet"]
    return [program, *anybody, *manner, *plain, f"docker://{copy.source}", f"docker://{copy.target}"]


def _crane(program: str, copy: Copy) -> list[str]:
    return [program, "copy", "--insecure", copy.source, copy.target]


def _regctl(program: str, copy: Copy) -> list[str]:
    plain = [word for host in copy.hosts for word in ("--host", f"reg={host},tls=disabled")]
    return [program, *plain, "image", "copy", copy.source, copy.target]


def _oras(program: str, copy: Copy) -> list[str]:
    return [program, "copy", "--from-plain-http", "--to-plain-http", copy.source, copy.target]


_COMMANDS: Mapping[str, Callable[[str, Copy], list[str]]] = {
    OURS: _pullahead,
    "skopeo": _skopeo,
    "crane": _crane,
    "regctl": _regctl,
    "oras": _oras,
}
