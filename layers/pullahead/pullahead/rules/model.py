"""What the rules say, after every default was applied and every reference parsed. Pure data.

What becomes of a tag that somebody deletes from ECR. Pure data.

Which pulls are answered by mirroring what was pulled: patterns of paths and tags, and the bounds of it. Pure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import NamedTuple

from pullahead.errors import ConfigError
from pullahead.oci import Reference, Repository, parse_reference
from pullahead.oci.reference import DOCKER_HUB, is_tag
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.repository_names import Template, fill
from pullahead.rules.tag_patterns import TagSelection, allows
from pullahead.rules.values import REPOSITORY_ADVICE, is_repository_name


class WhenDeleted(StrEnum):
    """Whether it is restored at once, or left deleted until upstream moves."""

    RESTORE = "restore"
    LEAVE = "leave"


DEFAULT_DAILY_LIMIT = 50
DEFAULT_EXPIRE_AFTER = timedelta(days=30)


class OnDemand(NamedTuple):
    """What may be demanded, how much of it a day, and for how long it is followed when nobody pulls it any more.

    A pattern is a glob of upstream paths, and where a colon follows, a glob of tags; a star spans slashes.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...] = ()
    daily_limit: int = DEFAULT_DAILY_LIMIT
    expire_after: timedelta = DEFAULT_EXPIRE_AFTER

    def allows(self, path: str, tag: str) -> bool:
        """Tell whether a tag of a path may be demanded: allowed by some pattern, and denied by none."""
        return any(_fits(glob, path, tag) for glob in self.allow) and not any(
            _fits(glob, path, tag) for glob in self.deny
        )


def _fits(pattern: str, path: str, tag: str) -> bool:
    of_path, colon, of_tag = pattern.partition(":")
    return fnmatchcase(path, of_path) and (not colon or fnmatchcase(tag, of_tag))


class Mirror(NamedTuple):
    """One tag that is kept: an upstream tag and the ECR repository and tag that follow it."""

    upstream: Reference
    repository: str
    tag: str
    check_every: timedelta
    alert_after: timedelta
    platforms: tuple[str, ...] = ()
    immutable: bool = False  # never asked for again once it is there
    rule: str = ""  # the name of the rule that it comes from
    on_demand: bool = False  # followed only where somebody pulled it
    restored: bool = True  # if it is deleted from ECR; else only when upstream moves
    guessed: bool = False  # an event named the tag, and no rule does: it counts only if upstream has it

    @property
    def key(self) -> MirrorKey:
        """Identify the mirror by what it publishes."""
        return MirrorKey(self.repository, self.tag)


class Source(StrEnum):
    """Where a rule was found."""

    FILE = "file"
    PULL_THROUGH_CACHE = "pull-through-cache"
    RESOURCE_TAGS = "resource-tags"


class Rule(NamedTuple):
    """Follow tags of one upstream repository in one target repository.

    `upstream.path` may end in `/*`: then the rule stands for every repository below, and `repository` is a template.
    On demand, it may be `*` alone: all of a registry.
    """

    name: str
    upstream: Repository
    repository: str
    tags: TagSelection
    check_every: timedelta
    alert_after: timedelta
    platforms: tuple[str, ...] = ()
    immutable_tags: tuple[str, ...] = ()  # globs
    settings: RepositorySettings | None = None  # None: by ECR's repository creation template, or its defaults
    source: Source = Source.FILE
    when_deleted: WhenDeleted = WhenDeleted.RESTORE
    on_demand: OnDemand | None = None  # then what is pulled is followed, of all that lies below

    @property
    def is_namespace(self) -> bool:
        """Tell whether the rule stands for every repository below a path."""
        return self.upstream.path.endswith("*")

    def mirror(self, tag: str) -> Mirror:
        """Make the mirror of one tag, of a rule for one repository."""
        return Mirror(
            Reference(self.upstream, tag),
            self.repository,
            tag,
            self.check_every,
            self.alert_after,
            self.platforms,
            any(fnmatchcase(tag, glob) for glob in self.immutable_tags),
            self.name,
            self.on_demand is not None,
            self.when_deleted is WhenDeleted.RESTORE,
        )

    def expand(self, path: str) -> "Rule":
        """Make of a rule for a namespace the rule for one repository of it; the name stays.

        Raises ConfigError where ECR does not allow the name that the template gives.
        """
        upstream = Repository(self.upstream.registry, path)
        repository = fill(self.repository, upstream)
        if not is_repository_name(repository):
            raise ConfigError(
                f"the rule {self.name} publishes {upstream} into {repository}, which is no name that ECR allows. "
                f"{REPOSITORY_ADVICE}"
            )
        return self._replace(upstream=upstream, repository=repository)


class CredentialSource(NamedTuple):
    """The secret that holds the account for repositories whose path fits a glob."""

    secret: str  # name or ARN in Secrets Manager
    path: str = "*"
    role: str | None = None  # the ARN of a role to assume (ECR in another account)


class RateLimit(NamedTuple):
    """How hard a host may be pressed. `reserve` is the share of its own limit that is left to others."""

    requests_per_second: float | None = None
    reserve: float = 0.1


class UpstreamSettings(NamedTuple):
    """How to talk to one upstream host."""

    host: str
    plain_http: bool = False  # only ever on purpose: nothing then proves who answers
    private_addresses: bool = False  # may be reached at addresses that are not public
    credentials: tuple[CredentialSource, ...] = ()
    ca: str | None = None  # PEM certificates to trust for this host, as text
    token_hosts: tuple[str, ...] = ()  # hosts of token services that its credentials may go to
    rate_limit: RateLimit = RateLimit()


