"""Decides which sandbox runs an invocation: a warm one when there is one, else a new one; and remembers them all.

Knows functions by their specification only: moto's own objects end in `functions.py`.
"""

import hashlib
import io
import json
import shutil
import sys
import threading
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from local.aws.activity import Activity
from local.aws.concurrency import AccountConcurrency
from local.aws.lambda_sandbox import FunctionSpec, InvocationOutcome, Sandbox, SandboxDirs
from local.aws.sandbox_processes import ForkServer, Process, Start, start_alone

MAX_RUNNING: Final = 48
MAX_WARM: Final = 32  # more than there are functions, each in two versions
CLOSE_SECONDS: Final = 5.0
MAX_REMEMBERED: Final = 10_000
# The runtime or we ended the sandbox; a handler that merely raised leaves it fit for the next event.
_FATAL_ERRORS: Final = ("Runtime.", "Sandbox.", "Function.")


class Invocation(NamedTuple):
    """One run of a function, as `LocalAws.invocations` lists it."""

    function: str
    event: Any
    outcome: str  # "Succeeded", or the error's type as Step Functions would see it
    duration_seconds: float
    logs: str
    request_id: str
    cold: bool
    process_id: int
    max_memory_megabytes: int | None
    payload: Any


class StoppingError(RuntimeError):
    """The local AWS is being stopped and runs no more functions."""


class Archive(NamedTuple):
    """A zip file and what tells it from others."""

    digest: str
    content: bytes


class FunctionPackage(NamedTuple):
    """A function with what it is made of; layers in their order, the last wins."""

    spec: FunctionSpec
    code: Archive
    layers: Sequence[Archive]


