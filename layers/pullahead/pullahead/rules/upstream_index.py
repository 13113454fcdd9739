"""Which rules follow an upstream tag: the way back from a reference to mirrors. Pure; asks no registry.

Whether a tag is among the newest that a rule chooses, only a listing can tell; then the listing is what is wanted.
"""

from collections.abc import Iterator
from typing import NamedTuple

from pullahead.errors import ConfigError
from pullahead.oci import Reference, Repository
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey
from pullahead.rules.model import Rule, Rules
from pullahead.rules.named_mirrors import NamedTags
from pullahead.rules.tag_patterns import allows


class FollowedTag(NamedTuple):
    """A tag that a rule follows. `found` is the upstream repository where the rule stands for a whole namespace.

    `by_listing`: the rule chooses the newest tags, so that its listing decides whether this is one of them.
    """

    rule: str
    repository: str
    tag: str
    found: Repository | None = None
    by_listing: bool = False

    @property
    def key(self) -> RecordKey:
        """Identify what to check: the mirror, or the listing of the rule."""
        if self.by_listing:
            return RuleKey(self.repository, self.rule)
        return MirrorKey(self.repository, self.tag)


class UpstreamIndex:
    """The rules, indexed by what they follow."""

    def __init__(self, rules: Rules) -> None:
        self._named: dict[Repository, list[NamedTags]] = {}
        self._choosing: dict[Repository, list[Rule]] = {}
        self._namespaces: dict[str, list[Rule]] = {}
        for group in rules.named_mirrors.groups:
            self._named.setdefault(group.upstream, []).append(group)
        for rule in rules.rules:
            if rule.on_demand is not None:
                continue  # what was demanded is known by its pulls alone
            if rule.is_namespace:
                self._namespaces.setdefault(rule.upstream.registry, []).append(rule)
            elif rule.tags.patterns:
                self._choosing.setdefault(rule.upstream, []).append(rule)

    def knows(self, repository: Repository) -> bool:
        """Tell whether any rule follows anything of an upstream repository."""
        return repository in self._named or any(self._rules_of(repository))

    def of(self, reference: Reference) -> tuple[FollowedTag, ...]:
        """List what follows an upstream tag, each once."""
        tag = reference.tag or ""
        groups = self._named.get(reference.repository, ())
        named = [FollowedTag(group.rule, group.repository, tag) for group in groups if tag in group.tags]
        taken = {follow.key for follow in named}
        chosen = (_follow(rule, tag, found) for rule, found in self._rules_of(reference.repository))
        more = {follow.key: follow for follow in chosen if follow is not None and follow.key not in taken}
        return (*named, *more.values())

    def rules_of(self, repository: Repository) -> Iterator[Rule]:
        """List the rules that select tags of an upstream repository; of a namespace, the rule for that repository."""
        return (rule for rule, _ in self._rules_of(repository))

    def _rules_of(self, repository: Repository) -> Iterator[tuple[Rule, Repository | None]]:
        for rule in self._choosing.get(repository, ()):
            yield rule, None
        for rule in self._namespaces.get(repository.registry, ()):
            if repository.path.startswith(rule.upstream.path.removesuffix("*")):
                try:
                    yield rule.expand(repository.path), repository
                except ConfigError:  # there is no name that ECR allows; the listing of the namespace says so
                    continue


def _follow(rule: Rule, tag: str, found: Repository | None) -> FollowedTag | None:
    if not allows(rule.tags, tag):
        return None
    by_listing = rule.tags.newest is not None and tag not in rule.tags.names
    return FollowedTag(rule.name, rule.repository, tag, found, by_listing)
