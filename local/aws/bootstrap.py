"""Starts AWS's own runtime client inside a sandbox. Run by path, by an isolated Python that sees no site-packages.

Decides what is importable: the function, its layers, the Lambda runtime, and nothing else. It may import nothing of
this repository but what the layers bring.

With arguments, which are folders of packages, it imports what every function imports and then forks a sandbox for each
line that it reads (`sandbox_processes.py` has the other end): half a second of imports is done once only.
"""

import functools
import gc
import importlib
import importlib.util
import json
import os
import resource
import runpy
import select
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

# What functions import and what reads no environment when it is imported (the runtime client does).
PRELOADED = (
    "asyncio",
    "botocore.session",
    "requests",
    "yaml",
    "aws_lambda_powertools",
    "aws_lambda_powertools.utilities.typing",
    "encodings.utf_8_sig",
    "pullahead.app",
    "pullahead.alerts.chatbot",
    "pullahead.alerts.review",
    "pullahead.aws.notifications",
    "pullahead.aws.pauses",
    "pullahead.aws.shared_rates",
    "pullahead.aws.sqs",
    "pullahead.aws.stepfunctions",
    "pullahead.aws.upstream_credentials",
    "pullahead.checks.handle_message",
    "pullahead.checks.schedule",
    "pullahead.ecr.streams",
    "pullahead.ecr.target",
    "pullahead.on_demand.follow",
    "pullahead.refresh.copy_unit",
    "pullahead.refresh.plan",
    "pullahead.refresh.publish",
    "pullahead.refresh.record_outcome",
    "pullahead.registry.client",
    "pullahead.rules.load",
    "pullahead.lambdas.log_lines",
    "pullahead.lambdas.metrics",
)
# Of whom most functions make clients: what botocore knows of them is half of what a cold start takes.
PREREAD = ("dynamodb", "ecr", "s3", "sqs", "stepfunctions")


def main() -> None:
    """Set limits, path and clock, then hand over to awslambdaric with the handler's name."""
    _limit_memory(int(os.environ.pop("LOCAL_ADDRESS_SPACE_BYTES")))
    sys.path[:0] = _import_path()
    _set_clock(Path(os.environ["LOCAL_CLOCK_FILE"]))
    _stand_in_for_native_client()
    sys.argv = ["bootstrap", os.environ["_HANDLER"]]
    runpy.run_module("awslambdaric", run_name="__main__")


def _limit_memory(address_space_bytes: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (address_space_bytes, hard))
    except (ValueError, OSError) as error:  # macOS has no working RLIMIT_AS
        print(f"no memory limit on this system: {error}", file=sys.stderr)


def _import_path() -> list[str]:
    """Order as in Lambda: the function, then its layers, then the runtime."""
    opt = Path(os.environ["LOCAL_OPT_DIRECTORY"])
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    layers = [opt / "python" / "lib" / version / "site-packages", opt / "python"]
    return [os.environ["LAMBDA_TASK_ROOT"], *map(str, layers), os.environ["LOCAL_RUNTIME_DIRECTORY"]]


def _set_clock(offset_file: Path) -> None:
    if importlib.util.find_spec("pullahead") is None or importlib.util.find_spec("pullahead.app") is None:
        return
    try:
        from pullahead.app import use_clock
    except ImportError:
        traceback.print_exc()  # the handler's own import fails next, and Lambda's error for that is the one to see
        return

    def clock() -> datetime:
        try:
            offset_seconds = float(offset_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            offset_seconds = 0.0
        return datetime.now(UTC) + timedelta(seconds=offset_seconds)

    use_clock(clock)


def _stand_in_for_native_client() -> None:
    if importlib.util.find_spec("runtime_client") is not None:
        return
    spec = importlib.util.spec_from_file_location("runtime_client", Path(__file__).with_name("runtime_client.py"))
    if spec is None or spec.loader is None:
        raise ImportError("runtime_client.py is not beside bootstrap.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["runtime_client"] = module
    spec.loader.exec_module(module)


def serve(folders: list[str]) -> None:
    """Fork for each request that is read, and report each process that ends. Returns in the forked processes only."""
    path = list(sys.path)
    sys.path[:0] = folders
    for name in PRELOADED:
        with suppress(Exception):  # this layer has no such thing, or it is broken: the function's own import says so
            importlib.import_module(name)
    with suppress(Exception):
        _read_botocore_data()
    gc.collect()
    gc.freeze()  # else each that is forked copies nearly all of our memory when it first looks for garbage
    with socket.socket(fileno=os.dup(0)) as requests:
        _fork_for_each(requests)
    sys.path[:] = path


def _read_botocore_data() -> None:
    """Read once, for all that are forked, what each session reads for itself. Makes no connection."""
    from botocore.loaders import JSONFileLoader, Loader
    from botocore.session import get_session

    read = functools.cache(JSONFileLoader().load_file)

    class ReadOnce(JSONFileLoader):
        def load_file(self, file_path: str) -> Any:
            return read(file_path)

    Loader.FILE_LOADER_CLASS = ReadOnce
    session = get_session()
    session.set_credentials("none", "none")
    for service in PREREAD:
        session.create_client(service, "eu-west-1")


def _fork_for_each(requests: socket.socket) -> None:
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    lines = requests.makefile("r", encoding="utf-8")
    while True:
        readable, _, _ = select.select([requests.fileno(), woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            for process_id, status in _ended():
                _write(requests, {"ended": process_id, "status": os.waitstatus_to_exitcode(status)})
        if requests.fileno() in readable:
            line = lines.readline()
            if not line:
                sys.exit()  # whom we fork for is gone
            request = json.loads(line)
            process_id = os.fork()
            if process_id == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(woken)
                os.close(wake)
                lines.close()
                _become(request)
                return
            _write(requests, {"started": process_id})


def _ended() -> list[tuple[int, int]]:
    """Return the processes that ended, with their wait status."""
    ended = []
    with suppress(ChildProcessError):  # there are none
        while (found := os.waitpid(-1, os.WNOHANG))[0] != 0:
            ended.append(found)
    return ended


def _write(requests: socket.socket, message: dict[str, Any]) -> None:
    requests.sendall(json.dumps(message).encode() + b"\n")


def _become(request: dict[str, Any]) -> None:
    """Do what a new process would begin with: its own session, folder, environment, and where it writes to."""
    os.setsid()
    os.chdir(request["directory"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    for opened, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(opened, standard)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1:])
    main()
