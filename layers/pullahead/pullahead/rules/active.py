"""The rules as every function but the schedule knows them: as the schedule compiled them.

Where the files of the deployment are not those that were compiled, they are compiled here, so that deployed rules are
in force at once; unless they are so large that this would take a function's memory and time: then what was compiled
last is in force until the next schedule.

The rules in force, with those marked that people have paused. Asks for pauses once a minute at most.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from pullahead.caching import Expiring, TtlCache
from pullahead.clock import Clock
from pullahead.errors import StorageError
from pullahead.rules.compiled import CompiledRules
from pullahead.rules.model import Mirror, Rules
from pullahead.rules.ports import ActiveRules, CompiledRulesStore, PauseStore, RulesStateStore
from pullahead.rules.sources.combine import gather_rules, newly_cached
from pullahead.rules.sources.findings import Findings
from pullahead.rules.sources.state import RulesState
from pullahead.rules.text import RulesText, fingerprint_of, folder_of, size_of

RULES_RELOAD_INTERVAL = timedelta(minutes=1)


_MANY_CHARACTERS: Final = 1024 * 1024  # a second or two of a small function's time
_TOO_MANY_CHARACTERS: Final = 4 * 1024 * 1024  # of memory for them: some 35 times as much


def _load_rules_files(files: Sequence[RulesText]) -> Rules:
    # Compiled rules are the rule; who reads these need not load YAML and the format of the files at each cold start.
    from pullahead.rules.load import load_rules_files  # noqa: PLC0415

    return load_rules_files(files)


class DeployedRules:
    """The rules files of the deployment, which stay the same as long as a process runs."""

    def __init__(self, read: Callable[[], Sequence[RulesText]]) -> None:
        self._read = read

    @cached_property
    def files(self) -> Sequence[RulesText]:
        """The files. Raises: ConfigError."""
        return self._read()

    @cached_property
    def fingerprint(self) -> str:
        """What identifies the files. Raises: ConfigError."""
        return fingerprint_of(self.files)

    def __call__(self) -> Rules:
        """Compile the files. Raises: ConfigError with every problem; StorageError where only the schedule can do it."""
        if size_of(self.files) > _TOO_MANY_CHARACTERS:
            raise StorageError(
                f"the rules in {folder_of(self.files)} are not compiled yet, and too large for this function to do so; "
                "the next run of schedule_checks does. If that fails, its log says why."
            )
        return _load_rules_files(self.files)


class CompiledForDeployment:
    """Reads compiled rules, where they are those to be used."""

    def __init__(self, store: CompiledRulesStore, deployed: DeployedRules) -> None:
        self._store, self._deployed = store, deployed

    def __call__(self) -> CompiledRules | None:
        """Return the rules; None where the files of the deployment are to be compiled. Raises: StorageError."""
        compiled = self._store.load()
        if compiled is None or compiled.external or compiled.source == self._deployed.fingerprint:
            return compiled
        return compiled if size_of(self._deployed.files) > _MANY_CHARACTERS else None


def not_compiled() -> CompiledRules | None:
    """Know of no compiled rules."""
    return None


class _Loaded(NamedTuple):
    rules: Rules
    findings: Findings
    made_of: CompiledRules | RulesState | None
    asked_at: datetime


class CurrentRules:
    """Implements `pullahead.rules.ports.ActiveRules`; reads what is stored once a minute at most. For several threads.

    `file` compiles the files of the deployment; `compiled` returns rules that are compiled already.
    """

    def __init__(
        self,
        file: ActiveRules,
        standing: RulesStateStore,
        clock: Clock,
        compiled: Callable[[], CompiledRules | None] = not_compiled,
    ) -> None:
        self._file, self._standing, self._clock, self._compiled = file, standing, clock, compiled
        self._cache = TtlCache[None, _Loaded, datetime]()
        self._last: _Loaded | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError if they were never read yet."""
        return self._load().rules

    def newly_cached(self, repository: str, tag: str) -> Mirror | None:
        """Make the mirror of a tag that only a pull through cache rule names, by what was last found of these."""
        loaded = self._load()
        return newly_cached(repository, tag, loaded.rules, loaded.findings)

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
            compiled = self._compiled()
            made_of = compiled if compiled is not None else self._standing.load()
        except StorageError:
            if last is None:
                raise
            self._last = last._replace(asked_at=now)  # read again in a minute
            return self._last
        if last is not None and (made_of is last.made_of or (compiled is None and made_of == last.made_of)):
            self._last = last._replace(asked_at=now)
        elif compiled is not None:
            self._last = _Loaded(compiled.rules, compiled.findings, compiled, now)
        else:
            self._last = self._compile(made_of if isinstance(made_of, RulesState) else None, now)
        return self._last

    def _compile(self, state: RulesState | None, now: datetime) -> _Loaded:
        known = state or RulesState()
        external = known.text.valid_files("the rules in force")
        declared = _load_rules_files(external) if external else self._file()
        return _Loaded(gather_rules(declared, known.findings).rules, known.findings, state, now)


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
