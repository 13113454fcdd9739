"""Starts the processes of sandboxes: forked from one that has imported the functions' libraries, or each anew.

Forking is for Linux: on macOS, system libraries may not be used in a process that was forked and runs no new program.
`bootstrap.py` is what runs in all of them.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Protocol

BOOTSTRAP: Final = Path(__file__).with_name("bootstrap.py")
# -I and -S: no PYTHON* variable, no working directory, no site-packages of the developer's environment.
ISOLATED_PYTHON: Final = (sys.executable, "-I", "-S", "-u", str(BOOTSTRAP))
# What Python reads once, when it starts.
FIXED_ENVIRONMENT: Final = {"LANG": "en_US.UTF-8", "TZ": ":UTC", "PATH": os.environ.get("PATH", os.defpath)}
START_SECONDS: Final = 60.0
_LOST: Final = -9
"""The exit status of a process that nobody can wait for any more, because the fork server was killed."""


class Start(NamedTuple):
    """What a new process is given. The log is appended to, so that it can be emptied between invocations."""

    environment: Mapping[str, str]
    directory: Path
    log: Path


class Process(Protocol):
    """A running process that leads a session of its own."""

    @property
    def pid(self) -> int:
        """Return its number."""

    def wait(self) -> int:
        """Return the exit status when it ends: a signal's number is negative."""


def start_alone(start: Start) -> Process:
    """Return a new process that imports everything itself."""
    with start.log.open("ab") as log:
        return subprocess.Popen(
            ISOLATED_PYTHON,
            cwd=start.directory,
            env=dict(start.environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class ForkedProcess:
    """A process of the fork server's, to be waited for as for one of ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._ended = threading.Event()
        self._status = 0

    def wait(self) -> int:
        """Return the exit status when it ends: a signal's number is negative."""
        self._ended.wait()
        return self._status

    def end(self, status: int) -> None:
        """Note that it ended."""
        self._status = status
        self._ended.set()


class ForkServer:
    """One process that has imported what it found in `folders`, and those that were forked from it."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._server = subprocess.Popen(
                [*ISOLATED_PYTHON, *map(str, folders)],
                env=FIXED_ENVIRONMENT,
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        self._starting = threading.Lock()
        self._changed = threading.Condition()
        self._processes: dict[int, ForkedProcess] = {}
        self._started: ForkedProcess | None = None
        self._lost = False
        threading.Thread(target=self._read, daemon=True, name="fork-server").start()

    @property
    def pid(self) -> int:
        """Return the number of the server's process."""
        return self._server.pid

    def start(self, start: Start) -> Process:
        """Return a new process that becomes a sandbox.

        Raises:
            OSError: the fork server was killed, or does not answer.
        """
        start.log.touch()
        request = {"environment": dict(start.environment), "directory": str(start.directory), "log": str(start.log)}
        with self._starting:
            with suppress(BrokenPipeError):  # it was killed: nothing is started, which is said below
                self._socket.sendall(json.dumps(request).encode() + b"\n")
            with self._changed:
                self._changed.wait_for(lambda: self._started is not None or self._lost, timeout=START_SECONDS)
                process, self._started = self._started, None
        if process is None:
            raise OSError("the process from which sandboxes are forked does not answer")
        return process

    def close(self) -> None:
        """End the server; processes that run go on."""
        self._socket.close()
        self._server.kill()
        self._server.wait()

    def _read(self) -> None:
        with self._socket.makefile("r", encoding="utf-8") as lines:
            for line in lines:
                self._take(json.loads(line))
        with self._changed:
            self._lost = True
            for process in self._processes.values():
                process.end(_LOST)
            self._changed.notify_all()

    def _take(self, message: Mapping[str, int]) -> None:
        with self._changed:
            if "started" in message:
                self._started = self._processes[message["started"]] = ForkedProcess(message["started"])
                self._changed.notify_all()
            else:
                self._processes.pop(message["ended"]).end(message["status"])
