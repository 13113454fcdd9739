"""The step of the demo that no rule names: what ECR's pull through cache holds is discovered and refreshed."""

from typing import NamedTuple

from local.demo.deviation import DeviationError, expect
from local.demo.screen import Screen
from local.demo.stage import CHECK_EVERY, Stage
from local.images import make_image
from local.registry import FakeRegistry
from pullahead.mirrors.record import LastRefresh, State
from pullahead.oci import Digest, short
from pullahead.rules.mirror_key import MirrorKey

_PREFIX = "quay"  # one of those that AWS proposes, which template.yaml allows by itself
_PATHS = ("api", "worker")
_IGNORED = "legacy"


class CachedMirror(NamedTuple):
    """The final state of a cached tag."""

    key: str
    digest: Digest
    refresh: LastRefresh


def tell_cached(stage: Stage, screen: Screen, upstream: FakeRegistry) -> list[CachedMirror]:
    """Tell the step. Raises DeviationError."""
    screen.step("A pull through cache rule, and two repositories that it cached")
    stage.aws.client("ecr").create_pull_through_cache_rule(
        ecrRepositoryPrefix=_PREFIX, upstreamRegistryUrl=upstream.host
    )
    for number, path in enumerate((*_PATHS, _IGNORED)):
        _cache(stage, path, ignored=path == _IGNORED, seed=700 + number)
        upstream.push(make_image([1_200_000], seed=800 + number), path, stage.tag)
    screen.say(
        f"ECR caches {upstream.host} under {_PREFIX}/, and would look upstream once in 24 hours, when somebody pulls"
    )
    screen.say(f"upstream has moved on; {_PREFIX}/{_IGNORED} is tagged pullahead:ignore; no rule names any of them")
    stage.tick(CHECK_EVERY)
    mirrors = [_refreshed(stage, upstream, path) for path in _PATHS]
    for mirror in mirrors:
        screen.proved(f"{mirror.key} → {short(mirror.digest)}, state FRESH")
    ignored = f"{_PREFIX}/{_IGNORED}"
    expect(stage.record(ignored) is None, f"{ignored} was checked although it is to be ignored")
    screen.proved(f"{ignored}:{stage.tag} was left alone")
    return mirrors


def _cache(stage: Stage, path: str, *, ignored: bool, seed: int) -> None:
    tags = [{"Key": "pullahead:ignore", "Value": "true"}] if ignored else []
    stage.aws.client("ecr").create_repository(repositoryName=f"{_PREFIX}/{path}", tags=tags)
    stage.client().push(make_image([1_200_000], seed=seed), f"{_PREFIX}/{path}", stage.tag)


def _refreshed(stage: Stage, upstream: FakeRegistry, path: str) -> CachedMirror:
    repository = f"{_PREFIX}/{path}"
    record, published = stage.record(repository), stage.published(repository)
    wanted = upstream.content.find_manifest(path, stage.tag)
    if record is None or record.state is not State.FRESH or record.last_refresh is None:
        raise DeviationError(f"{repository} is not FRESH: {record}")
    if wanted is None or published is None or published != wanted.descriptor.digest:
        raise DeviationError(f"{repository} serves {published}")
    return CachedMirror(str(MirrorKey(repository, stage.tag)), published, record.last_refresh)
