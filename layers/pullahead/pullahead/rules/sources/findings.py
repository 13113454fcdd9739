"""What was found in AWS: pull through cache rules, cached and tagged repositories. Pure data, stored as it is."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pullahead.rules.model import Rule, UpstreamSettings


class CacheRule(msgspec.Struct, frozen=True):
    """A pull through cache rule of ECR. The prefix is empty where ECR says ROOT."""

    prefix: str
    registry_url: str
    upstream_prefix: str = ""
    credential: str | None = None  # the ARN of a secret
    role: str | None = None  # the ARN of a role, for ECR in another account

    @property
    def name(self) -> str:
        """Name the rule as ECR does."""
        return self.prefix or "ROOT"

    def covers(self, repository: str) -> bool:
        """Tell whether a repository is below the prefix."""
        return not self.prefix or repository.startswith(f"{self.prefix}/")


class CachedRepository(msgspec.Struct, frozen=True):
    """A repository below a pull through cache rule, and its tags."""

    name: str
    tags: tuple[str, ...]


class TaggedRepository(msgspec.Struct, frozen=True):
    """A repository with resource tags of Pullahead, or of a tool that it is compatible with."""

    name: str
    tags: Mapping[str, str]


class PullRights(msgspec.Struct, frozen=True):
    """What Pullahead's own roles may pull from; without an account, that is not known."""

    account: str = ""
    repositories: tuple[str, ...] = ()  # globs of ECR repositories of this account, in every Region
    roles: tuple[str, ...] = ()  # globs of ARNs of roles that may be assumed


UNKNOWN_RIGHTS = PullRights()


class Findings(msgspec.Struct, frozen=True):
    """All findings, in a fixed order."""

    cache_rules: tuple[CacheRule, ...] = ()
    cached: tuple[CachedRepository, ...] = ()
    tagged: tuple[TaggedRepository, ...] = ()
    within: tuple[str, ...] = ()  # globs of the repositories that may be written, where there are cache rules
    rights: PullRights = UNKNOWN_RIGHTS


class DescribedSource(NamedTuple):
    """What the findings of one source add: rules, settings of upstream hosts, and problems."""

    rules: tuple[Rule, ...] = ()
    upstreams: tuple[UpstreamSettings, ...] = ()
    problems: tuple[str, ...] = ()
