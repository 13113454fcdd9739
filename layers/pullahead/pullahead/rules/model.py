"""What the rules say, after every default was applied and every reference parsed. Pure data."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from pullahead.oci import Reference, Repository


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

    @property
    def key(self) -> str:
        """Identify the mirror: what it publishes, `repository:tag`."""
        return mirror_key(self.repository, self.tag)


class PatternKind(StrEnum):
    """How a pattern of tags is written."""

    GLOB = "glob"
    REGEX = "regex"
    SEMVER = "semver"


class TagPattern(NamedTuple):
    """One pattern that tags are compared with."""

    kind: PatternKind
    text: str


class TagSelection(NamedTuple):
    """Which tags of a repository a rule follows. Names are never listed; patterns choose from upstream's listing."""

    names: tuple[str, ...] = ()
    patterns: tuple[TagPattern, ...] = ()
    exclude: tuple[TagPattern, ...] = ()
    prereleases: bool = False
    newest: int | None = None
    min_tags: int = 0  # fewer tags selected than this are upstream's fault, not a wish


class RepositorySettings(NamedTuple):
    """How a target repository is made, where it is not there. Policies are JSON texts."""

    tags: tuple[tuple[str, str], ...] = ()
    kms_key: str | None = None  # None: AES-256; "" : the AWS managed key
    scan_on_push: bool = False
    immutable_tags: bool = False
    mutable_tag_filters: tuple[str, ...] = ()  # wildcards that stay mutable where tags are immutable
    lifecycle_policy: str | None = None
    repository_policy: str | None = None


class Source(StrEnum):
    """Where a rule was found."""

    FILE = "file"
    PULL_THROUGH_CACHE = "pull-through-cache"
    RESOURCE_TAGS = "resource-tags"


class Rule(NamedTuple):
    """Follow tags of one upstream repository in one target repository.

    `upstream.path` may end in `/*`: then the rule stands for every repository below, and `repository` is a template.
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
    """Every mirror, the settings of upstream hosts, and a digest that changes when the rules do."""

    mirrors: tuple[Mirror, ...]
    upstreams: tuple[UpstreamSettings, ...]
    digest: str
    rules: tuple[Rule, ...] = ()

    def find(self, repository: str, tag: str) -> Mirror | None:
        """Find the mirror that publishes a tag, or None where no rule names it."""
        return self._by_key.get(mirror_key(repository, tag))

    @cached_property
    def _by_key(self) -> dict[str, Mirror]:
        return {mirror.key: mirror for mirror in self.mirrors}


def mirror_key(repository: str, tag: str) -> str:
    """Identify the mirror that publishes a repository's tag."""
    return f"{repository}:{tag}"
