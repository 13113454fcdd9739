"""What the core asks about rules that people have paused: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from typing import Protocol


class ListsPauses(Protocol):
    """Tells which rules are paused."""

    def paused_rules(self) -> frozenset[str]:
        """Name the paused rules, strongly consistent. Raises: StorageError."""
        ...


class ChangesPauses(ListsPauses, Protocol):
    """Pauses rules, and resumes them."""

    def pause(self, rule: str) -> None:
        """Pause a rule; one that is paused stays so. Raises: StorageError."""
        ...

    def resume(self, rule: str) -> None:
        """Resume a rule; one that is not paused stays so. Raises: StorageError."""
        ...
