"""Play what ECR does by itself and tells on EventBridge: its cache, its scans. Nothing but the event happens here.

That ECR has cached something of a registry that is not on this machine is played by a push to the repository, and then
`cached`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from local.ecr.api_pull_through import CacheRuleOperations
from local.ecr.events import cache_event, referrer_event, scan_event, storage_class_event
from local.ecr.repositories import Registry


class Plays:
    """Sends events that are true of what the registry holds, but for the failures."""

    def __init__(
        self,
        registry: Registry,
        cache_rules: CacheRuleOperations,
        now: Callable[[], datetime],
        emit: Callable[[dict[str, Any]], None],
    ) -> None:
        self._registry, self._cache_rules, self._now, self._emit = registry, cache_rules, now, emit

    def cached(self, repository: str, tag: str) -> None:
        """Say that the cache has fetched a tag."""
        outcome = {"sync-status": "SUCCESS", "image-digest": self._digest(repository, tag)}
        self._emit(cache_event(self._rule_of(repository), repository, tag, outcome, self._now()))

    def not_cached(self, repository: str, tag: str, code: str, reason: str) -> None:
        """Say that the cache could not fetch a tag. There need be no repository yet."""
        outcome = {"sync-status": "FAILED", "failure-code": code, "failure-reason": reason}
        self._emit(cache_event(self._rule_of(repository), repository, tag, outcome, self._now()))

    def scanned(self, repository: str, tag: str, counts: Mapping[str, int]) -> None:
        """Say what a scan of a tag's manifest found."""
        digest = self._digest(repository, tag)
        tags = self._registry.get(repository).tags_of(digest)
        self._emit(scan_event(repository, digest, sorted(tags), counts, self._now()))

    def referred(self, repository: str, tag: str, artifact_type: str) -> None:
        """Say that a tag's manifest, which refers to another, was pushed."""
        self._emit(referrer_event(repository, self._digest(repository, tag), tag, artifact_type, self._now()))

    def archived(self, repository: str, tag: str) -> None:
        """Say that a tag's manifest went into the archive."""
        self._emit(storage_class_event(repository, self._digest(repository, tag), tag, self._now()))

    def _digest(self, repository: str, tag: str) -> str:
        return str(self._registry.get(repository).tags[tag])

    def _rule_of(self, repository: str) -> Mapping[str, Any]:
        rule = self._cache_rules.rule_for(repository)
        if rule is None:
            raise ValueError(f"no pull through cache rule covers {repository}")
        return rule
