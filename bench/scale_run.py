"""`python -m bench.scale_run FUNCTION MEMORY_MB TIMEOUT`: run one handler once, and report what it took as JSON.

`status` and `status --stale` run the command instead. CPU is that of the handler without its imports; the time left to
the function passes as fast as it would with the share of a CPU that its memory brings.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_VCPU_MB: Final = 1769
"""With so much memory a function has one vCPU, with less its part (Lambda developer guide, "Configure memory")."""


def cpu_share(memory_mb: int) -> float:
    """Return the share of a CPU that comes with a function's memory; a handler uses one thread, so at most one."""
    return min(1.0, memory_mb / _VCPU_MB)


class Context:
    """What Lambda tells a function."""

    function_name = memory_limit_in_mb = aws_request_id = log_stream_name = "bench"
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:bench"

    def __init__(self, memory_mb: int, timeout: float) -> None:
        self._began, self._share, self._timeout = time.process_time(), cpu_share(memory_mb), timeout

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left."""
        return int(1000 * (self._timeout - (time.process_time() - self._began) / self._share))


def main(function: str, memory_mb: str, timeout: str) -> None:
    """Run it."""
    run = _command(function.split()) if function.startswith("status") else _handler(function)
    began = time.process_time()
    result = run(Context(int(memory_mb), float(timeout)))
    cpu = time.process_time() - began
    peak = _peak_kib() / 1024
    print(json.dumps({"cpu_seconds": cpu, "peak_mib": peak, "result": str(result)[:200]}), file=sys.stderr)


def _peak_kib() -> int:
    """Read the peak of this program's memory: getrusage also counts that of the process from which it was started."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _handler(function: str) -> Callable[[Context], Any]:
    app = importlib.import_module(f"functions.{function}.app")
    return lambda context: app.handler({}, context)


def _command(words: list[str]) -> Callable[[Context], Any]:
    from pullahead.cli.main import main as command  # noqa: PLC0415 - its imports are not a handler's

    return lambda _context: command([*words, "--table", "records"])


if __name__ == "__main__":
    main(*sys.argv[1:])
