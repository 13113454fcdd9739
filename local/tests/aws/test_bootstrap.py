"""How a sandbox begins: what it can import, what time it has, and what becomes of a function that cannot start."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from local.aws import lambda_sandbox
from local.aws.lambda_sandbox import FunctionSpec, Sandbox, SandboxDirs
from local.aws.runtime_directory import runtime_directory
from local.aws.sandbox_processes import ForkServer, Process, start_alone
from local.aws.sandbox_processes import Start as ProcessStart
from local.clock import LocalClock

SPEC = FunctionSpec("f", "arn:f", "arn:r", "app.handler", "python3.13", 256, 5, "/aws/lambda/f", {})
APP_MODULE = """
from datetime import datetime, UTC
clock = lambda: datetime.now(UTC)
def use_clock(other):
    global clock
    clock = other
"""
TELL_TIME = "from pullahead import app\ndef handler(event, context):\n    return app.clock().isoformat()\n"
Start = Callable[..., Sandbox]
FORKED = pytest.param("forked", marks=pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only"))


@pytest.fixture(scope="module")
def fork_servers() -> Iterator[Callable[[Path], ForkServer]]:
    """Make one server for each folder of packages."""
    servers: dict[Path, ForkServer] = {}

    def server(runtime: Path) -> ForkServer:
        if runtime not in servers:
            servers[runtime] = ForkServer([runtime])
        return servers[runtime]

    yield server
    for made in servers.values():
        made.close()


@pytest.fixture(params=["alone", FORKED])
def start(
    request: pytest.FixtureRequest, tmp_path: Path, fork_servers: Callable[[Path], ForkServer]
) -> Iterator[Start]:
    """Start a sandbox on some source files, in each way."""
    with ExitStack() as stack:

        def start_process(runtime: Path) -> Callable[[ProcessStart], Process]:
            return start_alone if request.param == "alone" else fork_servers(runtime).start

        def make(runtime: Path | None = None, **files: str) -> Sandbox:
            for name, source in files.items():
                path = tmp_path / "task" / f"{name.replace('__', '/')}.py"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(source)
            place = SandboxDirs(
                task=tmp_path / "task",
                opt=tmp_path / "opt",
                runtime=runtime or runtime_directory(),
                scratch=tmp_path / "scratch",
                clock=tmp_path / "clock",
                endpoint="http://127.0.0.1:1",
            )
            sandbox = Sandbox(SPEC, place, start_process(place.runtime))
            stack.callback(sandbox.kill)
            return sandbox

        yield make


def test_function_lives_by_the_local_clock_even_when_it_is_advanced_later(start: Start, tmp_path: Path) -> None:
    clock = LocalClock(tmp_path / "clock")
    sandbox = start(app=TELL_TIME, pullahead__app=APP_MODULE)

    for _ in range(2):
        returned = datetime.fromisoformat(json.loads(sandbox.invoke(b"{}").payload))
        assert abs(returned - clock.now()) < timedelta(seconds=5)
        clock.advance(3600)


def test_package_without_app_is_no_hindrance(start: Start) -> None:
    sandbox = start(app="import pullahead.other\ndef handler(event, context):\n    return 1\n", pullahead__other="")

    assert sandbox.invoke(b"{}").payload == b"1"


def test_sandbox_is_a_process_of_its_own_with_its_own_environment_and_log(start: Start) -> None:
    source = "import os\ndef handler(event, context):\n    print('said')\n    os.environ['LEFT'] = '1'\n"
    source += "    return [os.getpid(), os.getsid(0), os.getcwd(), dict(os.environ)]\n"
    outcomes = [start(app=source).invoke(b"{}") for _ in range(2)]

    seen = [json.loads(outcome.payload) for outcome in outcomes]
    assert all(process == session for process, session, _, _ in seen)
    assert seen[0][0] != seen[1][0]
    assert all(Path(folder).name == "task" for _, _, folder, _ in seen)
    own = {"LEFT", "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_LOG_STREAM_NAME", "_X_AMZN_TRACE_ID"}
    first, second = ({name: value for name, value in each[3].items() if name not in own} for each in seen)
    assert first == second
    assert set(first) & {"HOME", "PYTHONPATH", "VIRTUAL_ENV"} == set()
    assert [outcome.logs.count("said") for outcome in outcomes] == [1, 1]


def test_modules_of_one_function_are_not_those_of_the_next(start: Start) -> None:
    first = start(app="def handler(event, context):\n    return 'first'\n").invoke(b"{}")
    second = start(app="def handler(event, context):\n    return 'second'\n").invoke(b"{}")

    assert [json.loads(outcome.payload) for outcome in (first, second)] == ["first", "second"]


def test_signal_that_ends_the_process_is_named(start: Start) -> None:
    sandbox = start(app="import os, signal\ndef handler(event, context):\n    os.kill(os.getpid(), signal.SIGTERM)\n")

    assert "SIGTERM" in json.loads(sandbox.invoke(b"{}").payload)["errorMessage"]


@pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")
def test_processes_end_as_killed_where_the_fork_server_is_killed(tmp_path: Path) -> None:
    server = ForkServer([runtime_directory()])
    environment = {"LOCAL_ADDRESS_SPACE_BYTES": str(2**31), "LOCAL_OPT_DIRECTORY": "", "LOCAL_CLOCK_FILE": ""}
    start = ProcessStart(environment, tmp_path, tmp_path / "log")
    process = server.start(start)
    os.killpg(os.getpgid(server.pid), signal.SIGKILL)

    assert process.wait() != 0
    with pytest.raises(OSError, match="does not answer"):
        server.start(start)
    server.close()


def test_import_that_fails_is_the_answer_to_the_first_event(start: Start) -> None:
    outcome = start(app="import not_in_the_layer\n").invoke(b"{}")

    assert outcome.error_type == "Runtime.ImportModuleError"
    assert "not_in_the_layer" in json.loads(outcome.payload)["errorMessage"]


def test_app_that_lacks_a_dependency_fails_as_in_lambda(start: Start) -> None:
    outcome = start(app=TELL_TIME, pullahead__app="import not_in_the_layer\n").invoke(b"{}")

    assert outcome.error_type == "Runtime.ImportModuleError"


def test_function_whose_process_dies_at_once_is_an_exit_error(start: Start) -> None:
    outcome = start(app="import os\nos._exit(3)\n").invoke(b"{}")

    assert outcome.error_type == "Runtime.ExitError"
    assert "exit status 3" in json.loads(outcome.payload)["errorMessage"]


def test_sandbox_works_where_the_native_client_is_missing(start: Start, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for path in runtime_directory().iterdir():
        if not path.name.startswith("runtime_client"):
            (runtime / path.name).symlink_to(path)
    source = "import runtime_client\ndef handler(event, context):\n    return [event, runtime_client.__file__]\n"
    sandbox = start(runtime, app=source)

    outcomes = [sandbox.invoke(b'"one"'), sandbox.invoke(b'"two"')]

    stand_in = str(Path(lambda_sandbox.__file__).with_name("runtime_client.py"))
    assert [json.loads(outcome.payload) for outcome in outcomes] == [["one", stand_in], ["two", stand_in]]
