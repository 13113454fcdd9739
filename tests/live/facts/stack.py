"""Facts about the deployed stack as a whole: it does with real images what the local AWS shows."""

import contextlib
from typing import Any, Final, NamedTuple

from local.images import make_image
from pullahead.mirrors.record import LastRefresh, State
from pullahead.oci import Digest
from tests.live.fact import Finding, Section, UnmetError
from tests.live.facts.pull_through_cache import cached, repository_of
from tests.live.site import Site
from tests.live.upstreams import CACHED, DELETED, MIRRORED, OVERWRITTEN, UpstreamTag

SECTION: Final = Section("The stack")

_REFRESH_SECONDS: Final = 600.0
_STACK: Final = ("template.yaml", "statemachines/refresh.asl.yaml")
_LOCAL: Final = ("local/aws/server.py", "local/aws/events.py")
MIRRORS: Final = {"alpine": MIRRORED, "overwritten": OVERWRITTEN, "deleted": DELETED}
"""The mirrors of the stack's rules, by the last part of their repositories."""


def rules(site: Site) -> str:
    """Write the rules file of the stack."""
    upstream, tag = site.upstream, site.run.name
    settings = f'upstreams: {{"{upstream.host}": {{plain_http: true}}}}\n' if upstream.plain_http else ""
    mirrors = "".join(
        f'  - upstream: {upstream.host}/{named.path}\n    tags: ["{named.tag}"]\n'
        f"    repository: {site.run.repository(path)}\n    create: {{tags: {{pullahead-live: {tag}}}}}\n"
        for path, named in MIRRORS.items()
    )
    return f"version: 1\n{settings}mirrors:\n{mirrors}"


def _last_refresh(site: Site, repository: str, named: UpstreamTag) -> LastRefresh | None:
    record = site.record(repository, named.tag)
    return record.last_refresh if record is not None else None


def _is_fresh(
    site: Site, repository: str, named: UpstreamTag, digest: Digest, after: LastRefresh | None = None
) -> Finding:
    """Wait until a mirror serves a digest and the stack knows that it does, by a refresh after another one."""

    def look() -> bool | None:
        if site.served(repository, named.tag) != digest:
            return None
        record = site.record(repository, named.tag)
        fresh = record is not None and record.state is State.FRESH and (after is None or record.last_refresh != after)
        return True if fresh else None

    waited = site.waits.until(look, _REFRESH_SECONDS)
    if waited is not None:
        return Finding(True, f"FRESH {waited.after}")
    record = site.record(repository, named.tag)
    state = "no record" if record is None else f"{record.state}, {record.cause or 'no error'}"
    return Finding(False, f"not within {_REFRESH_SECONDS:.0f} s: serves {site.served(repository, named.tag)}, {state}")


class Mirrored(NamedTuple):
    """What the stack was first asked to mirror: upstream's digests by path, and what became of the first mirror."""

    digests: dict[str, Digest]
    first: Finding


def mirrored(site: Site) -> Mirrored:
    """Let the stack mirror what its rules name and what ECR has cached, once."""

    def check() -> Mirrored:
        with contextlib.suppress(UnmetError, LookupError):
            cached(site)  # it must be there at the first check: the next one is not due for 15 minutes
        digests = {path: site.upstream.digest(named) for path, named in MIRRORS.items()}
        site.check_now()
        found = [_is_fresh(site, site.run.repository(path), named, digests[path]) for path, named in MIRRORS.items()]
        return Mirrored(digests, found[0])

    return site.once("mirrors", check)


@SECTION.fact(
    "A missing tag is mirrored in all of its platforms, by the functions and roles as deployed, and is FRESH then.",
    source="README",
    relied_on_by=_STACK,
    emulated_in=_LOCAL,
    needs_stack=True,
)
def mirrors_missing_tag(site: Site) -> Finding:
    return mirrored(site).first


@SECTION.fact(
    "A tag that somebody overwrites in ECR is restored after the push event, without a schedule.",
    source="README",
    relied_on_by=(*_STACK, "checks/ecr_events.py"),
    emulated_in=_LOCAL,
    needs_stack=True,
)
def restores_overwritten_tag(site: Site) -> Finding:
    digest, repository = mirrored(site).digests["overwritten"], site.run.repository("overwritten")
    before = _last_refresh(site, repository, OVERWRITTEN)
    site.push(make_image(seed=70), repository, OVERWRITTEN.tag)
    return _is_fresh(site, repository, OVERWRITTEN, digest, before)


@SECTION.fact(
    "A tag that somebody deletes in ECR is restored after the delete event, without a schedule.",
    source="README",
    relied_on_by=(*_STACK, "checks/ecr_events.py"),
    emulated_in=_LOCAL,
    needs_stack=True,
)
def restores_deleted_tag(site: Site) -> Finding:
    digest, repository = mirrored(site).digests["deleted"], site.run.repository("deleted")
    before = _last_refresh(site, repository, DELETED)
    site.ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": DELETED.tag}])
    return _is_fresh(site, repository, DELETED, digest, before)


@SECTION.fact(
    "A tag of the pull through cache is found without a rule, and restored when somebody overwrites it.",
    source="docs/sources.md",
    relied_on_by=("rules/sources/pull_through_cache.py", "template.yaml"),
    emulated_in=(*_LOCAL, "local/ecr/cache_imports.py"),
    needs_stack=True,
)
def follows_the_cache(site: Site) -> Finding:
    cached(site)
    mirrored(site)
    repository, digest = repository_of(site, CACHED), site.upstream.digest(CACHED)
    found = _is_fresh(site, repository, CACHED, digest)
    if not found.agrees:
        return found
    before = _last_refresh(site, repository, CACHED)
    site.push(make_image(seed=71), repository, CACHED.tag)
    restored = _is_fresh(site, repository, CACHED, digest, before)
    return restored._replace(seen=f"found; overwritten, and {restored.seen}")


@SECTION.fact(
    "A scan of the table goes on after a key whose item was deleted meanwhile, and leaves nothing out.",
    source="Amazon DynamoDB API reference, Scan (ExclusiveStartKey)",
    relied_on_by=("aws/records.py", "alerts/full_scan.py"),
    emulated_in=("local/aws/dynamodb.py",),
    needs_stack=True,
)
def scan_goes_on_after_a_deleted_item(site: Site) -> Finding:
    mirrored(site)
    dynamodb, table = site.account.client("dynamodb"), site.stack.outputs["RecordsTableName"]

    def keys_after(**start: Any) -> list[str]:
        return [item["pk"]["S"] for item in dynamodb.scan(TableName=table, **start)["Items"]]

    deleted = {"pk": {"S": f"window#{site.run.name}"}}
    dynamodb.put_item(TableName=table, Item=deleted)
    every = keys_after()
    dynamodb.delete_item(TableName=table, Key=deleted)
    expected, found = every[every.index(deleted["pk"]["S"]) + 1 :], keys_after(ExclusiveStartKey=deleted)
    missing = set(expected) - set(found)
    return Finding(not missing, f"{len(expected)} of {len(every)} items come after it; left out: {len(missing)}")
