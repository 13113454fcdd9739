"""Ports of the rules: sources in AWS, the rules file elsewhere, stored state, and pauses. No implementation.

Every method may raise the errors that its docstring names and no others; adapters translate.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pullahead.rules.model import Rules
from pullahead.rules.sources.findings import CacheRule, TaggedRepository
from pullahead.rules.sources.state import RulesState


class CachedRepositories(Protocol):
    """Finds what ECR's pull through cache rules have cached."""

    def cache_rules(self) -> Sequence[CacheRule]:
        """List the pull through cache rules. Raises: StorageError."""
        ...

    def repository_names(self) -> Sequence[str]:
        """List the registry's repositories, bounded. Raises: StorageError."""
        ...

    def tags_of(self, repository: str) -> Sequence[str]:
        """List the tags of a repository, bounded; none if it was deleted. Raises: StorageError."""
        ...


class TaggedRepositories(Protocol):
    """Finds repositories by resource tags."""

    def repositories_with(self, keys: Sequence[str]) -> Sequence[TaggedRepository]:
        """List repositories that have one of the tags, with all their tags. Raises: StorageError."""
        ...


class RulesText(NamedTuple):
    """A rules file and its revision."""

    text: str
    revision: str


class RulesFile(Protocol):
    """Reads a rules file from where people keep it."""

    @property
    def address(self) -> str:
        """Where it is, for messages."""
        ...

    def read(self, known_revision: str | None) -> RulesText | None:
        """Read the file; None if it still has the known revision. Raises: StorageError, ConfigError."""
        ...


class RulesStateReader(Protocol):
    """Reads the state of the rules that the schedule last stored."""

    def load(self) -> RulesState | None:
        """Read it; None if there is none yet. Raises: StorageError."""
        ...


class RulesStateStore(RulesStateReader, Protocol):
    """Reads and stores the state of the rules."""

    def save(self, state: RulesState, /) -> None:
        """Store it. Raises: StorageError."""
        ...


class PauseReader(Protocol):
    """Finds paused rules."""

    def paused_rules(self) -> frozenset[str]:
        """Name the paused rules, strongly consistent. Raises: StorageError."""
        ...


class PauseStore(PauseReader, Protocol):
    """Pauses and resumes rules."""

    def pause(self, rule: str) -> None:
        """Pause a rule. Idempotent. Raises: StorageError."""
        ...

    def resume(self, rule: str) -> None:
        """Resume a rule. Idempotent. Raises: StorageError."""
        ...


class ActiveRules(Protocol):
    """Loads the rules in force."""

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem."""
        ...
