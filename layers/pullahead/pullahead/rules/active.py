"""The rules in force, for every function but the schedule: the file, the stored state, and paused rules.

State and pauses are read at most once a minute.
"""

import threading
from dataclasses import replace
from datetime import datetime, timedelta

from pullahead.clock import Clock
from pullahead.errors import StorageError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Mirror, Rules
from pullahead.rules.ports import ActiveRules, PauseReader, RulesStateReader
from pullahead.rules.sources.combine import gather_rules, newly_cached
from pullahead.rules.sources.findings import Findings
from pullahead.rules.sources.state import RulesState

RULES_RELOAD_INTERVAL = timedelta(minutes=1)


class CurrentRules:
    """Implements `pullahead.rules.ports.ActiveRules`. Reads the state once a minute, from any thread."""

    def __init__(self, file: ActiveRules, stored: RulesStateReader, clock: Clock) -> None:
        self._file, self._stored, self._clock = file, stored, clock
        self._lock = threading.Lock()
        self._rules: Rules | None = None
        self._known: RulesState | None = None
        self._read_at: datetime | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError if they were never read."""
        with self._lock:
            now = self._clock()
            if self._rules is None or self._read_at is None or now - self._read_at >= RULES_RELOAD_INTERVAL:
                self._rules, self._read_at = self._read(self._rules), now
            return self._rules

    def newly_cached(self, repository: str, tag: str) -> Mirror | None:
        """Make the mirror of a tag that a pull through cache rule has just cached, by the last findings."""
        rules = self()
        findings = self._known.findings if self._known is not None else Findings()
        return newly_cached(repository, tag, rules, findings)

    def as_of(self, moment: datetime) -> None:
        """Read the state again at the next call, unless it was read since this moment."""
        with self._lock:
            if self._read_at is not None and self._read_at < moment:
                self._read_at = None

    def _read(self, known: Rules | None) -> Rules:
        try:
            state = self._stored.load()
        except StorageError:
            if known is None:
                raise
            return known  # read again in a minute
        if known is not None and state == self._known:
            return known
        self._known = state
        return _rules(self._file, state or RulesState())


def _rules(file: ActiveRules, state: RulesState) -> Rules:
    good = state.text.good
    declared = file() if good is None else load_rules(good, source="the rules in force")
    return gather_rules(declared, state.findings).rules


PAUSES_RELOAD_INTERVAL = timedelta(minutes=1)


class CachedPauses:
    """Implements `pullahead.rules.ports.PauseReader`. Caches pauses for a minute, for any thread."""

    def __init__(self, pauses: PauseReader, clock: Clock) -> None:
        self._pauses, self._clock = pauses, clock
        self._lock = threading.Lock()
        self._read_at: datetime | None = None
        self._paused: frozenset[str] = frozenset()

    def paused_rules(self) -> frozenset[str]:
        """Name the paused rules. Raises: StorageError."""
        with self._lock:
            now = self._clock()
            if self._read_at is None or now - self._read_at >= PAUSES_RELOAD_INTERVAL:
                self._paused, self._read_at = self._pauses.paused_rules(), now
            return self._paused


class RulesWithPauses:
    """Implements `pullahead.rules.ports.ActiveRules`. The same rules and pauses give the same indexed object."""

    def __init__(self, rules: ActiveRules, pauses: PauseReader) -> None:
        self._rules, self._pauses = rules, pauses
        self._known: tuple[Rules, Rules] | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError."""
        rules, paused = self._rules(), self._pauses.paused_rules()
        known = self._known
        if known is None or known[0] is not rules or known[1].paused != paused:
            known = self._known = (rules, replace(rules, paused=paused))
        return known[1]
