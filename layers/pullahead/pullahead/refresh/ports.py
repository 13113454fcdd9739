"""What the core asks so that no more refreshes run at once than wanted: slots, and a line. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.messages import RefreshRequest


class SlotResult(StrEnum):
    """What became of asking for a slot."""

    TAKEN = "TAKEN"
    HELD = "HELD"  # by the same refresh already
    FULL = "FULL"  # as many refreshes hold one as may run


class RefreshSlots(Protocol):
    """A slot for each refresh that may run at once, held under its execution's name until a moment."""

    def held(self) -> Mapping[str, datetime]:
        """Tell who holds a slot, and until when; strongly consistent. Raises: StorageError."""
        ...

    def take(self, name: str, now: datetime, until: datetime, at_most: int) -> SlotResult:
        """Take a slot unless `at_most` are held; one of this name that has run out is taken anew.

        Raises: StorageError.
        """
        ...

    def renew(self, name: str, before: datetime, until: datetime) -> None:
        """Hold a slot for longer, if it is still held until `before`. Raises: StorageError."""
        ...

    def release(self, name: str, before: datetime | None = None) -> None:
        """Free a slot, if it is held, and, where that is said, still until `before`. Raises: StorageError."""
        ...


class WaitingRefresh(NamedTuple):
    """What waits in the line: at most one refresh of a mirror. `request` is None where it cannot be read any more."""

    mirror: str
    name: str
    request: RefreshRequest | None


class WaitingRefreshes(Protocol):
    """Remembers which refreshes wait for a slot."""

    def join(self, request: RefreshRequest) -> None:
        """Add a refresh, in place of another of its mirror; the same again changes nothing. Raises: StorageError."""
        ...

    def entries(self, page: int) -> Iterator[WaitingRefresh]:
        """Go through the line from the longest stale on, so many read at a time, perhaps a second old.

        Raises, while iterating: StorageError.
        """
        ...

    def leave(self, entry: WaitingRefresh) -> None:
        """Take an entry out, unless another refresh of its mirror stands there by now. Raises: StorageError."""
        ...

    def length(self) -> int:
        """Count the entries, perhaps a second old. Raises: StorageError."""
        ...


class PlanStore(Protocol):
    """Keeps what is too large for the state machine's payload, by key, for a few days."""

    def read(self, key: str) -> bytes:
        """Read an object. Raises: StorageError, also where there is none."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Write an object. Raises: StorageError."""
        ...


class StartResult(StrEnum):
    """What became of asking for a refresh."""

    STARTED = "STARTED"
    RUNNING = "RUNNING"  # the same refresh is under way
    SUCCEEDED = "SUCCEEDED"  # the same refresh has ended well
    ENDED = "ENDED"  # the same refresh was begun and has failed or was stopped
    WAITING = "WAITING"  # as many refreshes run as may; it starts when one of them has ended


class RefreshExecutions(Protocol):
    """Starts executions of the refresh state machine, at most one of a name, and tells whether they run."""

    def start(self, request: RefreshRequest) -> StartResult:
        """Start a refresh under its own name. Raises: StorageError."""
        ...

    def is_running(self, name: str) -> bool:
        """Return whether an execution of this name is running. Raises: StorageError."""
        ...
