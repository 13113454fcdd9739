"""The rules as every function but the schedule knows them: the file, and what the schedule found and wrote down.

The rules in force, with those marked that people have paused. Asks for pauses once a minute at most.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from pullahead.caching import Expiring, TtlCache
from pullahead.clock import Clock
from pullahead.errors import StorageError
from pullahead.rules.load import load_rules
from pullahead.rules.model import Mirror, Rules
from pullahead.rules.ports import ActiveRules, PauseStore, RulesStateStore
from pullahead.rules.sources.combine import gather_rules, newly_cached
from pullahead.rules.sources.findings import Findings
from pullahead.rules.sources.state import RulesState

RULES_RELOAD_INTERVAL = timedelta(minutes=1)


class _Loaded(NamedTuple):
    rules: Rules
    state: RulesState | None
    asked_at: datetime


class CurrentRules:
    """Implements `pullahead.rules.ports.ActiveRules`; reads the state once a minute at most. For several threads."""

    def __init__(self, file: ActiveRules, standing: RulesStateStore, clock: Clock) -> None:
        self._file, self._standing, self._clock = file, standing, clock
        self._cache = TtlCache[None, _Loaded, datetime]()
        self._last: _Loaded | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError if they were never read yet."""
        return self._load().rules

    def newly_cached(self, repository: str, tag: str) -> Mirror | None:
        """Make the mirror of a tag that only a pull through cache rule names, by what was last found of these."""
        rules, state, _ = self._load()
        return newly_cached(repository, tag, rules, state.findings if state is not None else Findings())

    def as_of(self, moment: datetime) -> None:
        """Read again at the next call, unless that was done since a moment: something then used newer rules."""
        last = self._last
        if last is not None and last.asked_at < moment:
            self._cache.discard(None, last)

    def _load(self) -> _Loaded:
        now = self._clock()
        return self._cache.get_or_load(None, now, lambda: Expiring(self._read(now), now + RULES_RELOAD_INTERVAL))

    def _read(self, now: datetime) -> _Loaded:
        last = self._last
        try:
            state = self._standing.load()
        except StorageError:
            if last is None:
                raise
            self._last = last._replace(asked_at=now)  # read again in a minute
        else:
            is_same = last is not None and state == last.state
            rules = last.rules if last is not None and is_same else _rules(self._file, state or RulesState())
            self._last = _Loaded(rules, state, now)
        return self._last


def _rules(file: ActiveRules, standing: RulesState) -> Rules:
    good = standing.text.good
    declared = file() if good is None else load_rules(good, source="the rules in force")
    return gather_rules(declared, standing.findings).rules


PAUSES_RELOAD_INTERVAL = timedelta(minutes=1)
"""One small read for a minute's checks; `pullahead pause` says that it may take so long."""


class CachedPauses:
    """Implements `pullahead.rules.ports.PauseStore`; reads once a minute at most. For several threads."""

    def __init__(self, pauses: PauseStore, clock: Clock) -> None:
        self._pauses, self._clock = pauses, clock
        self._cache = TtlCache[None, frozenset[str], datetime]()

    def paused_rules(self) -> frozenset[str]:
        """Name the paused rules. Raises: StorageError."""
        now = self._clock()
        return self._cache.get_or_load(
            None, now, lambda: Expiring(self._pauses.paused_rules(), now + PAUSES_RELOAD_INTERVAL)
        )


class RulesWithPauses:
    """The current rules with paused ones marked. The same rules and pauses give the same object, with its index."""

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
