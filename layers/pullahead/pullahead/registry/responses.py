"""An answer over HTTP whose body is read as it comes. Decides when its connection may be used again.

Source: RFC 9112 (HTTP/1.1), sections 6.3 (message body length) and 9.3 (persistence).
"""

import http.client
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

_LENGTH = re.compile(r"[0-9]{1,18}")


class Headers(Mapping[str, str]):
    """Header fields whose names are alike in upper and lower case; fields of one name are joined by commas."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        joined: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            joined[key] = f"{joined[key]}, {value}" if key in joined else value
        self._fields = joined

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class Response:
    """What a registry answered. To be closed; its connection is kept where the body was read to its end."""

    def __init__(self, url: str, response: http.client.HTTPResponse, finish: Callable[[bool], None]) -> None:
        self.url = url
        self.status_code = response.status
        self.headers = Headers(response.getheaders())
        self._response, self._finish = response, finish
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    @property
    def length(self) -> int | None:
        """How long it says that it is; None where it does not, or where that cannot be true."""
        text = self.headers.get("Content-Length", "")
        return int(text) if _LENGTH.fullmatch(text) else None

    def read1(self, size: int) -> bytes:
        """Read what has come, at most `size` bytes: b"" at the end, and once it is closed.

        Raises: OSError and http.client.HTTPException, also for a body that is shorter than it says.
        """
        if self._closed or self._response.isclosed():
            return b""
        left = self._response.length
        piece = self._response.read1(size)
        if not piece and left:
            raise http.client.IncompleteRead(b"", left)
        return piece

    def close(self) -> None:
        """Give the connection back, or end it where something was left unread."""
        if self._closed:
            return
        self._closed = True
        is_read = self._response.isclosed() or self._response.length == 0
        reusable = is_read and not self._response.will_close
        self._response.close()
        self._finish(reusable)
