"""What a copy takes until its first request has come: starting, importing, reading certificates, shaking hands.

A server of the bench takes the request and, before it answers anything, reads the clock that the kernel keeps of the
client's CPU. Then it ends the client. Children that a client started count for nothing here.
"""

import contextlib
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.authority import HOST, server_context
from bench.copies import Stage
from bench.homes import fresh_home
from bench.measure import CommandFailedError, run_measured
from bench.results import REQUESTS_ALONE, StartResult
from bench.rounds import turns
from bench.tools import NOT_ON_PATH, Copy, Tool

_PATIENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.5  # for whether the client still runs
_ENOUGH = b"\r\n"  # of a request; one by HTTP/2 begins with a line, too


class _Start(NamedTuple):
    cpu_ms: float
    wall_ms: float


def measure_starts(tools: Sequence[Tool], rounds: int, stage: Stage) -> tuple[StartResult, ...]:
    """Start every tool that copies `rounds` times, after a warm-up."""
    tools = [tool for tool in tools if tool.commands.copy is not None]
    stage.say("startup: CPU until the first request")
    starts: dict[str, list[_Start]] = {tool.name: [] for tool in tools}
    problems = {tool.name: NOT_ON_PATH for tool in tools if tool.program is None}
    alone: list[_Start] = []
    with _listening(stage.authority.shown) as listener:
        for number in range(rounds + 1):
            for tool in turns(tools, number):
                if tool.name in problems:
                    continue
                try:
                    starts[tool.name].append(_start(tool, listener, stage.folder))
                except CommandFailedError as error:
                    problems[tool.name] = str(error)
            alone.append(_import_requests(stage.folder))
    results = [_result(tool.name, starts[tool.name], problems.get(tool.name), stage) for tool in tools]
    return (*results, _result(REQUESTS_ALONE, alone, None, stage))


def cpu_seconds_of(process_id: int) -> float:
    """Read the clock of another process's CPU, all threads together (clock_getcpuclockid(3), as Linux numbers it)."""
    return time.clock_gettime((~process_id << 3) | 2)


def _result(name: str, starts: Sequence[_Start], problem: str | None, stage: Stage) -> StartResult:
    if problem is not None:
        stage.say(f"  {name}: {problem}")
        return StartResult(name, problem=problem)
    counted = starts[1:]  # the first one only warms up
    stage.say(f"  {name}: {', '.join(f'{start.cpu_ms:.0f}' for start in counted)} ms")
    return StartResult(name, tuple(start.cpu_ms for start in counted), tuple(start.wall_ms for start in counted))


@contextlib.contextmanager
def _listening(shown: tuple[str, str]) -> Iterator[ssl.SSLSocket]:
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(_LOOK_SECONDS)
        context = server_context(*shown)
        with context.wrap_socket(listener, server_side=True, do_handshake_on_connect=False) as tls:
            yield tls


def _start(tool: Tool, listener: ssl.SSLSocket, folder: Path) -> _Start:
    host = f"{HOST}:{listener.getsockname()[1]}"
    command = tool.copy(Copy(f"{host}/started:1", f"{host}/started:2"))
    with fresh_home(folder) as environment:
        began = time.perf_counter()
        with _process(command, environment, folder / "start.log") as process:
            _take_request(listener, process)
            return _Start(cpu_seconds_of(process.pid) * 1000, (time.perf_counter() - began) * 1000)


@contextlib.contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process:
        try:
            yield process
        except OSError as error:
            said = log.read_text(errors="replace").strip()[-300:]
            raise CommandFailedError(f"no request came: {said or error}") from error
        finally:
            process.kill()


def _take_request(listener: ssl.SSLSocket, process: "subprocess.Popen[bytes]") -> None:
    """Wait for the first bytes of a request; a connection that brings none, such as one to look for TLS, is passed."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            if process.poll() is not None:
                raise
            continue
        connection.settimeout(_PATIENCE_SECONDS)
        with connection, contextlib.suppress(ssl.SSLError, ConnectionError):
            connection.do_handshake()
            if _ENOUGH in connection.recv(65536):
                return
    raise TimeoutError(f"none in {_PATIENCE_SECONDS:g} s")


def _import_requests(folder: Path) -> _Start:
    run = run_measured([sys.executable, "-P", "-c", "import requests"], folder / "cost.txt").run
    return _Start(run.cpu_seconds * 1000, run.wall_seconds * 1000)