class FunctionPool:
    """All sandboxes of one local AWS."""

    def __init__(
        self,
        directory: Path,
        make_place: Callable[[Path, Path, Path], SandboxDirs],
        activity: Activity,
        on_invocation: Callable[[Invocation], None],
        concurrency: AccountConcurrency,
    ) -> None:
        self._directory = directory
        self._make_place = make_place
        self._activity = activity
        self._on_invocation = on_invocation
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._invoking = 0
        self._unpacking = threading.Lock()
        self._fork_servers: dict[tuple[Path, ...], ForkServer] = {}
        self._running = threading.BoundedSemaphore(MAX_RUNNING)
        self._warm: deque[tuple[str, Sandbox]] = deque()
        self._busy: dict[Sandbox, str] = {}
        self._closed = False
        self._invocations: deque[Invocation] = deque(maxlen=MAX_REMEMBERED)

    @property
    def invocations(self) -> list[Invocation]:
        """Return what ran and ended, oldest first."""
        with self._lock:
            return list(self._invocations)

    def invoke(self, package: FunctionPackage, payload: bytes) -> InvocationOutcome:
        """Run the function on one event and wait for its end.

        Raises:
            StoppingError: no more functions are run.
            ThrottledError: the account's concurrency is used up.
        """
        name = package.spec.name
        with (
            self._activity.during(f"function {name}"),
            self._concurrency.invocation(name),
            self._running,
            self._counted(),
        ):
            key = _key(package)
            sandbox = self._take(key, package.spec.name) or self._start(package)
            try:
                outcome = sandbox.invoke(payload)
            except BaseException:
                sandbox.kill()
                raise
            finally:
                with self._lock:
                    self._busy.pop(sandbox, None)
            self._give_back(key, sandbox, outcome)
            self._remember(package.spec.name, payload, outcome, sandbox.process_id)
        return outcome

    def close(self) -> None:
        """Kill every sandbox; invocations under way end with an error."""
        with self._lock:
            self._closed = True
            warm, busy = [sandbox for _, sandbox in self._warm], list(self._busy)
            self._warm.clear()
        for sandbox in busy:
            sandbox.stop()
        for sandbox in warm:
            sandbox.kill()
        with self._ended:
            self._ended.wait_for(lambda: not self._invoking, timeout=CLOSE_SECONDS)
        with self._unpacking:
            for server in self._fork_servers.values():
                server.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._invoking += 1
        try:
            yield
        finally:
            with self._ended:
                self._invoking -= 1
                self._ended.notify_all()

    def kill_running(self, name: str) -> int:
        """Kill the processes that run a function at this moment, and return how many there were."""
        with self._lock:
            sandboxes = [sandbox for sandbox, function in self._busy.items() if function == name]
        for sandbox in sandboxes:
            sandbox.stop()
        return len(sandboxes)

    def _take(self, key: str, name: str) -> Sandbox | None:
        with self._lock:
            for index in range(len(self._warm) - 1, -1, -1):  # the one used last: others may be let go
                if self._warm[index][0] == key:
                    sandbox = self._warm[index][1]
                    del self._warm[index]
                    self._busy[sandbox] = name
                    return sandbox
        return None

    def _start(self, package: FunctionPackage) -> Sandbox:
        task = self._unpacked("code", [package.code])
        opt = self._unpacked("layers", package.layers)
        scratch = self._directory / "scratch" / package.spec.name
        place = self._make_place(task, opt, scratch)
        sandbox = Sandbox(package.spec, place, self._starter(package.layers, place.runtime))
        with self._lock:
            if not self._closed:
                self._busy[sandbox] = package.spec.name
                return sandbox
        sandbox.kill()
        raise StoppingError("the local AWS is being stopped")

    def _starter(self, layers: Sequence[Archive], runtime: Path) -> Callable[[Start], Process]:
        """Return what starts processes of functions with these layers; a layer of rules needs no server of its own."""
        if sys.platform != "linux":
            return start_alone
        with self._unpacking:
            packages = [folder for layer in layers if (folder := self._extracted(layer) / "python").is_dir()]
            folders = (*packages, runtime)
            if folders not in self._fork_servers:
                if self._closed:  # nobody would end it
                    raise StoppingError("the local AWS is being stopped")
                self._fork_servers[folders] = ForkServer(folders)
            return self._fork_servers[folders].start

    def _give_back(self, key: str, sandbox: Sandbox, outcome: InvocationOutcome) -> None:
        dropped: Sandbox | None = sandbox
        if outcome.error_type is None or not outcome.error_type.startswith(_FATAL_ERRORS):
            with self._lock:
                if not self._closed:
                    self._warm.append((key, sandbox))
                    dropped = self._warm.popleft()[1] if len(self._warm) > MAX_WARM else None
        if dropped is not None:
            dropped.kill()

    def _remember(self, name: str, payload: bytes, outcome: InvocationOutcome, process_id: int) -> None:
        invocation = Invocation(
            function=name,
            event=_decoded(payload),
            outcome=outcome.error_type or "Succeeded",
            duration_seconds=outcome.duration_seconds,
            logs=outcome.logs,
            request_id=outcome.request_id,
            cold=outcome.cold,
            process_id=process_id,
            max_memory_megabytes=outcome.max_memory_megabytes,
            payload=_decoded(outcome.payload),
        )
        with self._lock:
            self._invocations.append(invocation)
        self._on_invocation(invocation)

    def _unpacked(self, kind: str, archives: Sequence[Archive]) -> Path:
        """Return the directory that holds these archives' files, made once per content."""
        digest = hashlib.sha256(repr([archive.digest for archive in archives]).encode()).hexdigest()
        directory = self._directory / kind / digest[:24]
        with self._unpacking:
            if not directory.exists():
                partial = _new_directory(directory.with_suffix(".partial"))
                overlay(partial, [self._extracted(archive) for archive in archives])
                partial.rename(directory)
        return directory

    def _extracted(self, archive: Archive) -> Path:
        """Return the directory with one archive's files: the large layer is extracted once, whatever the rules are."""
        directory = self._directory / "archives" / hashlib.sha256(archive.digest.encode()).hexdigest()[:24]
        if not directory.exists():
            partial = _new_directory(directory.with_suffix(".partial"))
            zipfile.ZipFile(io.BytesIO(archive.content)).extractall(partial)
            partial.rename(directory)
        return directory


def _new_directory(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def overlay(directory: Path, layers: Sequence[Path]) -> None:
    """Fill a directory with links to what layers have: of two files the last counts, folders of the same name merge.

    A layer of rules is replaced often, beside one with thousands of files. Nobody writes to what is linked to.
    """
    for name in sorted({entry.name for layer in layers for entry in layer.iterdir()}):
        found = [layer / name for layer in layers if (layer / name).exists()]
        if len(found) > 1 and found[-1].is_dir():
            (directory / name).mkdir()
            overlay(directory / name, [each for each in found if each.is_dir()])
        else:
            (directory / name).symlink_to(found[-1])


def _key(package: FunctionPackage) -> str:
    """Tell sandboxes apart: changed code or configuration never meets an old process."""
    return repr((package.spec, package.code.digest, [layer.digest for layer in package.layers]))


def _decoded(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")


def report_line(invocation: Invocation) -> str:
    """Sum up an invocation in one line, in the manner of Lambda's REPORT."""
    memory = "?" if invocation.max_memory_megabytes is None else str(invocation.max_memory_megabytes)
    start = "cold" if invocation.cold else "warm"
    milliseconds = invocation.duration_seconds * 1000
    return f"{invocation.function} {invocation.outcome} {milliseconds:.0f} ms, {memory} MB, {start}"
