"""What the core asks of what remembers pulls: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Protocol

from pullahead.mirrors.demand import Demand


class KeepsDemands(Protocol):
    """Remembers what was demanded."""

    def load(self, keys: Sequence[str]) -> Mapping[str, Demand]:
        """Read the demands of mirrors, perhaps a second old; unknown ones are left out. Raises: StorageError."""
        ...

    def save(self, demand: Demand, before: Demand | None, expires_at: datetime) -> bool:
        """Write a demand if what is stored is still `before` (None: nothing); tells whether it was.

        Raises: StorageError.
        """
        ...


class CountsDemands(Protocol):
    """Counts the new mirrors of a rule, day by day."""

    def count(self, rule: str, day: date, limit: int) -> bool:
        """Count one more, unless there are `limit` already; tells whether it was counted. Raises: StorageError."""
        ...


class FollowsDemands(KeepsDemands, Protocol):
    """Goes through what was demanded of a rule, and forgets."""

    def of_rule(self, rule: str) -> Iterator[Demand]:
        """Read all demands of a rule, the longest unpulled first, perhaps a second old.

        Raises, while iterating: StorageError.
        """
        ...

    def forget(self, demand: Demand) -> bool:
        """Remove a demand unless it has changed; tells whether it was removed. Raises: StorageError."""
        ...


class DemandStore(CountsDemands, FollowsDemands, Protocol):
    """All of it."""
