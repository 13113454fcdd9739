"""What a refresh stores, and what limits how many run at once: slots, and a queue of refreshes that wait for one.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol

from pullahead.messages import CheckRequest, RefreshRequest
from pullahead.oci.registries import ReferrersTarget, Target
from pullahead.rules.mirror_key import MirrorKey

QueueCheck = Callable[[Sequence[CheckRequest], int], None]
"""Queues checks that are received after so many seconds, at most 15 minutes. Raises: StorageError."""


def no_check(_requests: Sequence[CheckRequest], _delay_seconds: int) -> None:
    """Queue none."""


class SlotResult(StrEnum):
    """The outcome of a request for a slot."""

    TAKEN = "TAKEN"
    ALREADY_TAKEN = "ALREADY_TAKEN"  # by the same refresh, earlier
    FULL = "FULL"  # as many slots are taken as refreshes may run
    HOST_FULL = "HOST_FULL"  # as many are taken by refreshes from this upstream registry as it may have


class SlotLimits(NamedTuple):
    """How many slots there are, and how many of them refreshes from one upstream registry may take."""

    slots: int
    of_one_host: int


class Slot(NamedTuple):
    """A slot that is taken: by which execution, from which upstream registry it copies, and until when."""

    name: str
    host: str
    until: datetime


class RefreshSlots(Protocol):
    """One slot for each refresh that may run at once, taken under its execution's name until a given time."""

    def taken(self) -> Mapping[str, int]:
        """Count the taken slots by upstream registry; strongly consistent. Raises: StorageError."""
        ...

    def recount(self) -> None:
        """Correct the counts where they are not those of the slots that there are. Raises: StorageError."""
        ...

    def oldest(self, most: int) -> Sequence[Slot]:
        """Return the slots that expire first, perhaps as they were a second ago. Raises: StorageError."""
        ...

    def take(self, slot: Slot, now: datetime, limits: SlotLimits) -> SlotResult:
        """Take a slot unless the limits are reached; one of this name that has expired is taken again.

        Raises: StorageError.
        """
        ...

    def renew(self, slot: Slot, until: datetime) -> None:
        """Extend a slot that still expires when it did. Raises: StorageError."""
        ...

    def release(self, name: str, before: datetime | None = None) -> None:
        """Free a slot, where `before` is given only if it still expires then. Raises: StorageError."""
        ...


class WaitingRefresh(NamedTuple):
    """A refresh that waits for a slot, at most one of a mirror. `request` is None where this version cannot read it.

    `newer`: a newer version of Pullahead requested it, and will start it; this one leaves it where it is.
    """

    mirror: MirrorKey
    name: str
    since: str
    request: RefreshRequest | None
    newer: bool = False


class WaitingRefreshes(Protocol):
    """Stores the refreshes that wait for a slot, in a line for each upstream registry.

    The hosts that have a line are remembered beside them: at least those whose lines are not empty, unless a process is
    killed in between, or one forgets a host while another adds to its line. Whoever knows of a host looks at its line.
    """

    def add(self, request: RefreshRequest) -> None:
        """Add a refresh, replacing another of its mirror; the same again changes nothing. Raises: StorageError."""
        ...

    def hosts(self) -> frozenset[str]:
        """Return the remembered hosts; strongly consistent. Raises: StorageError."""
        ...

    def remember(self, host: str) -> None:
        """Remember that a host has a line. Raises: StorageError."""
        ...

    def forget(self, host: str) -> None:
        """Forget a host whose line is empty. Raises: StorageError."""
        ...

    def oldest_first(self, host: str, page: int) -> Iterator[WaitingRefresh]:
        """Read a line, the longest stale mirror first, `page` refreshes at a time, perhaps as it was a second ago.

        Raises, while iterating: StorageError.
        """
        ...

    def remove(self, refresh: WaitingRefresh) -> None:
        """Remove a refresh, unless it was replaced by another of its mirror. Raises: StorageError."""
        ...

    def count(self, host: str) -> int:
        """Count the refreshes of a line, perhaps as it was a second ago. Raises: StorageError."""
        ...


class PublishTarget(ReferrersTarget, Target, Protocol):
    """A target that also says which repositories and manifests it has, and keeps referrers."""

    def has_repository(self, repository: str) -> bool:
        """Return whether a repository exists. Raises: as `Target.published_digests`."""
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
