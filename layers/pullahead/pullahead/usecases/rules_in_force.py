"""The rules as every function but the schedule knows them: the file, and what the schedule found and wrote down."""

import threading
from datetime import datetime, timedelta

from pullahead.errors import StorageError
from pullahead.ports import Clock, LoadsRules
from pullahead.rules.load import load_rules
from pullahead.rules.model import Mirror, Rules
from pullahead.rules.sources.findings import Findings
from pullahead.rules.sources.gather import gather_rules, newly_cached
from pullahead.rules.sources.ports import LoadsStanding
from pullahead.rules.sources.standing import Standing

ASK_EVERY = timedelta(minutes=1)


class RulesInForce:
    """Satisfies `pullahead.ports.LoadsRules`; asks once a minute at most, from any number of threads."""

    def __init__(self, file: LoadsRules, standing: LoadsStanding, clock: Clock) -> None:
        self._file, self._standing, self._clock = file, standing, clock
        self._lock = threading.Lock()
        self._rules: Rules | None = None
        self._known: Standing | None = None
        self._asked_at: datetime | None = None

    def __call__(self) -> Rules:
        """Return the rules. Raises: ConfigError with every problem; StorageError where they were never read yet."""
        with self._lock:
            now = self._clock()
            if self._rules is None or self._asked_at is None or now - self._asked_at >= ASK_EVERY:
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
        return _rules(self._file, standing or Standing())


def _rules(file: LoadsRules, standing: Standing) -> Rules:
    good = standing.text.good
    declared = file() if good is None else load_rules(good, source="the rules in force")
    return gather_rules(declared, standing.findings).rules
