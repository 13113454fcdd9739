"""What the rules say, after every default was applied and every reference parsed. Pure data."""

from datetime import timedelta
from typing import NamedTuple

from pullahead.oci import Reference


class Mirror(NamedTuple):
    """One tag that is kept: an upstream tag and the ECR repository and tag that follow it."""

    upstream: Reference
    repository: str
    tag: str
    check_every: timedelta
    alert_after: timedelta

    @property
    def key(self) -> str:
        """Identify the mirror: what it publishes, `repository:tag`."""
        return mirror_key(self.repository, self.tag)


class UpstreamSettings(NamedTuple):
    """How to talk to one upstream host."""

    host: str
    plain_http: bool = False  # only ever on purpose: nothing then proves who answers


class Rules(NamedTuple):
    """Every mirror, the settings of upstream hosts, and a digest that changes when the rules do."""

    mirrors: tuple[Mirror, ...]
    upstreams: tuple[UpstreamSettings, ...]
    digest: str

    def find(self, repository: str, tag: str) -> Mirror | None:
        """Find the mirror that publishes a tag, or None where no rule names it."""
        return next((m for m in self.mirrors if m.repository == repository and m.tag == tag), None)


def mirror_key(repository: str, tag: str) -> str:
    """Identify the mirror that publishes a repository's tag."""
    return f"{repository}:{tag}"
