"""Script what goes wrong and remember what was asked. Refuses to know what an operation does.

Operations are called as in the ECR API ("PutImage", "UploadLayerPart", …). What comes by the Docker endpoint is
named "v2:…" (local.ecr.v2 lists the names), and a download from a presigned URL "DownloadBlob".
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from local.ecr.errors import EcrError

_REMEMBERED_CALLS = 100_000


class Call(NamedTuple):
    """One request: what was asked of which repository, without the bytes it carried."""

    operation: str
    repository: str | None
    parameters: Mapping[str, Any]


class CallLog:
    """The requests in the order in which they came, refused ones included; the oldest go beyond 100,000."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=_REMEMBERED_CALLS)
        self._lock = threading.Lock()

    def record(self, call: Call) -> None:
        """Remember one request."""
        with self._lock:
            self._calls.append(call)

    def count(self, operation: str, repository: str | None = None) -> int:
        """Count the requests for an operation, of one repository or of all."""
        return sum(c.operation == operation and repository in (None, c.repository) for c in self)

    def operations(self) -> list[str]:
        """List the names of the operations in order."""
        return [call.operation for call in self]

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._calls.clear()

    def __iter__(self) -> Iterator[Call]:
        with self._lock:
            return iter(tuple(self._calls))

    def __len__(self) -> int:
        with self._lock:
            return len(self._calls)


class _Fault(NamedTuple):
    code: str
    message: str
    after: bool


class _Hook(NamedTuple):
    run: Callable[[Call], None]
    uses_left: list[int | None]  # one cell; None means without end


class Faults:
    """The script: faults are used up in the order in which they were added, hooks run before the operation."""

    def __init__(self) -> None:
        self._faults: dict[str, deque[_Fault]] = {}
        self._hooks: dict[str, list[_Hook]] = {}
        self._lock = threading.Lock()

    def add(self, operation: str, code: str, *, times: int = 1, after: bool = False, message: str = "") -> None:
        """Let the next calls of an operation fail; `after` lets them take effect first and loses only the answer."""
        text = message or ("Rate exceeded" if code == "ThrottlingException" else f"{code} as scripted")
        with self._lock:
            self._faults.setdefault(operation, deque()).extend([_Fault(code, text, after)] * times)

    def before(self, operation: str, hook: Callable[[Call], None], *, times: int | None = None) -> None:
        """Run a function in the caller's thread before an operation: the next `times` times, or always.

        The hook gets the Call and may raise EcrError to make the operation fail.
        """
        with self._lock:
            self._hooks.setdefault(operation, []).append(_Hook(hook, [times]))

    def clear(self) -> None:
        """Forget all faults and hooks."""
        with self._lock:
            self._faults.clear()
            self._hooks.clear()

    @contextmanager
    def around(self, call: Call) -> Iterator[None]:
        """Play the script around one operation.

        Raises:
            EcrError: as scripted.
        """
        for hook in self._due_hooks(call.operation):
            hook(call)
        fault = self._next_fault(call.operation)
        if fault is not None and not fault.after:
            raise EcrError(fault.code, fault.message)
        yield
        if fault is not None:
            raise EcrError(fault.code, fault.message)

    def _next_fault(self, operation: str) -> _Fault | None:
        with self._lock:
            waiting = self._faults.get(operation)
            return waiting.popleft() if waiting else None

    def _due_hooks(self, operation: str) -> list[Callable[[Call], None]]:
        with self._lock:
            due = [hook for hook in self._hooks.get(operation, ()) if hook.uses_left[0] != 0]
            for hook in due:
                if hook.uses_left[0] is not None:
                    hook.uses_left[0] -= 1
            return [hook.run for hook in due]
