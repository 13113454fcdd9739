"""What is remembered of pulls.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime
from typing import Protocol

from pullahead.mirrors.demand import Demand
from pullahead.rules.mirror_key import MirrorKey


class DemandStore(Protocol):
    """Stores which mirrors were demanded by a pull, and counts the new ones of each rule."""

    def load(self, keys: Collection[MirrorKey]) -> Mapping[MirrorKey, Demand]:
        """Read the demands of mirrors, perhaps a second old; unknown ones are left out. Raises: StorageError."""
        ...

    def save(self, demand: Demand, before: Demand | None, expires_at: datetime) -> bool:
        """Write a demand if the stored one is still `before` (None: there is none); returns whether it was written.

        Raises: StorageError.
        """
        ...

    def count(self, rule: str, day: date, limit: int) -> bool:
        """Count one more new mirror of a rule on a day, up to `limit`; returns whether it was counted.

        Raises: StorageError.
        """
        ...

    def of_rule(self, rule: str) -> Iterator[Demand]:
        """Read all demands of a rule, the longest unpulled first, perhaps a second old.

        Raises, while iterating: StorageError.
        """
        ...

    def forget(self, demand: Demand) -> bool:
        """Delete a demand unless it has changed; returns whether it was deleted. Raises: StorageError."""
        ...
