"""Programs of ours as a user starts them: what they print, what they leave behind. Asserts nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]
_POLL_SECONDS = 0.05


def run_module(*arguments: str, timeout_seconds: float = 240) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` from the repository, as the Makefile does, and wait."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=timeout_seconds, check=False
    )


class RunningModule:
    """A `python -m …` that runs until it is stopped."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process, self._output = process, output

    @property
    def printed(self) -> str:
        """What it printed until now, standard error included."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, happened: Callable[[], bool], what: str, timeout_seconds: float = 90) -> None:
        """Wait until something has happened. Raises RuntimeError where the program ends before, or takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while not happened():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{what}: it did not happen; printed: {self.printed[-4000:]}")
            threading.Event().wait(_POLL_SECONDS)

    def descendants(self) -> set[int]:
        """List the processes that it started, directly or not, and that still live."""
        parents = dict(_processes())
        found = {self._process.pid}
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self._process.pid}

    def interrupt(self) -> int:
        """Send what Ctrl-C sends, and return the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(timeout=30)

    def end(self) -> None:
        """Kill it with all that it started, if it still lives."""
        for process in (*self.descendants(), self._process.pid) if self._process.poll() is None else ():
            os.kill(process, signal.SIGKILL)
        self._process.wait()


@contextmanager
def running_module(
    output: Path, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[RunningModule]:
    """Start `python -m …` with its output in a file; `environment` adds variables."""
    with output.open("wb") as file:
        command = [sys.executable, "-m", *arguments]
        variables = {**_environment(), **environment}
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT)
    module = RunningModule(process, output)
    try:
        yield module
    finally:
        module.end()


def alive(processes: set[int]) -> set[int]:
    """Say which of these processes still live."""
    return processes & {process for process, _ in _processes()}


def _processes() -> Iterator[tuple[int, int]]:
    """Yield every process and its parent; the dead ones that wait are left out."""
    for process, parent, state in map(str.split, _listed()):
        if not state.startswith("Z"):
            yield int(process), int(parent)


def _listed() -> list[str]:
    """List number, parent and state of every process: from /proc, or by `ps`, which small Linux images do not have."""
    if not Path("/proc/self/status").exists():
        command = ["ps", "-A", "-o", "pid=,ppid=,stat="]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    listed = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
            listed.append(f"{folder.name} {status['PPid']} {status['State'].split()[0]}")
    return listed


def _environment() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "layers" / "pullahead")])
    bytecode = str(ROOT / ".build" / "pycache")
    return {**os.environ, "PYTHONPATH": paths, "PYTHONPYCACHEPREFIX": bytecode, "COLUMNS": "120"}
