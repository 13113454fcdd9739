"""What gathering rules needs of the world: one-verb Protocols, beside the vocabulary that they speak.

What the core asks about rules that people have paused: one-verb protocols. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pullahead.rules.model import Rules
from pullahead.rules.sources.findings import CacheRule, TaggedRepository
from pullahead.rules.sources.state import RulesState


class CachedRepositories(Protocol):
    """Looks what ECR's pull through cache rules have cached."""

    def cache_rules(self) -> Sequence[CacheRule]:
        """Describe the pull through cache rules. Raises: StorageError."""
        ...

    def repository_names(self) -> Sequence[str]:
        """List the registry's repositories, bounded. Raises: StorageError."""
        ...

    def tags_of(self, repository: str) -> Sequence[str]:
        """List a repository's tags, bounded; none where it is gone. Raises: StorageError."""
        ...


class TaggedRepositories(Protocol):
    """Looks which repositories carry resource tags."""

    def repositories_with(self, keys: Sequence[str]) -> Sequence[TaggedRepository]:
        """List the repositories that have one of the tags, with all their tags. Raises: StorageError."""
        ...


class RulesText(NamedTuple):
    """A rules file as it was read, and what tells this version of it from others."""

    text: str
    revision: str


class RulesFile(Protocol):
    """Reads the rules file where people keep it."""

    @property
    def address(self) -> str:
        """Where that is, for people."""
        ...

    def read(self, known_revision: str | None) -> RulesText | None:
        """Read the file, or None where it still is the known revision. Raises: StorageError, ConfigError."""
        ...


class RulesStateReader(Protocol):
    """Reads what the schedule last wrote down about the rules."""

    def load(self) -> RulesState | None:
        """Read it, or None where there is none yet. Raises: StorageError."""
        ...


class RulesStateStore(RulesStateReader, Protocol):
    """Reads and writes it."""

    def save(self, standing: RulesState) -> None:
        """Write it. Raises: StorageError."""
        ...


class PauseReader(Protocol):
    """Tells which rules are paused."""

    def paused_rules(self) -> frozenset[str]:
        """Name the paused rules, strongly consistent. Raises: StorageError."""
        ...


class PauseStore(PauseReader, Protocol):
    """Pauses rules, and resumes them."""

    def pause(self, rule: str) -> None:
        """Pause a rule; one that is paused stays so. Raises: StorageError."""
        ...

    def resume(self, rule: str) -> None:
        """Resume a rule; one that is not paused stays so. Raises: StorageError."""
        ...


class ActiveRules(Protocol):
    """Finds the rules in force."""

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem."""
        ...
