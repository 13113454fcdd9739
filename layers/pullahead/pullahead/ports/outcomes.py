"""What the core asks of whoever tells other programs what became of mirrors: a one-verb protocol."""

from collections.abc import Sequence
from typing import Protocol

from pullahead.freshness.outcome_events import OutcomeEvent


class PublishesOutcomes(Protocol):
    """Puts events where others' programs hear them."""

    def publish(self, events: Sequence[OutcomeEvent]) -> None:
        """Send events, all or error; after an error some may have been sent all the same. Raises: StorageError."""
        ...
