"""Rules and mirrors, with every default applied and every reference parsed, and how to find them. Pure data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property
from typing import NamedTuple

from pullahead.errors import ConfigError
from pullahead.oci import Digest, Reference, Repository, parse_reference
from pullahead.oci.reference import DOCKER_HUB, is_tag
from pullahead.oci.referrers import subject_of_tag
from pullahead.oci.registries import RepositorySettings
from pullahead.rules.admission_policy import AdmissionPolicy
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.named_mirrors import NamedMirrors
from pullahead.rules.published_tags import NamedTag, digest_of_tag, digest_tag, is_previous_tag, publish_as
from pullahead.rules.repository_names import REPOSITORY_ADVICE, Template, fill, is_repository_name
from pullahead.rules.tag_patterns import TagSelection


class WhenDeleted(StrEnum):
    """What happens when a tag is deleted from ECR: restored, or left deleted until upstream moves."""

    RESTORE = "restore"
    LEAVE = "leave"


DEFAULT_CHECK_EVERY = timedelta(minutes=15)
DEFAULT_ALERT_AFTER = timedelta(hours=6)
DEFAULT_DAILY_LIMIT = 50
DEFAULT_EXPIRE_AFTER = timedelta(days=30)
DEFAULT_MAX_LAYER_BYTES = 52_000 * 1024**2
"""Amazon ECR User Guide, "Amazon ECR service quotas", maximum layer size."""
DEFAULT_MAX_IMAGE_BYTES = 500 * 1024**3
"""Some ten of ECR's largest layers; ECR itself limits layers only."""


