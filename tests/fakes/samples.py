"""Mirrors, rules and errors as most tests need them."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pullahead.errors import RegistryError, Side
from pullahead.mirrors.record import LastRefresh, MirrorRecord, State
from pullahead.oci import Descriptor, Digest, Repository, digest_of, media_types, parse_reference
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, Rule, Rules
from pullahead.rules.tag_patterns import TagSelection

_E = TypeVar("_E", bound=RegistryError)

REPOSITORY = "mirror/app"
UPSTREAM = "ghcr.io/team/app:1.0"
KEY = MirrorKey(REPOSITORY, "1.0")


def mirror(
    tag: str = "1.0",
    *,
    repository: str = REPOSITORY,
    check_every: timedelta = timedelta(minutes=15),
    alert_after: timedelta = timedelta(hours=1),
    platforms: tuple[str, ...] = (),
    immutable: bool = False,
) -> Mirror:
    """Make the mirror of one tag."""
    upstream = parse_reference(f"ghcr.io/team/app:{tag}")
    return Mirror(upstream, repository, tag, check_every, alert_after, platforms, immutable, "app")


def rule(*names: str, upstream: str = "ghcr.io/team/app", **more: Any) -> Rule:
    """Make the rule `app`, which by default names tags of one repository."""
    registry, _, path = upstream.partition("/")
    values: dict[str, Any] = {
        "name": "app",
        "upstream": Repository(registry, path),
        "repository": REPOSITORY,
        "tags": TagSelection(names=names),
        "check_every": timedelta(minutes=15),
        "alert_after": timedelta(hours=1),
    }
    return Rule(**(values | more))


def rules(mirrors: Iterable[Mirror] | None = None, digest: str = "rules-1", *declared: Rule) -> Rules:
    """Make rules, by default of the one mirror."""
    return Rules(tuple(mirrors) if mirrors is not None else (mirror(),), (), digest, declared)


def published(tag: str, at: datetime, **more: Any) -> MirrorRecord:
    """Make the record of a tag of the rule `app` whose digest, `digest(tag)`, was published at a time."""
    served = digest(tag)
    record = MirrorRecord(
        MirrorKey(REPOSITORY, tag),
        f"ghcr.io/team/app:{tag}",
        State.FRESH,
        at,
        upstream_digest=served,
        published_digest=served,
        last_refresh=LastRefresh(at, 1, 1, 1, "execution", served),
        version=1,
    )
    return record.with_changes(**more)


def root(seed: str) -> Descriptor:
    """Make a manifest's descriptor, another for another seed."""
    return Descriptor(media_types.OCI_MANIFEST, digest(seed), 500)


def digest(seed: str) -> Digest:
    """Make a digest, another for another seed."""
    return digest_of(seed.encode())


def failed(kind: type[_E], cause: str = "as scripted", side: Side = Side.UPSTREAM, status: int | None = None) -> _E:
    """Make an error of a registry."""
    return kind(cause, operation="test", side=side, reference=UPSTREAM, status=status)
