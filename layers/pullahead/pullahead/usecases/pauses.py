"""The rules in force, with those marked that people have paused. Asks for pauses once a minute at most."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta

from pullahead.ports import Clock, ListsPauses, LoadsRules
from pullahead.rules.model import Rules

ASK_EVERY = timedelta(minutes=1)
"""One small read for a minute's checks; whoever pauses a rule is told that it may take so long."""


class KnownPauses:
    """Satisfies `pullahead.ports.ListsPauses` for a minute by what was read before; from any thread."""

    def __init__(self, pauses: ListsPauses, clock: Clock) -> None:
        self._pauses, self._clock = pauses, clock
        self._lock = threading.Lock()
        self._asked_at: datetime | None = None
        self._paused: frozenset[str] = frozenset()

    def paused_rules(self) -> frozenset[str]:
        """Name the paused rules. Raises: StorageError."""
        with self._lock:
            now = self._clock()
            if self._asked_at is None or now - self._asked_at >= ASK_EVERY:
                self._paused, self._asked_at = self._pauses.paused_rules(), now
            return self._paused


class RulesWithPauses:
    """Satisfies `pullahead.ports.LoadsRules`. The same rules and pauses give the same object, with its index."""

    def __init__(self, rules: LoadsRules, pauses: ListsPauses) -> None:
        self._rules, self._pauses = rules, pauses
        self._known: tuple[Rules, Rules] | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError."""
        rules, paused = self._rules(), self._pauses.paused_rules()
        known = self._known
        if known is None or known[0] is not rules or known[1].paused != paused:
            known = self._known = (rules, replace(rules, paused=paused))
        return known[1]
