"""What the core asks of what remembers, runs and tells: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.freshness.records import Record
from pullahead.messages import Queued, RefreshRequest
from pullahead.rules.model import Rules


class Heartbeat(NamedTuple):
    """The last time that due mirrors were sent for checking, and by which rules."""

    at: datetime
    rules_digest: str


class Records(Protocol):
    """Remembers mirrors between checks."""

    def load(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Read the records of mirrors, strongly consistent; unknown ones are left out. Raises: StorageError."""
        ...

    def save(self, record: Record, expected_version: int) -> Record:
        """Write a record if its stored version is still `expected_version` (0: not stored yet); returns it with the
        new version. Raises: ConflictError, StorageError."""
        ...

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat. Raises: StorageError."""
        ...

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat. Raises: StorageError."""
        ...


class ScansRecords(Protocol):
    """Reads all that is remembered, for people to look at."""

    def scan(self) -> Iterator[Record]:
        """Go through every record, in no order, perhaps a second old. Raises, while iterating: StorageError."""
        ...


class Plans(Protocol):
    """Keeps what is too large for the state machine's payload, by key, for a few days."""

    def read(self, key: str) -> bytes:
        """Read an object. Raises: StorageError, also where there is none."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Write an object. Raises: StorageError."""
        ...


class Started(StrEnum):
    """What became of asking for a refresh."""

    STARTED = "STARTED"
    RUNNING = "RUNNING"  # the same refresh is under way
    SUCCEEDED = "SUCCEEDED"  # the same refresh has ended well
    ENDED = "ENDED"  # the same refresh was begun and has failed or was stopped
    WAITING = "WAITING"  # as many refreshes run as may; it starts when one of them has ended


class StartsRefreshes(Protocol):
    """Starts the state machine, at most once for a name."""

    def start(self, request: RefreshRequest) -> Started:
        """Start a refresh under its own name. Raises: StorageError."""
        ...


class QueuesChecks(Protocol):
    """Sends checks and listings to the one queue."""

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:
        """Queue requests, all or error, to be received in 15 minutes at the latest. Raises: StorageError."""
        ...


class LoadsRules(Protocol):
    """Finds the rules in force."""

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem."""
        ...
