"""What a refresh stores, and what limits how many run at once: slots, and a queue of refreshes that wait for one.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.messages import RefreshRequest
from pullahead.oci import Digest
from pullahead.oci.registries import Target
from pullahead.rules.mirror_key import MirrorKey


class SlotResult(StrEnum):
    """The outcome of a request for a slot."""

    TAKEN = "TAKEN"
    ALREADY_TAKEN = "ALREADY_TAKEN"  # by the same refresh, earlier
    FULL = "FULL"  # as many slots are taken as refreshes may run


class RefreshSlots(Protocol):
    """One slot for each refresh that may run at once, taken under its execution's name until a given time."""

    def holders(self) -> Mapping[str, datetime]:
        """Return the names that hold a slot, and until when; strongly consistent. Raises: StorageError."""
        ...

    def take(self, name: str, now: datetime, until: datetime, at_most: int) -> SlotResult:
        """Take a slot unless `at_most` are taken; one of this name that has expired is taken again.

        Raises: StorageError.
        """
        ...

    def renew(self, name: str, before: datetime, until: datetime) -> None:
        """Extend a slot that still expires at `before`. Raises: StorageError."""
        ...

    def release(self, name: str, before: datetime | None = None) -> None:
        """Free a slot, where `before` is given only if it still expires then. Raises: StorageError."""
        ...


class WaitingRefresh(NamedTuple):
    """A refresh that waits for a slot, at most one of a mirror. `request` is None where this version cannot read it."""

    mirror: MirrorKey
    name: str
    request: RefreshRequest | None


class WaitingRefreshes(Protocol):
    """Stores the refreshes that wait for a slot."""

    def add(self, request: RefreshRequest) -> None:
        """Add a refresh, replacing another of its mirror; the same again changes nothing. Raises: StorageError."""
        ...

    def oldest_first(self, page: int) -> Iterator[WaitingRefresh]:
        """Read the refreshes, the longest stale mirror first, `page` of them at a time, perhaps a second old.

        Raises, while iterating: StorageError.
        """
        ...

    def remove(self, refresh: WaitingRefresh) -> None:
        """Remove a refresh, unless it was replaced by another of its mirror. Raises: StorageError."""
        ...

    def count(self) -> int:
        """Count the refreshes, perhaps a second old. Raises: StorageError."""
        ...


class PublishTarget(Target, Protocol):
    """A target that also says which manifests it has."""

    def present_manifests(self, repository: str, digests: Sequence[Digest]) -> Sequence[Digest]:
        """Return those of `digests` that come before the first one that the target lacks.

        Raises: as `Target.published_digests`.
        """
        ...


class PlanStore(Protocol):
    """Stores what is too large for the state machine's payload, by key, for a few days."""

    def read(self, key: str) -> bytes:
        """Read an object. Raises: StorageError, also where it does not exist."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Write an object. Raises: StorageError."""
        ...


class StartResult(StrEnum):
    """The outcome of a request to start a refresh."""

    STARTED = "STARTED"
    RUNNING = "RUNNING"  # the same refresh runs
    SUCCEEDED = "SUCCEEDED"  # the same refresh has succeeded
    ENDED = "ENDED"  # the same refresh has failed or was stopped
    WAITING = "WAITING"  # no slot is free; it starts when another refresh has ended


class RefreshExecutions(Protocol):
    """Starts executions of the refresh state machine, at most one of a name, and tells whether they run."""

    def start(self, request: RefreshRequest) -> StartResult:
        """Start a refresh under its own name. Raises: StorageError."""
        ...

    def state_of(self, name: str) -> StartResult | None:
        """Return RUNNING, SUCCEEDED or ENDED; None if no execution of this name was started. Raises: StorageError."""
        ...

    def is_running(self, name: str) -> bool:
        """Return whether an execution of this name is running. Raises: StorageError."""
        ...
