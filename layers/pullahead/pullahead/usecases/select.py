"""Select what a check is about: the mirrors that it means, without those that the event behind it does not concern.

For an event that changes nothing (our own push, above all) this is one read of a record, and the end.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from pullahead.freshness.records import Record
from pullahead.messages import CheckRequest
from pullahead.ports import Records
from pullahead.rules.model import Mirror, Rules
from pullahead.usecases.concern import concerns
from pullahead.usecases.meant import NewlyCached, is_chosen, mirrors_of, never_cached, rule_named

_WISHES = frozenset({"manual", "pull", "cache"})
"""Somebody wants the tag: also one that was deleted and left so."""

_GUESSES = frozenset({"webhook", "cache"})
"""Whoever can send these may think up any name below a pattern or a prefix."""


class Selected(NamedTuple):
    """Mirrors to look at, and what is known of them."""

    mirrors: list[Mirror]
    known: Mapping[str, Record]


def as_asked(request: CheckRequest) -> CheckRequest:
    """Merge nothing."""
    return request


class SelectMirrors:
    """The use case, with the records that it reads and what merges events."""

    def __init__(
        self,
        records: Records,
        merge: Callable[[CheckRequest], CheckRequest | None] = as_asked,
        newly_cached: NewlyCached = never_cached,
    ) -> None:
        self._records, self._merge, self._newly_cached = records, merge, newly_cached

    def __call__(self, request: CheckRequest, rules: Rules) -> Selected:
        """Select the mirrors that are to be looked at now. Raises: StorageError; then none of it is done."""
        mirrors = self.meant(request, rules)
        if not mirrors:
            return Selected([], {})
        known = self._records.load([mirror.key for mirror in mirrors])
        concerned = [mirror for mirror in mirrors if concerns(request, mirror, rules, known.get(mirror.key))]
        now = self._merged(request, concerned)
        if request.reason in _WISHES:
            now = [mirror._replace(restored=True) for mirror in now]
        if request.reason in _GUESSES:
            now = [mirror._replace(guessed=_is_guess(mirror, rules, known)) for mirror in now]
        if request.reason == "manual":
            known = {key: record.with_changes(failure=None) for key, record in known.items()}  # try now, not later
        return Selected(now, known)

    def meant(self, request: CheckRequest, rules: Rules) -> list[Mirror]:
        """Find the mirrors that a check means; of what was only just cached, the one that will be."""
        mirrors = mirrors_of(request, rules)
        if mirrors or request.reason != "cache":
            return mirrors
        made = (self._newly_cached(request.repository, tag) for tag in request.tags)
        return [mirror for mirror in made if mirror is not None]

    def _merged(self, request: CheckRequest, mirrors: list[Mirror]) -> list[Mirror]:
        if request.is_settled or not mirrors:
            return mirrors
        tags = tuple(mirror.tag for mirror in mirrors)
        chosen = self._merge(msgspec.structs.replace(request, tags=tags))
        return [mirror for mirror in mirrors if chosen is not None and mirror.tag in chosen.tags]


def _is_guess(mirror: Mirror, rules: Rules, known: Mapping[str, Record]) -> bool:
    """Whether neither a rule nor a record has the tag by its name."""
    return mirror.key not in known and (is_chosen(mirror, rules) or rule_named(mirror.rule, rules) is None)
