"""Select what a check is about: the mirrors that it means, without those that the event behind it does not concern.

For an event that changes nothing (our own push, above all) this is one read of a record, and the end.

Which events concern a mirror, as far as its record tells: the cheap test before anything is asked. Pure.

Merge what events ask for: of one mirror, one look now and one when the window is over. Looks at nothing itself.

Which mirrors a check means. Decides nothing about them.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from pullahead.checks.ports import CheckQueue, EventWindows, WindowDecision
from pullahead.clock import Clock
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.mirrors.store import RecordStore
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import (
    Mirror,
    NewlyCached,
    Rule,
    Rules,
    Source,
    expanded_for,
    is_chosen,
    never_cached,
    rule_named,
)


def is_relevant(request: CheckRequest, mirror: Mirror, rules: Rules, known: MirrorRecord | None) -> bool:
    """Whether a check is to be made. What the schedule or a person asks for always is, and what was decided before."""
    if request.is_settled:
        return True
    if request.reason == "push":
        return _is_news(request, known) if known is not None else not is_chosen(mirror, rules)
    if request.reason == "delete":
        return known is not None and known.state is not State.DELETED and not _is_cached(mirror, rules)
    if request.reason == "cache":
        return request.cache_failure is not None or known is None or _ends_failure(known) or _is_news(request, known)
    return True


def _is_news(request: CheckRequest, known: MirrorRecord) -> bool:
    """Whether ECR serves something else now than it is known to serve, or than it is to serve.

    What a refresh that is under way was to put is none: how that ended is recorded a moment later.
    A slow refresh may put, and record, what upstream has left behind: that is to be made right at once.
    """
    if request.digest is None or request.digest != known.wanted_digest:
        return True
    is_awaited = known.state in (State.MISSING, State.STALE)
    return not is_awaited and not (known.state is State.FRESH and known.published_digest == request.digest)


def _ends_failure(known: MirrorRecord) -> bool:
    return known.cache_failure is not None


def _is_cached(mirror: Mirror, rules: Rules) -> bool:
    """Whether only a pull through cache rule names the tag: what is cached no more is followed no more."""
    rule = rules.find_rule(mirror.repository, mirror.tag)
    return rule is not None and rule.source is Source.PULL_THROUGH_CACHE


def mirrors_named_by(request: CheckRequest, rules: Rules) -> list[Mirror]:
    """Find the mirrors of a check's tags; tags that no rule names or could choose, or a paused one, are passed over."""
    chooser = _found_by(request, rules)
    mirrors = (_mirror_of(request.repository, tag, chooser, rules) for tag in request.tags)
    return [mirror for mirror in mirrors if mirror is not None and mirror.rule not in rules.paused]


def _mirror_of(repository: str, tag: str, chooser: Rule | None, rules: Rules) -> Mirror | None:
    mirror = rules.find(repository, tag)
    if chooser is None or (mirror is not None and mirror.rule != chooser.name):
        return mirror
    return chooser.mirror(tag)


def _found_by(request: CheckRequest, rules: Rules) -> Rule | None:
    """Find the rule of a namespace as it is for the repository that a listing found.

    The target's name does not always say which upstream repository it follows; whoever listed it knows.
    """
    rule = rule_named(request.rule, rules) if request.rule is not None else None
    if rule is None or request.upstream is None or not rule.is_namespace:
        return None
    expanded = expanded_for(request.upstream, rule)
    return expanded if expanded is not None and expanded.repository == request.repository else None


_WISHES = frozenset({"manual", "pull", "cache"})
"""Somebody wants the tag: also one that was deleted and left so."""

_GUESSES = frozenset({"webhook", "cache"})
"""Whoever can send these may think up any name below a pattern or a prefix."""


class SelectedMirrors(NamedTuple):
    """Mirrors to look at, and what is known of them."""

    mirrors: list[Mirror]
    known: Mapping[MirrorKey, MirrorRecord]


def unmerged(request: CheckRequest) -> CheckRequest:
    """Merge nothing."""
    return request


class MirrorSelector:
    """The use case, with the records that it reads and what merges events."""

    def __init__(
        self,
        records: RecordStore,
        merge: Callable[[CheckRequest], CheckRequest | None] = unmerged,
        newly_cached: NewlyCached = never_cached,
    ) -> None:
        self._records, self._merge, self._newly_cached = records, merge, newly_cached

    def __call__(self, request: CheckRequest, rules: Rules) -> SelectedMirrors:
        """Select the mirrors that are to be looked at now. Raises: StorageError; then none of it is done."""
        mirrors = self.named_by(request, rules)
        if not mirrors:
            return SelectedMirrors([], {})
        known = self._records.load([mirror.key for mirror in mirrors])
        concerned = [mirror for mirror in mirrors if is_relevant(request, mirror, rules, known.get(mirror.key))]
        now = self._merged(request, concerned)
        if request.reason in _WISHES:
            now = [mirror._replace(restored=True) for mirror in now]
        if request.reason in _GUESSES:
            now = [mirror._replace(guessed=_is_guess(mirror, rules, known)) for mirror in now]
        if request.reason == "manual":
            known = {key: record.with_changes(failure=None) for key, record in known.items()}  # try now, not later
        return SelectedMirrors(now, known)

    def named_by(self, request: CheckRequest, rules: Rules) -> list[Mirror]:
        """Find the mirrors that a check means; of what was only just cached, the one that will be."""
        mirrors = mirrors_named_by(request, rules)
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


def _is_guess(mirror: Mirror, rules: Rules, known: Mapping[MirrorKey, MirrorRecord]) -> bool:
    """Whether neither a rule nor a record has the tag by its name."""
    return mirror.key not in known and (is_chosen(mirror, rules) or rule_named(mirror.rule, rules) is None)


class CheckMerger:
    """The use case, with the windows that it claims and the queue for what is to be looked at later."""

    def __init__(self, windows: EventWindows, queue: CheckQueue, clock: Clock) -> None:
        self._windows, self._queue, self._clock = windows, queue, clock

    def __call__(self, request: CheckRequest) -> CheckRequest | None:
        """Leave of a request what is to be looked at now, settled; None where that is nothing.

        What is to be looked at later is sent again, settled, with the delay. A settled request, or one that no event
        asked for, is left as it is. Raises StorageError: then none of it is to be taken as done.
        """
        if request.is_settled:
            return request
        now, later = list[str](), defaultdict[int, list[str]](list)
        for tag in dict.fromkeys(request.tags):
            claimed = self._windows.claim(MirrorKey(request.repository, tag), self._clock())
            if claimed.when is WindowDecision.RUN_NOW:
                now.append(tag)
            elif claimed.when is WindowDecision.RUN_LATER:
                later[claimed.delay_seconds].append(tag)
        for delay, tags in later.items():
            self._queue.send([_settled(request, tags)], delay)
        return _settled(request, now) if now else None


def _settled(request: CheckRequest, tags: list[str]) -> CheckRequest:
    return msgspec.structs.replace(request, tags=tuple(tags), settled=True)