class OnDemand(NamedTuple):
    """What may be pulled on demand, how many new mirrors a day, and how long they are followed after the last pull.

    A pattern is a glob of upstream paths, optionally with a colon and a glob of tags; a star spans slashes. A digest
    that is pulled counts as the tag `digest-<64 hex digits>`.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...] = ()
    daily_limit: int = DEFAULT_DAILY_LIMIT
    expire_after: timedelta = DEFAULT_EXPIRE_AFTER

    def allows(self, path: str, tag: str) -> bool:
        """Tell whether a tag of a path may be pulled: allowed by a pattern, and denied by none."""
        return any(_matches(glob, path, tag) for glob in self.allow) and not any(
            _matches(glob, path, tag) for glob in self.deny
        )


def _matches(pattern: str, path: str, tag: str) -> bool:
    of_path, colon, of_tag = pattern.partition(":")
    return fnmatchcase(path, of_path) and (not colon or fnmatchcase(tag, of_tag))


class ReferrersPolicy(NamedTuple):
    """Which referrers of an image are copied with it, and for how long after a new digest late ones are looked for.

    `copy` is all, none, or those whose kind matches one of these globs; `exclude` are globs of kinds that are left out.
    """

    copy: bool | tuple[str, ...] = True
    exclude: tuple[str, ...] = ()
    late: timedelta | None = None  # None: for as long as the digest is mirrored; zero: never

    @property
    def copies_any(self) -> bool:
        """Tell whether any referrer may be copied."""
        return bool(self.copy)


class KeepPrevious(NamedTuple):
    """How many of the digests that a tag served are kept after it has moved, and for how long."""

    most: int = 3
    keep_for: timedelta = timedelta(days=90)


class Prune(NamedTuple):
    """After what time tags that upstream removed, or that the rule no longer chooses, are removed; None: never.

    `deletes`: else they are reported only. `at_most`: which share of the rule's tags may go in a day.
    """

    gone: timedelta | None = timedelta(days=30)
    unchosen: timedelta | None = timedelta(days=30)
    deletes: bool = False
    at_most: float = 0.1


NO_REFERRERS = ReferrersPolicy(copy=False)


class SizeLimits(NamedTuple):
    """How many bytes a layer, and all layers of an image with all its platforms, may have."""

    layer: int = DEFAULT_MAX_LAYER_BYTES
    image: int = DEFAULT_MAX_IMAGE_BYTES


class Mirror(NamedTuple):
    """One mirrored tag: an upstream tag, and the ECR repository and tag that follow it. Their names may differ."""

    upstream: Reference
    repository: str
    tag: str
    check_every: timedelta
    alert_after: timedelta
    platforms: tuple[str, ...] = ()
    immutable: bool = False  # upstream is not checked again once it is in ECR
    rule: str = ""  # name of its rule
    on_demand: bool = False  # followed because it was pulled
    restored: bool = True  # at once if deleted from ECR, else when upstream moves
    guessed: bool = False  # named by an event and no rule: only valid if upstream has it
    listed: bool = False  # selected by a pattern: upstream has listed it
    referrers: ReferrersPolicy = ReferrersPolicy()
    replicated_from: str = ""  # from where ECR's replication writes it: then a deleted tag is not restored at once
    sizes: SizeLimits = SizeLimits()
    keep_previous: KeepPrevious | None = None
    admit: AdmissionPolicy | None = None  # None: the tag serves any digest at once

    @property
    def without_signatures(self) -> "Mirror":
        """The same without a demand of signatures."""
        return self._replace(admit=self.admit.without_signatures if self.admit is not None else None)

    @property
    def pin(self) -> Digest | None:
        """The digest that the rules pin the tag to, whatever upstream serves under it."""
        return self.upstream.digest

    @property
    def key(self) -> MirrorKey:
        """Identify the mirror by what it publishes."""
        return MirrorKey(self.repository, self.tag)


class Source(StrEnum):
    """Where a rule comes from."""

    FILE = "file"
    PULL_THROUGH_CACHE = "pull-through-cache"
    RESOURCE_TAGS = "resource-tags"


class Rule(NamedTuple):
    """Tags of one upstream repository to follow in one target repository.

    Where `upstream.path` ends in `/*`, the rule stands for every repository below, and `repository` is a template.
    On demand, it may be `*`, which is all of a registry.
    """

    name: str
    upstream: Repository
    repository: str
    tags: TagSelection
    check_every: timedelta
    alert_after: timedelta
    platforms: tuple[str, ...] = ()
    immutable_tags: tuple[str, ...] = ()  # globs
    settings: RepositorySettings | None = None  # None: ECR's repository creation template or defaults decide
    source: Source = Source.FILE
    when_deleted: WhenDeleted = WhenDeleted.RESTORE
    on_demand: OnDemand | None = None  # follow what is pulled from below
    referrers: ReferrersPolicy = ReferrersPolicy()
    sizes: SizeLimits = SizeLimits()
    keep_previous: KeepPrevious | None = None  # None: what a moved tag leaves is untagged
    prune: Prune | None = None  # None: nothing is ever removed, or reported to be
    admit: AdmissionPolicy | None = None

    @property
    def without_signatures(self) -> "Rule":
        """The same without a demand of signatures."""
        return self._replace(admit=self.admit.without_signatures if self.admit is not None else None)

    @property
    def is_namespace(self) -> bool:
        """Tell whether the rule is for every repository below a path."""
        return self.upstream.path.endswith("*")

    def mirror(self, tag: str, *, is_named: bool | None = None) -> Mirror:
        """Make the mirror of an upstream tag that is published by the template; not for namespaces.

        `is_named`: whether the rule names it, where that is known.
        """
        named = tag in self.tags.names if is_named is None else is_named
        return self.mirror_as(NamedTag(tag, publish_as(self.tags.template, tag)), is_named=named)

    def mirror_of(self, target: str) -> Mirror | None:
        """Make the mirror of a tag in ECR; None where neither names nor patterns choose it. Not for namespaces."""
        if self.on_demand is not None:
            pulled = digest_of_tag(target)
            return self.mirror(target) if pulled is None else self.mirror_as(digest_tag(pulled), is_named=False)
        published = self.tags.published_as(target)
        return self.mirror_as(published, is_named=self.tags.is_named(target)) if published is not None else None

    @property
    def named_mirrors(self) -> tuple[Mirror, ...]:
        """The mirrors of all tags that are named; not for namespaces."""
        return tuple(self.mirror_as(named, is_named=True) for named in self.tags.named)

    def mirror_as(self, published: NamedTag, *, is_named: bool) -> Mirror:
        """Make the mirror of a tag that the rule names or chooses; not for namespaces."""
        tag = published.name
        return Mirror(
            Reference(self.upstream, tag, published.digest),
            self.repository,
            published.target,
            self.check_every,
            self.alert_after,
            self.platforms,
            tag is None or any(fnmatchcase(tag, glob) for glob in self.immutable_tags),
            self.name,
            self.on_demand is not None,
            self.when_deleted is WhenDeleted.RESTORE,
            listed=self.on_demand is None and not is_named,
            referrers=self.referrers if tag is None or subject_of_tag(tag) is None else NO_REFERRERS,
            sizes=self.sizes,
            keep_previous=self.keep_previous,
            admit=self.admit,
        )

    def expand(self, path: str) -> "Rule":
        """Make the rule for one repository of a namespace, under the same name.

        Raises ConfigError where the template gives no valid name.
        """
        upstream = Repository(self.upstream.registry, path)
        repository = fill(self.repository, upstream)
        if not is_repository_name(repository):
            raise ConfigError(
                f"the rule {self.name} publishes {upstream} into {repository}, which is not a valid ECR repository "
                f"name. {REPOSITORY_ADVICE}"
            )
        return self._replace(upstream=upstream, repository=repository)


class CredentialSource(NamedTuple):
    """The secret with the credentials for repositories whose path matches a glob."""

    secret: str  # name or ARN in Secrets Manager
    path: str = "*"
    role: str | None = None  # the ARN of a role to assume (ECR in another account)


class RateLimit(NamedTuple):
    """Limits of the requests to a host. `reserve` is the share of its own limit that is left to others."""

    requests_per_second: float | None = None
    reserve: float = 0.1


class UpstreamSettings(NamedTuple):
    """How to talk to one upstream host."""

    host: str
    plain_http: bool = False  # nothing then proves which host answers
    private_addresses: bool = False  # addresses that are not public are allowed
    credentials: tuple[CredentialSource, ...] = ()
    ca: str | None = None  # PEM text
    token_hosts: tuple[str, ...] = ()  # other hosts that may get its credentials
    rate_limit: RateLimit = RateLimit()
    for_resource_tags: bool = False  # mirrors that only resource tags name may use its credentials


@dataclass(frozen=True)
class Rules:
    """The rules, every mirror that they name exactly, settings of upstreams, and a digest of all of it."""

    mirrors: Sequence[Mirror]
    upstreams: tuple[UpstreamSettings, ...]
    digest: str
    rules: tuple[Rule, ...] = ()
    opted_out: frozenset[str] = frozenset()  # globs of repositories that only the rules file may add
    sources: frozenset[Source] = frozenset(Source)
    paused: frozenset[str] = frozenset()  # names of paused rules
    skipped: Mapping[str, str] = field(default_factory=dict)  # why a rule cannot be followed, by its name

    @cached_property
    def named_mirrors(self) -> NamedMirrors:
        """The mirrors, each made when it is asked for."""
        return NamedMirrors.of(self.mirrors)

    def without_signatures(self) -> "Rules":
        """The same where no rule demands signatures: for who asks for these otherwise."""
        rules = tuple(each.without_signatures for each in self.rules)
        return replace(self, rules=rules, mirrors=self.named_mirrors.without_signatures())

    def is_inactive(self, rule: str) -> bool:
        """Tell whether a rule is paused or skipped: then nothing is checked, refreshed or late because of it."""
        return rule in self.paused or rule in self.skipped

    def find(self, repository: str, tag: str) -> Mirror | None:
        """Find the mirror that publishes a tag: named exactly, else matched by patterns, else allowed on demand."""
        mirror = self.named_mirrors.find(MirrorKey(repository, tag))
        if mirror is not None:
            return mirror
        rule = self._choosing_rule(repository, tag)
        return rule.mirror_of(tag) if rule is not None else None

    def find_rule(self, repository: str, tag: str) -> Rule | None:
        """Find the rule that publishes a tag; of a namespace, the rule for that one repository."""
        mirror = self.named_mirrors.find(MirrorKey(repository, tag))
        return self._by_name.get(mirror.rule) if mirror is not None else self._choosing_rule(repository, tag)

    def creation_of(self, repository: str, tag: str) -> RepositorySettings | None:
        """Find how the rule of a tag creates its repository; None where it does not say."""
        rule = self.find_rule(repository, tag)
        return rule.settings if rule is not None else None

    def named(self, name: str) -> Rule | None:
        """Find a rule by its name."""
        return self._by_name.get(name)

    def referrers_of(self, repository: str, tag: str) -> ReferrersPolicy:
        """Find which referrers the rule of a tag copies; none where no rule names the tag."""
        mirror = self.find(repository, tag)
        return mirror.referrers if mirror is not None else NO_REFERRERS

    def sizes_of(self, repository: str, tag: str) -> SizeLimits:
        """Find how large a tag's image may be."""
        mirror = self.find(repository, tag)
        return mirror.sizes if mirror is not None else SizeLimits()

    def keeps_previous(self, repository: str, tag: str) -> KeepPrevious | None:
        """Find what the rule of a tag keeps of what the tag served; None for nothing."""
        mirror = self.find(repository, tag)
        return mirror.keep_previous if mirror is not None else None

    def rules_of(self, repository: str) -> tuple[Rule, ...]:
        """Find the rules that may publish into a repository; of a namespace, the rule for that one repository."""
        return (*self._by_repository.get(repository, ()), *self._expanded(repository))

    @cached_property
    def hosts(self) -> frozenset[str]:
        """The upstream registries that the rules name."""
        return frozenset({rule.upstream.registry for rule in self.rules}) | frozenset(
            {group.upstream.registry for group in self.named_mirrors.groups}
        )

    @cached_property
    def repositories(self) -> frozenset[str]:
        """The ECR repositories of the tags that are named exactly."""
        return frozenset({group.repository for group in self.named_mirrors.groups})

    def settings_of(self, host: str) -> UpstreamSettings | None:
        """Find the settings of an upstream host."""
        return self._by_host.get(host)

    def may_use_credentials(self, upstream: Repository) -> bool:
        """Tell whether credentials may be used for an upstream repository: not if only resource tags name it.

        Whoever may tag repositories does not own the credentials; a host may be opened to them in the rules.
        """
        settings = self.settings_of(upstream.registry)
        return upstream not in self._by_tags or (settings is not None and settings.for_resource_tags)

    @cached_property
    def _by_tags(self) -> frozenset[Repository]:
        return frozenset(rule.upstream for rule in self.rules if rule.source is Source.RESOURCE_TAGS)

    def _choosing_rule(self, repository: str, tag: str) -> Rule | None:
        choosing = (rule for rule in self._by_repository.get(repository, ()) if rule.tags.patterns)
        here = next((rule for rule in choosing if rule.tags.published_as(tag) is not None), None)
        expanded = (rule for rule in self._expanded(repository) if rule.tags.published_as(tag) is not None)
        chosen = here or next(expanded, None)
        return chosen or self._on_demand_rule(repository, tag)

    def _on_demand_rule(self, repository: str, tag: str) -> Rule | None:
        if not is_tag(tag) or is_previous_tag(tag) or not is_repository_name(repository):
            return None
        for rule, template in self._on_demand:
            path = _complete(rule.upstream.registry, template.path_of(repository))
            if path is not None and rule.on_demand is not None and rule.on_demand.allows(path, tag):
                return rule._replace(upstream=Repository(rule.upstream.registry, path), repository=repository)
        return None

    def _expanded(self, repository: str) -> Iterator[Rule]:
        for rule, template in self._namespaces:
            path = template.path_of(repository)
            if path is not None:
                yield rule._replace(upstream=Repository(rule.upstream.registry, path), repository=repository)

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


