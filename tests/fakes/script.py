"""What goes wrong, when, and what was asked: one script that several fakes share. Decides nothing a port decides.

Operations are named as the methods of `pullahead.ports`.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

_T = TypeVar("_T")


class Killed(BaseException):
    """The process was killed. No `except Exception` catches it."""


class _Fault(NamedTuple):
    error: BaseException
    after: bool


class Script:
    """The calls so far in order, and the faults and hooks that wait for the calls to come."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.kill_at: int | None = None  # the number of the call before which the process dies
        self._faults: dict[str, deque[_Fault | None]] = {}
        self._hooks: dict[str, deque[Callable[[], object] | None]] = {}
        self._lock = threading.Lock()

    def fail(
        self, operation: str, error: BaseException, *, times: int = 1, after: bool = False, passing: int = 0
    ) -> None:
        """Let the next calls of an operation fail, once `passing` ones have gone well.

        `after` lets them take effect first and loses only the answer.
        """
        self._faults.setdefault(operation, deque()).extend([None] * passing + [_Fault(error, after)] * times)

    def before(self, operation: str, hook: Callable[[], object], *, passing: int = 0) -> None:
        """Run a function before the next call of an operation, once `passing` ones have gone by."""
        self._hooks.setdefault(operation, deque()).extend([None] * passing + [hook])

    def count(self, *operations: str) -> int:
        """Count the calls of some operations."""
        return sum(call in operations for call in self.calls)

    def resume(self) -> None:
        """Start a new process after a kill: the recorded calls are cleared, scripted faults stay."""
        self.kill_at = None
        self.calls.clear()

    @contextmanager
    def call(self, operation: str) -> Iterator[None]:
        """Play the script around one call."""
        with self._lock:
            number = len(self.calls)
            self.calls.append(operation)
            hook = _next(self._hooks, operation)
            fault = _next(self._faults, operation)
        if number == self.kill_at:
            raise Killed(operation)
        if hook is not None:
            hook()
        if fault is not None and not fault.after:
            raise fault.error
        yield
        if fault is not None:
            raise fault.error


def _next(waiting: dict[str, deque[_T | None]], operation: str) -> _T | None:
    return waiting[operation].popleft() if waiting.get(operation) else None
