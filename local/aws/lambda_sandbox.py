"""One execution environment: one process under AWS's runtime client, with its timeout, its memory and its logs.

Knows neither moto nor how many sandboxes there are.

Memory: RLIMIT_AS counts what is mapped and not what is used (thread stacks, malloc's arenas), so it is set to the
function's memory plus HEADROOM_BYTES and only stops a runaway. The real limit is judged on the resident set: who used
more than the function has is answered `Runtime.OutOfMemory` afterwards; Lambda would have killed it on the way.
"""

import contextlib
import os
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from local.aws import REGION, SECRET_KEY
from local.aws.log_format import delivered
from local.aws.recorded_calls import access_key_of
from local.aws.runtime_api import RuntimeApi, RuntimeCall, RuntimeResponse, error_answer
from local.aws.sandbox_processes import FIXED_ENVIRONMENT, Process, Start

HEADROOM_BYTES: Final = 1024 * 1024 * 1024
# Lambda gives the initialisation 10 s (developer guide, "Lambda execution environment lifecycle"); a busy laptop more.
INIT_TIMEOUT_SECONDS: Final = 30.0
MAX_LOG_BYTES: Final = 1024 * 1024
_MEBIBYTE: Final = 1024 * 1024


class FunctionSpec(NamedTuple):
    """What a sandbox has to know of its function."""

    name: str
    arn: str
    role: str
    handler: str
    runtime: str
    memory_megabytes: int
    timeout_seconds: float
    log_group: str
    environment: Mapping[str, str]


class SandboxDirs(NamedTuple):
    """Where a sandbox finds its files and its AWS."""

    task: Path
    opt: Path
    runtime: Path
    scratch: Path
    clock: Path
    endpoint: str


class InvocationOutcome(NamedTuple):
    """How one invocation ended."""

    request_id: str
    payload: bytes
    error_type: str | None
    logs: str
    duration_seconds: float
    cold: bool
    max_memory_megabytes: int | None


class Sandbox:
    """A process that answers one invocation at a time."""

    def __init__(self, spec: FunctionSpec, place: SandboxDirs, start: Callable[[Start], Process]) -> None:
        self._spec = spec
        self._api = RuntimeApi()
        self._cold = True
        place.scratch.mkdir(parents=True, exist_ok=True)
        self._log_path = place.scratch / f"{uuid.uuid4().hex}.log"
        environment = _environment(spec, place, self._api.address)
        self._process = start(Start(environment, place.task, self._log_path))
        threading.Thread(target=self._watch, daemon=True, name=f"watch-{spec.name}").start()

    @property
    def process_id(self) -> int:
        """Return the process's number."""
        return self._process.pid

    def invoke(self, payload: bytes) -> InvocationOutcome:
        """Run one invocation to its end: an answer, an error, the timeout or the process's death."""
        request_id, cold = str(uuid.uuid4()), self._cold
        self._cold = False
        answer = self._await_init(request_id)
        started = time.monotonic()
        if answer is None:
            answer = self._run(request_id, payload)
        duration_seconds = time.monotonic() - started
        memory = _resident_megabytes(self._process.pid)
        if answer.error_type is None and memory is not None and memory > self._spec.memory_megabytes:
            answer = _out_of_memory(request_id, memory, self._spec.memory_megabytes)
        return InvocationOutcome(
            request_id, answer.payload, answer.error_type, self._take_logs(), duration_seconds, cold, memory
        )

    def stop(self) -> None:
        """End the process and everything that it started; an invocation under way ends with Runtime.ExitError."""
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End the process and give back all that it had."""
        self.stop()
        self._process.wait()
        self._api.close()
        self._log_path.unlink(missing_ok=True)

    def _await_init(self, request_id: str) -> RuntimeResponse | None:
        """Return the error of a failed initialisation. Its time is not the invocation's, as in Lambda."""
        deadline = time.monotonic() + INIT_TIMEOUT_SECONDS
        while not self._api.ready.wait(0.02):
            answer = self._api.wait_answer(0.0001)
            if answer is not None:
                return answer
            if time.monotonic() > deadline:
                self.stop()
                return error_answer("Sandbox.Timedout", f"RequestId: {request_id} Error: initialisation timed out")
        return None

    def _run(self, request_id: str, payload: bytes) -> RuntimeResponse:
        timeout_seconds = self._spec.timeout_seconds
        self._api.offer(
            RuntimeCall(
                request_id,
                payload,
                deadline_milliseconds=int((time.time() + timeout_seconds) * 1000),
                function_arn=self._spec.arn,
                trace_id=_unsampled_trace(),
            )
        )
        answer = self._api.wait_answer(timeout_seconds)
        if answer is not None:
            return answer
        self.stop()
        message = f"RequestId: {request_id} Error: Task timed out after {timeout_seconds:.2f} seconds"
        return error_answer("Sandbox.Timedout", message)

    def _watch(self) -> None:
        """Answer for a process that can no longer do so."""
        code = self._process.wait()
        how = f"exit status {code}" if code >= 0 else f"signal: {signal.Signals(-code).name}"
        self._api.answer(error_answer("Runtime.ExitError", f"Error: Runtime exited with error: {how}"))

    def _take_logs(self) -> str:
        with self._log_path.open("rb+") as log:
            text = log.read(MAX_LOG_BYTES).decode(errors="replace")
            log.truncate(0)
        lines = text.replace("\r", "\n")  # awslambdaric joins the lines of a traceback by carriage returns
        return delivered(lines, self._spec.environment)


def _environment(spec: FunctionSpec, place: SandboxDirs, runtime_api: str) -> dict[str, str]:
    """Developer guide, "Defined runtime environment variables", and where our files are."""
    log_stream = f"local/[$LATEST]{uuid.uuid4().hex}"
    temporary = place.scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    ours = {
        "LOCAL_ADDRESS_SPACE_BYTES": str(spec.memory_megabytes * _MEBIBYTE + HEADROOM_BYTES),
        "LOCAL_OPT_DIRECTORY": str(place.opt),
        "LOCAL_RUNTIME_DIRECTORY": str(place.runtime),
        "LOCAL_CLOCK_FILE": str(place.clock),
        "TMPDIR": str(temporary),
        "AWS_ENDPOINT_URL": place.endpoint,
    }
    theirs = {
        "_HANDLER": spec.handler,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_megabytes),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec.runtime}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": access_key_of(spec.role),
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LAMBDA_TASK_ROOT": str(place.task),
        "LAMBDA_RUNTIME_DIR": str(place.runtime),
        **FIXED_ENVIRONMENT,
    }
    # There is no change of root, so a path into a layer is rewritten to where this sandbox has its layers.
    functions_own = {
        name: f"{place.opt}{value.removeprefix('/opt')}" if value.startswith("/opt/") else value
        for name, value in spec.environment.items()
    }
    return {**theirs, **functions_own, **ours}


def _unsampled_trace() -> str:
    """Say of every invocation that X-Ray did not sample it, so that nothing is sent to a daemon that is not there."""
    root = f"1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}"
    return f"Root={root};Parent={uuid.uuid4().hex[:16]};Sampled=0"


def _resident_megabytes(process_id: int) -> int | None:
    """Return the most memory that the process ever had; None where the system does not say."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # no /proc, or the process is gone
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return None if found is None else int(found[1]) // 1024


def _out_of_memory(request_id: str, used: int, allowed: int) -> RuntimeResponse:
    message = f"RequestId: {request_id} Error: used {used} MB of {allowed} MB: Lambda would have killed it"
    return error_answer("Runtime.OutOfMemory", message)
