"""Faults and hooks that wait for requests: which one meets which request, and how often. Knows no socket."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

from local.registry.answers import Answer


@dataclass
class _Fault:
    method: str | None  # None: any
    path_regex: str
    times: int  # how often it is still to happen
    action: Answer | int | Callable[[], None]

    def meets(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in (None, method) and re.search(self.path_regex, path) is not None


class Faults:
    """What is to go wrong. The fault that was set first happens first; each as often as it was asked for."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def add(self, method: str | None, path_regex: str, times: int, action: Answer | int | Callable[[], None]) -> None:
        """Set a fault: an answer to give instead, a number of bytes to cut a body after, or something to call."""
        with self._lock:
            self._faults.append(_Fault(method, path_regex, times, action))

    def clear(self) -> None:
        """Take back every fault that has not happened yet."""
        with self._lock:
            self._faults.clear()

    def take_hooks(self, method: str, path: str) -> list[Callable[[], None]]:
        """Take everything that is to be called before a request is answered."""
        with self._lock:
            due = [fault for fault in self._faults if callable(fault.action) and fault.meets(method, path)]
            for fault in due:
                fault.times -= 1
            return [fault.action for fault in due if callable(fault.action)]

    def take_answer(self, method: str, path: str) -> Answer | None:
        """Take the answer that is to be given instead of the true one."""
        action = self._take_first(Answer, method, path)
        return action if isinstance(action, Answer) else None

    def take_cut(self, method: str, path: str) -> int | None:
        """Take the number of body bytes after which the connection is to end."""
        action = self._take_first(int, method, path)
        return action if isinstance(action, int) else None

    def _take_first(self, kind: type, method: str, path: str) -> object:
        with self._lock:
            for fault in self._faults:
                if isinstance(fault.action, kind) and fault.meets(method, path):
                    fault.times -= 1
                    return fault.action
            return None
