"""Index of the rules by upstream: finds what follows an upstream tag, without asking a registry. Pure.

Whether a tag is among the `newest` of a rule takes a listing, so the listing is returned.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pullahead.errors import ConfigError
from pullahead.oci import Reference, Repository
from pullahead.rules.model import Mirror, Rule, Rules, mirror_key
from pullahead.rules.tag_patterns import allows

_EVERY_TAG = "*"  # not a valid tag, so never the key of a mirror


class FollowedTag(NamedTuple):
    """A tag that a rule follows. `found` is the upstream repository where the rule is for a namespace.

    `by_listing`: the rule has `newest`, so its listing decides whether it follows this tag.
    """

    rule: str
    repository: str
    tag: str
    found: Repository | None = None
    by_listing: bool = False

    @property
    def key(self) -> str:
        """Identify the mirror or the listing to check."""
        if self.by_listing:
            return mirror_key(f"{self.repository} ({self.rule})", _EVERY_TAG)
        return mirror_key(self.repository, self.tag)


class UpstreamIndex:
    """The rules, indexed by upstream repository and tag."""

    def __init__(self, rules: Rules) -> None:
        self._named: dict[Repository, dict[str, list[Mirror]]] = {}
        self._choosing: dict[Repository, list[Rule]] = {}
        self._namespaces: dict[str, list[Rule]] = {}
        for mirror in rules.mirrors:
            tags = self._named.setdefault(mirror.upstream.repository, {})
            tags.setdefault(mirror.upstream.tag or "", []).append(mirror)
        for rule in rules.rules:
            if rule.on_demand is not None:
                continue  # follows what was pulled, and nothing else
            if rule.is_namespace:
                self._namespaces.setdefault(rule.upstream.registry, []).append(rule)
            elif rule.tags.patterns:
                self._choosing.setdefault(rule.upstream, []).append(rule)

    def knows(self, repository: Repository) -> bool:
        """Tell whether a rule follows tags of an upstream repository."""
        return repository in self._named or any(self._rules_of(repository))

    def of(self, reference: Reference) -> tuple[FollowedTag, ...]:
        """List what follows an upstream tag, each once."""
        tag = reference.tag or ""
        mirrors = self._named.get(reference.repository, {}).get(tag, ())
        named = [FollowedTag(mirror.rule, mirror.repository, mirror.tag) for mirror in mirrors]
        taken = {follow.key for follow in named}
        chosen = (_follow(rule, tag, found) for rule, found in self._rules_of(reference.repository))
        more = {follow.key: follow for follow in chosen if follow is not None and follow.key not in taken}
        return (*named, *more.values())

    def _rules_of(self, repository: Repository) -> Iterator[tuple[Rule, Repository | None]]:
        for rule in self._choosing.get(repository, ()):
            yield rule, None
        for rule in self._namespaces.get(repository.registry, ()):
            if repository.path.startswith(rule.upstream.path.removesuffix("*")):
                try:
                    yield rule.expand(repository.path), repository
                except ConfigError:  # no valid target name; reported by the listing of the namespace
                    continue


def _follow(rule: Rule, tag: str, found: Repository | None) -> FollowedTag | None:
    if not allows(rule.tags, tag):
        return None
    by_listing = rule.tags.newest is not None and tag not in rule.tags.names
    return FollowedTag(rule.name, rule.repository, tag, found, by_listing)
