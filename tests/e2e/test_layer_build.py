"""The layer's Makefile, as `sam build` runs it: it finds a Python that has pip and one that compiles, or says so."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.tags import Tag, compatible_tags, cpython_tags, parse_tag

from tests.architecture.source import ROOT

LAYER = ROOT / "layers" / "pullahead"
SIGNATURES = ROOT / "layers" / "signatures"
WITHOUT_PIP = 'echo "No module named pip" >&2\nexit 1\n'
PLATFORMS = ["--platform", "manylinux2014_aarch64", "--platform", "manylinux_2_28_aarch64"]
GLIBC = 34
"""Of Amazon Linux 2023, on which the runtime python3.13 is: 2.34."""
ARM64 = 183
"""EM_AARCH64 in the header of an ELF file."""
LAMBDA = [*PLATFORMS, "--implementation", "cp", "--python-version", "3.13"]


class Machine:
    """A machine with the programs that are put on it, which write down how they are called, and few others."""

    def __init__(self, folder: Path) -> None:
        self._bin, self._calls, self._artifacts = folder / "bin", folder / "calls", folder / "artifacts"
        self._bin.mkdir()
        for program in ("sh", "bash", "mkdir", "cp", "find", "rm", "test"):
            (self._bin / program).symlink_to(shutil.which(program) or "/bin/sh")

    def put(self, program: str, script: str | None = None) -> None:
        """Put a program on PATH; without a script it is one that works."""
        path = self._bin / program
        path.write_text("#!/bin/sh\n" + (script or f"{self.log(program)}\n"))
        path.chmod(0o755)

    def log(self, program: str) -> str:
        """Write the shell command that logs how a program was called."""
        return f'echo "{program} $*" >> {self._calls}'

    def calls(self) -> list[str]:
        """How programs were called, one line each."""
        return self._calls.read_text().splitlines()

    def build(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the Makefile."""
        return subprocess.run(
            [shutil.which("make") or "make", "-C", str(LAYER), "build-PullaheadLayer"],
            env={"PATH": str(self._bin), "ARTIFACTS_DIR": str(self._artifacts), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def installed_with(self) -> list[str]:
        """What pip was called with to install."""
        (call,) = (line for line in self.calls() if " install " in line)
        return call.split()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_python3_is_taken_where_it_has_pip(machine: Machine) -> None:
    machine.put("python3")
    machine.put("python3.12")
    assert machine.build().returncode == 0
    call = machine.installed_with()
    assert call[:4] == ["python3", "-m", "pip", "install"]
    assert " ".join(LAMBDA) in " ".join(call)


@pytest.mark.parametrize(
    ("other", "command"), [("python3.12", "python3.12 -m pip"), ("pip3", "pip3"), ("uvx", "uvx pip")]
)
def test_another_pip_is_found_where_python3_has_none(machine: Machine, other: str, command: str) -> None:
    machine.put("python3", WITHOUT_PIP)
    machine.put(other)
    assert machine.build().returncode == 0
    assert " ".join(machine.installed_with()).startswith(f"{command} install")


def test_missing_pip_is_an_error_that_names_what_to_install(machine: Machine) -> None:
    machine.put("python3", WITHOUT_PIP)
    done = machine.build()
    assert done.returncode != 0
    assert "apt install python3-pip" in done.stderr
    assert "--use-container" in done.stderr


def test_named_python_is_used_or_refused(machine: Machine) -> None:
    machine.put("python3")
    machine.put("mine", WITHOUT_PIP)
    done = machine.build(PYTHON="mine")
    assert done.returncode != 0
    assert "no pip for mine" in done.stderr


def test_local_wheels_are_used_on_request(machine: Machine) -> None:
    machine.put("python3")
    assert machine.build(PULLAHEAD_BUILD_PLATFORM="host").returncode == 0
    assert "--platform" not in machine.installed_with()


def test_layer_is_compiled_by_the_python_of_the_runtime(machine: Machine) -> None:
    machine.put("python3", f'case "$*" in *version_info*) exit 1;; *) {machine.log("python3")};; esac\n')
    machine.put("python3.13")
    assert machine.build().returncode == 0
    (call,) = (line for line in machine.calls() if "compileall" in line)
    assert call.startswith("python3.13 ")
    assert "--invalidation-mode unchecked-hash" in call
    assert "-p /opt/python" in call


def test_layer_without_bytecode_is_built_and_says_what_is_missing(machine: Machine) -> None:
    machine.put("python3", f'case "$*" in *version_info*) exit 1;; *) {machine.log("python3")};; esac\n')
    done = machine.build()
    assert done.returncode == 0
    assert "no Python 3.13 here" in done.stderr
    assert not any("compileall" in line for line in machine.calls())


def test_two_builds_give_the_same_bytecode_of_every_module(tmp_path: Path) -> None:
    builds = [tmp_path / "first", tmp_path / "second"]
    for build in builds:
        _build_for_this_machine(build)
    first, second = (
        {path.relative_to(build): path.read_bytes() for path in build.rglob("*") if path.is_file()} for build in builds
    )
    assert first == second
    sources = {path for path in first if path.suffix == ".py"}
    cached = {path.parent.parent / f"{path.name.partition('.')[0]}.py" for path in first if path.suffix == ".pyc"}
    assert cached == sources
    flags = {int.from_bytes(content[4:8], "little") for path, content in first.items() if path.suffix == ".pyc"}
    assert flags == {0b01}, "hash-based and unchecked: used whatever times a zip archive gave the files"


def test_layer_of_signatures_is_built_in_the_same_way() -> None:
    """`sam build` copies one folder alone, so that its Makefile cannot include the other one."""
    first, second = (
        [line for line in (each / "Makefile").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        for each in (LAYER, SIGNATURES)
    )
    others = {'\tcp -R pullahead "$(ARTIFACTS_DIR)/python/"'}
    assert [line.replace("Pullahead", "Signatures") for line in first if line not in others] == second


def test_no_package_is_in_both_layers() -> None:
    names = [
        set(re.findall(r"^([a-z0-9-]+)==", (each / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))
        for each in (LAYER, SIGNATURES)
    ]
    assert names[0] & names[1] == set()
    assert {"sigstore", "cryptography"} <= names[1]


@pytest.mark.parametrize("layer", [LAYER, SIGNATURES], ids=lambda layer: layer.name)
def test_layer_for_lambda_has_what_its_python_processor_and_glibc_can_load(tmp_path: Path, layer: Path) -> None:
    """Built by pip of any Python and on any processor, with the wheels that pip chooses of those that there are."""
    _build(tmp_path, "lambda", layer)
    loadable = set(_tags_of_lambda())
    wheels = {path.parent.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.dist-info/WHEEL")}
    assert wheels
    for name, text in wheels.items():
        tags = {tag for line in re.findall(r"^Tag: (.+)$", text, re.MULTILINE) for tag in parse_tag(line.strip())}
        assert tags & loadable, name
    libraries = list(tmp_path.rglob("*.so*"))
    assert libraries
    for library in libraries:
        content = library.read_bytes()
        assert content[:4] == b"\x7fELF", library.name
        assert int.from_bytes(content[18:20], "little") == ARM64, library.name
        assert max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", content)), default=0) <= GLIBC, library.name


def _tags_of_lambda() -> Iterator[Tag]:
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in range(17, GLIBC + 1)]
    yield from cpython_tags((3, 13), platforms=[*platforms, "manylinux2014_aarch64"])
    yield from compatible_tags((3, 13), "cp313", platforms)


def _build_for_this_machine(folder: Path) -> None:
    _build(folder, "host")


def _build(folder: Path, platform: str, layer: Path = LAYER) -> None:
    target = f"build-{layer.name.capitalize()}Layer"
    subprocess.run(
        [shutil.which("make") or "make", "-C", str(layer), target, f"ARTIFACTS_DIR={folder}"],
        env={**os.environ, "PULLAHEAD_BUILD_PLATFORM": platform, "PYTHON": sys.executable},
        capture_output=True,
        timeout=200,
        check=True,
    )


def test_no_requirement_depends_on_the_python_that_pip_runs_in() -> None:
    """pip judges markers by its own Python and not by --python-version."""
    requirements = (LAYER / "requirements.txt").read_text(encoding="utf-8")
    assert [line for line in requirements.splitlines() if ";" in line.partition("#")[0]] == []
