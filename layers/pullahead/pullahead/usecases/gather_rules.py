"""Gather the rules from everywhere and write down what the other functions need. Only the schedule does this.

AWS is asked every few minutes and by one function, whatever the number of processes that need the rules.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

from pullahead.ports import Clock, LoadsRules
from pullahead.rules.model import Rules
from pullahead.rules.sources.findings import Findings
from pullahead.rules.sources.gather import Gathered, gather_rules
from pullahead.rules.sources.ports import KeepsStanding, ReadsRulesText
from pullahead.rules.sources.standing import FollowedText, Standing
from pullahead.usecases.find_sources import Found
from pullahead.usecases.follow_text import Followed, follow_text

FIND_EVERY = timedelta(minutes=4)
"""Shorter than five minutes, so that a schedule that fires every five finds each time, also a little early."""

Finds = Callable[[Rules, Findings], Found]


class GatherRules:
    """The use case, with the ports that it reads and writes."""

    def __init__(
        self,
        file: LoadsRules,
        text: ReadsRulesText | None,
        find: Finds,
        standing: KeepsStanding,
        clock: Clock,
    ) -> None:
        self._file, self._text, self._find = file, text, find
        self._standing, self._clock = standing, clock
        self._found: Found | None = None
        self._found_at: datetime | None = None

    def __call__(self) -> Gathered:
        """Return the rules in force, and what was not told yet.

        Raises: ConfigError with every problem where no good rules are known; StorageError.
        """
        now = self._clock()
        stored = self._standing.load()
        before = stored or Standing()
        followed = self._follow(before.text, now)
        found = self._find_sometimes(followed.rules, before.findings, now)
        gathered = gather_rules(followed.rules, found.findings)
        told = tuple(dict.fromkeys((*found.told, *gathered.told)))
        standing = Standing(text=followed.text, findings=found.findings, told=told)
        if standing != stored:
            self._standing.save(standing)
        return Gathered(gathered.rules, tuple(text for text in told if text not in before.told))

    def _follow(self, before: FollowedText, now: datetime) -> Followed:
        if self._text is None:
            return Followed(FollowedText(), self._file())
        return follow_text(before, self._text, now)

    def _find_sometimes(self, declared: Rules, before: Findings, now: datetime) -> Found:
        if self._found is None or self._found_at is None or now - self._found_at >= FIND_EVERY:
            self._found, self._found_at = self._find(declared, before), now
        return self._found