@dataclass(frozen=True)
class Rules:
    """Every mirror that is named exactly, the rules, what upstreams need, and a digest that changes when they do."""

    mirrors: tuple[Mirror, ...]
    upstreams: tuple[UpstreamSettings, ...]
    digest: str
    rules: tuple[Rule, ...] = ()
    opted_out: frozenset[str] = frozenset()  # globs of target repositories that only the rules file may name
    sources: frozenset[Source] = frozenset(Source)
    paused: frozenset[str] = frozenset()  # names of rules whose mirrors are left alone for now

    def find(self, repository: str, tag: str) -> Mirror | None:
        """Find the mirror that publishes a tag: named exactly, else one that a rule's patterns may choose, else one
        that may be demanded."""
        mirror = self._by_key.get(MirrorKey(repository, tag))
        if mirror is not None:
            return mirror
        rule = self._choosing_rule(repository, tag)
        return rule.mirror(tag) if rule is not None else None

    def find_rule(self, repository: str, tag: str) -> Rule | None:
        """Find the rule that a tag is published by; of a namespace, the rule for that one repository."""
        mirror = self._by_key.get(MirrorKey(repository, tag))
        return self._by_name.get(mirror.rule) if mirror is not None else self._choosing_rule(repository, tag)

    def creation_of(self, repository: str, tag: str) -> RepositorySettings | None:
        """Tell how a tag's rule wants a missing repository to be made; None where it does not say."""
        rule = self.find_rule(repository, tag)
        return rule.settings if rule is not None else None

    def rules_of(self, repository: str) -> tuple[Rule, ...]:
        """Find the rules that may publish into a repository; those of a namespace as rules for that one repository."""
        return (*self._by_repository.get(repository, ()), *self._expanded(repository))

    def settings_of(self, host: str) -> UpstreamSettings | None:
        """Find the settings of an upstream host; None where the rules have none."""
        return self._by_host.get(host)

    def _choosing_rule(self, repository: str, tag: str) -> Rule | None:
        choosing = (rule for rule in self._by_repository.get(repository, ()) if rule.tags.patterns)
        here = next((rule for rule in choosing if allows(rule.tags, tag)), None)
        chosen = here or next((rule for rule in self._expanded(repository) if allows(rule.tags, tag)), None)
        return chosen or self._demandable_rule(repository, tag)

    def _demandable_rule(self, repository: str, tag: str) -> Rule | None:
        if not is_tag(tag) or not is_repository_name(repository):
            return None
        for rule, template in self._on_demand:
            path = _completed(rule.upstream.registry, template.path_of(repository))
            if path is not None and rule.on_demand is not None and rule.on_demand.allows(path, tag):
                return rule._replace(upstream=Repository(rule.upstream.registry, path), repository=repository)
        return None

    def _expanded(self, repository: str) -> Iterator[Rule]:
        for rule, template in self._namespaces:
            path = template.path_of(repository)
            if path is not None:
                yield rule._replace(upstream=Repository(rule.upstream.registry, path), repository=repository)

    @cached_property
    def _by_key(self) -> dict[MirrorKey, Mirror]:
        return {mirror.key: mirror for mirror in self.mirrors}

    @cached_property
    def _by_host(self) -> dict[str, UpstreamSettings]:
        return {settings.host: settings for settings in self.upstreams}

    @cached_property
    def _by_name(self) -> dict[str, Rule]:
        return {rule.name: rule for rule in self.rules}

    @cached_property
    def _by_repository(self) -> dict[str, list[Rule]]:
        grouped: dict[str, list[Rule]] = {}
        for rule in self.rules:
            if not rule.is_namespace:
                grouped.setdefault(rule.repository, []).append(rule)
        return grouped

    @cached_property
    def _namespaces(self) -> tuple[tuple[Rule, Template], ...]:
        return tuple(_with_template(rule) for rule in self.rules if rule.is_namespace and rule.on_demand is None)

    @cached_property
    def _on_demand(self) -> tuple[tuple[Rule, Template], ...]:
        return tuple(_with_template(rule) for rule in self.rules if rule.on_demand is not None)


def _with_template(rule: Rule) -> tuple[Rule, Template]:
    return rule, Template(rule.repository, rule.upstream)


def _completed(registry: str, path: str | None) -> str | None:
    """Let `alpine` stand for `library/alpine` on Docker Hub, as it does for docker."""
    return f"library/{path}" if path and registry == DOCKER_HUB and "/" not in path else path


NewlyCached = Callable[[str, str], Mirror | None]
"""Makes the mirror of a repository's tag that a pull through cache rule has only just cached; None where none has."""


def never_cached(_repository: str, _tag: str) -> Mirror | None:
    """Know of nothing that was only just cached."""
    return None


def expanded_for(upstream: str, rule: Rule) -> Rule | None:
    """Make of a rule for a namespace the one for a repository that was found in it; None where it gives no name."""
    try:
        return rule.expand(parse_reference(upstream).repository.path)
    except ConfigError:
        return None  # the listing of the namespace says so


def is_chosen(mirror: Mirror, rules: Rules) -> bool:
    """Whether a pattern chose the tag, rather than a rule naming it and its repository."""
    rule = rule_named(mirror.rule, rules)
    return rule is not None and (rule.is_namespace or mirror.tag not in rule.tags.names)


def rule_named(name: str, rules: Rules) -> Rule | None:
    """Find a rule by its name."""
    return next((rule for rule in rules.rules if rule.name == name), None)