def _complete(registry: str, path: str | None) -> str | None:
    """Complete `alpine` to `library/alpine` on Docker Hub, as docker does."""
    return f"library/{path}" if path and registry == DOCKER_HUB and "/" not in path else path


NewlyCached = Callable[[str, str], Mirror | None]
"""Makes the mirror of a tag that a pull through cache rule has just cached; None if none has."""


def never_cached(_repository: str, _tag: str) -> Mirror | None:
    """Find no mirror."""
    return None


def expanded_for(upstream: str, rule: Rule) -> Rule | None:
    """Make the rule for a repository found in a namespace; None where the template gives no valid name."""
    try:
        return rule.expand(parse_reference(upstream).repository.path)
    except ConfigError:
        return None  # reported by the listing of the namespace


def is_chosen(mirror: Mirror, rules: Rules) -> bool:
    """Tell whether a pattern chose the tag, rather than a rule that names it and its repository.

    By the index of what is named: a rule may name 60,000 tags.
    """
    rule = rule_named(mirror.rule, rules)
    if rule is None or rule.is_namespace:
        return rule is not None
    named = rules.named_mirrors.find(mirror.key)
    return named is None or named.rule != rule.name


def rule_named(name: str, rules: Rules) -> Rule | None:
    """Find a rule by its name."""
    return rules.named(name)
