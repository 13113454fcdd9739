"""Select the mirrors that a check is about: those that it names, without those for which its event changes nothing.

For an event that changes nothing, above all Pullahead's own push, this costs one read of a record. Events of one mirror
are merged: one check now, and one when the window ends.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from pullahead.checks.ports import CheckQueue, EventWindows, WindowDecision
from pullahead.clock import Clock
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import MirrorRecord, State
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
    """Whether a mirror is to be checked, judging by its record. Scheduled, manual and settled checks always are."""
    if request.is_settled:
        return True
    if request.reason == "push":
        return _is_news(request, known) if known is not None else not is_chosen(mirror, rules)
    if request.reason == "delete":
        is_left_alone = known is None or known.state is State.DELETED or _is_pruned(known)
        return not is_left_alone and not _is_cached(mirror, rules)
    if request.reason == "cache":
        return request.cache_failure is not None or known is None or _ends_failure(known) or _is_news(request, known)
    return True


def _is_news(request: CheckRequest, known: MirrorRecord) -> bool:
    """Whether ECR serves something else now than its record says, or than it should serve.

    The digest of a running refresh is no news: its outcome is recorded a moment later. A slow refresh may publish a
    digest that upstream no longer serves: that is to be refreshed at once.
    """
    if request.digest is None or request.digest != known.wanted_digest:
        return True
    is_awaited = known.state in (State.MISSING, State.STALE)
    return not is_awaited and not (known.serves_what_it_may and known.published_digest == request.digest)


def _ends_failure(known: MirrorRecord) -> bool:
    return known.cache_failure is not None


def _is_pruned(known: MirrorRecord) -> bool:
    """Whether Pullahead itself deletes the tag, which is not to be restored."""
    return known.missing is not None and known.missing.removed_at is not None


def _is_cached(mirror: Mirror, rules: Rules) -> bool:
    """Whether only a pull through cache rule names the tag: then it is followed only while it is cached."""
    rule = rules.find_rule(mirror.repository, mirror.tag)
    return rule is not None and rule.source is Source.PULL_THROUGH_CACHE


def mirrors_named_by(request: CheckRequest, rules: Rules) -> list[Mirror]:
    """Find the mirrors that a CheckRequest names; tags that no active rule follows are skipped."""
    listing_rule = _listing_rule(request, rules)
    mirrors = (_mirror_of(request.repository, tag, listing_rule, rules) for tag in request.tags)
    return [mirror for mirror in mirrors if mirror is not None and not rules.is_inactive(mirror.rule)]


def _mirror_of(repository: str, tag: str, listing_rule: Rule | None, rules: Rules) -> Mirror | None:
    mirror = rules.find(repository, tag)
    if listing_rule is None or (mirror is not None and mirror.rule != listing_rule.name):
        return mirror
    return listing_rule.mirror_of(tag)


def _listing_rule(request: CheckRequest, rules: Rules) -> Rule | None:
    """Find the rule of a namespace, expanded for the repository that its listing found.

    The name in ECR does not always determine the upstream repository; the message of the listing names it.
    """
    rule = rule_named(request.rule, rules) if request.rule is not None else None
    if rule is None or request.upstream is None or not rule.is_namespace:
        return None
    expanded = expanded_for(request.upstream, rule)
    return expanded if expanded is not None and expanded.repository == request.repository else None


ON_REQUEST = frozenset({"manual", "pull", "cache"})
"""The reasons of checks on request: they restore a deleted tag, too."""

_GUESSES = frozenset({"webhook", "cache"})
"""The reasons of checks whose tags may be made up, below a pattern or a prefix."""


class SelectedMirrors(NamedTuple):
    """Mirrors to check, and their records."""

    mirrors: list[Mirror]
    known: Mapping[MirrorKey, MirrorRecord]


def unmerged(request: CheckRequest) -> CheckRequest:
    """Merge nothing: return the request as it is."""
    return request


class MirrorSelector:
    """Selects the mirrors to check."""

    def __init__(
        self,
        merge: Callable[[CheckRequest], CheckRequest | None] = unmerged,
        newly_cached: NewlyCached = never_cached,
    ) -> None:
        self._merge, self._newly_cached = merge, newly_cached

    def __call__(self, request: CheckRequest, rules: Rules, known: Mapping[MirrorKey, MirrorRecord]) -> SelectedMirrors:
        """Select the mirrors to check now, by their records. Raises StorageError; then nothing was done."""
        mirrors = self.named_by(request, rules)
        relevant = [mirror for mirror in mirrors if is_relevant(request, mirror, rules, known.get(mirror.key))]
        now = [_as_owned(mirror, request, rules, known) for mirror in self._merged(request, relevant)]
        if request.reason in ON_REQUEST:
            now = [mirror._replace(restored=True) for mirror in now]
        if request.reason in _GUESSES:
            now = [mirror._replace(guessed=_is_guess(mirror, rules, known)) for mirror in now]
        return SelectedMirrors(now, known)

    def named_by(self, request: CheckRequest, rules: Rules) -> list[Mirror]:
        """Find the mirrors that a request names; a newly cached tag has the mirror that it will have."""
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


def _as_owned(mirror: Mirror, request: CheckRequest, rules: Rules, known: Mapping[MirrorKey, MirrorRecord]) -> Mirror:
    """Follow the upstream that a mirror of a namespace has, where its name in ECR does not say which that is.

    Only a listing decides on another one.
    """
    record, rule = known.get(mirror.key), rule_named(mirror.rule, rules)
    is_decided = request.upstream is not None and request.reason == "schedule"
    if record is None or is_decided or rule is None or not rule.is_namespace or rule.on_demand is not None:
        return mirror
    registry, path = rule.upstream
    if not record.upstream.startswith(f"{registry}/{path.removesuffix('*')}"):
        return mirror  # the rule has changed
    owner = expanded_for(record.upstream, rule)
    if owner is None or owner.repository != mirror.repository or owner.upstream == mirror.upstream.repository:
        return mirror
    return mirror._replace(upstream=mirror.upstream._replace(repository=owner.upstream))


def _is_guess(mirror: Mirror, rules: Rules, known: Mapping[MirrorKey, MirrorRecord]) -> bool:
    """Whether neither a rule nor a record names the tag."""
    return mirror.key not in known and (is_chosen(mirror, rules) or rule_named(mirror.rule, rules) is None)


class CheckMerger:
    """Merges the events of each mirror: one check now, one at the end of its window."""

    def __init__(self, windows: EventWindows, queue: CheckQueue, clock: Clock) -> None:
        self._windows, self._queue, self._clock = windows, queue, clock

    def __call__(self, request: CheckRequest) -> CheckRequest | None:
        """Return the part of a request to check now, settled; None where there is none.

        The part to check later is queued again, settled, with a delay. A settled request, or one without an event, is
        returned as it is. Raises StorageError: then none of the request counts as done.
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
