"""Where rules come from, and which are paused.

A method raises the errors that its docstring names and no others; implementations translate.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pullahead.rules.compiled import CompiledRules
from pullahead.rules.model import Rules
from pullahead.rules.sources.findings import CacheRule, TaggedRepository
from pullahead.rules.sources.state import RulesState
from pullahead.rules.text import RulesText


class CachedRepositories(Protocol):
    """Lists what ECR's pull through cache rules have cached."""

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
    """Lists the repositories that carry resource tags."""

    def repositories_with(self, keys: Sequence[str]) -> Sequence[TaggedRepository]:
        """List the repositories that have a tag with one of these keys, with all their tags. Raises: StorageError."""
        ...


class RulesRevision(NamedTuple):
    """The text of a rules file, or of the files of a folder, and what identifies this version of it."""

    files: tuple[RulesText, ...]
    revision: str


class RulesFile(Protocol):
    """Reads a rules file, or a folder of them, that is kept outside of the deployment."""

    @property
    def address(self) -> str:
        """Where the file is, for messages."""
        ...

    def read(self, known_revision: str | None) -> RulesRevision | None:
        """Read the file, or return None where it is still the known revision. Raises: StorageError, ConfigError."""
        ...


class CompiledRulesStore(Protocol):
    """Stores compiled rules, as the schedule last wrote them."""

    def load(self) -> CompiledRules | None:
        """Read them, or None where there are none yet, or none that this version of Pullahead can use.

        As long as they are unchanged, the same object is returned. Raises: StorageError.
        """
        ...

    def save(self, compiled: CompiledRules) -> None:
        """Write them. Raises: StorageError; ConfigError where they are too large to be read."""
        ...


class RulesStateStore(Protocol):
    """Stores the last valid rules and what discovery found, as the schedule last wrote them."""

    def load(self) -> RulesState | None:
        """Read the state, or None where there is none yet. Raises: StorageError."""
        ...

    def save(self, standing: RulesState) -> None:
        """Write the state. Raises: StorageError; ConfigError where it is too large to be read."""
        ...


class PauseStore(Protocol):
    """Stores which rules are paused."""

    def paused_rules(self) -> frozenset[str]:
        """Return the names of the paused rules, strongly consistent. Raises: StorageError."""
        ...

    def pause(self, rule: str) -> None:
        """Pause a rule; pausing a paused one changes nothing. Raises: StorageError."""
        ...

    def resume(self, rule: str) -> None:
        """Resume a rule; resuming one that is not paused changes nothing. Raises: StorageError."""
        ...


ActiveRules = Callable[[], Rules]
"""Returns the rules in force. Raises: ConfigError with every problem."""
