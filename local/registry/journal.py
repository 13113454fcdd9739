"""What the fake registry was asked, in order. Holds no credential: only whether one was sent."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class RecordedRequest:
    """One request. Status and bytes are noted before they are sent, so that who has read them finds them here."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # names in lower case, without Authorization
    authorized: bool  # whether there was an Authorization
    status: int = 0
    bytes_sent: int = 0  # of the body


class Journal:
    """Requests in the order of their coming."""

    def __init__(self) -> None:
        self._requests: list[RecordedRequest] = []
        self._lock = threading.Lock()

    def begin(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> RecordedRequest:
        """Note a request that has come."""
        lowered = {name.lower(): value for name, value in headers.items()}
        authorized = lowered.pop("authorization", None) is not None
        request = RecordedRequest(method, path, query, lowered, authorized)
        with self._lock:
            self._requests.append(request)
        return request

    def list(self) -> list[RecordedRequest]:
        """List what has come until now."""
        with self._lock:
            return list(self._requests)

    def count(self, method: str, path_regex: str) -> int:
        """Count requests of a method whose path holds a match."""
        return sum(1 for request in self.list() if request.method == method and re.search(path_regex, request.path))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._requests.clear()
