"""The rules as every function but the schedule knows them: the file, and what the schedule found and wrote down.

The rules in force, with those marked that people have paused. Asks for pauses once a minute at most.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from pullahead.clock import Clock
from pullahead.errors import StorageError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Mirror, Rules
from pullahead.rules.ports import ActiveRules, PauseStore, RulesStateStore
from pullahead.rules.sources.combine import gather_rules, newly_cached
from pullahead.rules.sources.findings import Findings
from pullahead.rules.sources.state import RulesState

RULES_RELOAD_INTERVAL = timedelta(minutes=1)


class CurrentRules:
    """Satisfies `pullahead.ports.LoadsRules`; asks once a minute at most, from any number of threads."""

    def __init__(self, file: ActiveRules, standing: RulesStateStore, clock: Clock) -> None:
        self._file, self._standing, self._clock = file, standing, clock
        self._lock = threading.Lock()
        self._rules: Rules | None = None
        self._known: RulesState | None = None
        self._asked_at: datetime | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError where they were never read yet."""
        with self._lock:
            now = self._clock()
            if self._rules is None or self._asked_at is None or now - self._asked_at >= RULES_RELOAD_INTERVAL:
                self._rules, self._asked_at = self._ask(self._rules), now
            return self._rules

    def newly_cached(self, repository: str, tag: str) -> Mirror | None:
        """Make the mirror of a tag that only a pull through cache rule can name, by what was last found of these."""
        rules = self()
        findings = self._known.findings if self._known is not None else Findings()
        return newly_cached(repository, tag, rules, findings)

    def as_of(self, moment: datetime) -> None:
        """Ask again at the next call, unless that was done since a moment: something then knew newer rules."""
        with self._lock:
            if self._asked_at is not None and self._asked_at < moment:
                self._asked_at = None

    def _ask(self, known: Rules | None) -> Rules:
        try:
            standing = self._standing.load()
        except StorageError:
            if known is None:
                raise
            return known  # a minute later they are asked for again
        if known is not None and standing == self._known:
            return known
        self._known = standing
        return _rules(self._file, standing or RulesState())


def _rules(file: ActiveRules, standing: RulesState) -> Rules:
    good = standing.text.good
    declared = file() if good is None else load_rules(good, source="the rules in force")
    return gather_rules(declared, standing.findings).rules


PAUSES_RELOAD_INTERVAL = timedelta(minutes=1)
"""One small read for a minute's checks; whoever pauses a rule is told that it may take so long."""


class CachedPauses:
    """Satisfies `pullahead.ports.ListsPauses` for a minute by what was read before; from any thread."""

    def __init__(self, pauses: PauseStore, clock: Clock) -> None:
        self._pauses, self._clock = pauses, clock
        self._lock = threading.Lock()
        self._asked_at: datetime | None = None
        self._paused: frozenset[str] = frozenset()

    def paused_rules(self) -> frozenset[str]:
        """Name the paused rules. Raises: StorageError."""
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at >= PAUSES_RELOAD_INTERVAL:
                self._paused, self._asked_at = self._pauses.paused_rules(), now
            return self._paused


class RulesWithPauses:
    """Satisfies `pullahead.ports.LoadsRules`. The same rules and pauses give the same object, with its index."""

    def __init__(self, rules: ActiveRules, paused_rules: Callable[[], frozenset[str]]) -> None:
        self._rules, self._paused_rules = rules, paused_rules
        self._known: tuple[Rules, Rules] | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError."""
        rules, paused = self._rules(), self._paused_rules()
        known = self._known
        if known is None or known[0] is not rules or known[1].paused != paused:
            known = self._known = (rules, replace(rules, paused=paused))
        return known[1]
