"""What was found in AWS that asks to be followed, as it was found. Pure data, also as it is kept between functions."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from pullahead.rules.model import Rule, UpstreamSettings


class CacheRule(msgspec.Struct, frozen=True):
    """A pull through cache rule of ECR. A prefix is empty where ECR says ROOT."""

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
        """Tell whether a repository lies under the prefix."""
        return not self.prefix or repository.startswith(f"{self.prefix}/")


class CachedRepository(msgspec.Struct, frozen=True):
    """A repository under a pull through cache rule, and the tags that it has."""

    name: str
    tags: tuple[str, ...]


class TaggedRepository(msgspec.Struct, frozen=True):
    """A repository with resource tags that are meant for Pullahead (or for tools that it follows)."""

    name: str
    tags: Mapping[str, str]


class Findings(msgspec.Struct, frozen=True):
    """Everything that was found, in a fixed order."""

    cache_rules: tuple[CacheRule, ...] = ()
    cached: tuple[CachedRepository, ...] = ()
    tagged: tuple[TaggedRepository, ...] = ()
    within: tuple[str, ...] = ()  # globs of the repositories that may be written, where there are cache rules


class DescribedSource(NamedTuple):
    """What findings of one source come to: rules, what upstreams need for them, and what could not be understood."""

    rules: tuple[Rule, ...] = ()
    upstreams: tuple[UpstreamSettings, ...] = ()
    problems: tuple[str, ...] = ()
