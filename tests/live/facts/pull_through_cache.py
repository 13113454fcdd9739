"""Facts about ECR's pull through cache, whose repositories Pullahead keeps current."""

import json
from typing import Any, Final, NamedTuple

import msgspec
import requests

from local.images import make_image
from pullahead.aws.ecr_sources import EcrCachedRepositories
from pullahead.checks.ecr_events import AccountRegion, read_ecr_event
from pullahead.messages import AwsEvent, CheckRequest
from pullahead.oci import Digest, media_types
from tests.live.endpoint import endpoint
from tests.live.event_queue import Event
from tests.live.fact import Finding, Section, UnmetError
from tests.live.site import Site, refusal
from tests.live.upstreams import CACHED, MISSING, UpstreamTag

SECTION: Final = Section("Pull through cache", hears_events=True)

_GUIDE: Final = "Amazon ECR User Guide, Pull through cache"
_LOCAL: Final = ("local/ecr/cache_imports.py", "local/ecr/api_pull_through.py")
_FETCHED_SECONDS: Final = 120.0
_EVENT_SECONDS: Final = 180.0
_SHOWN: Final = 100


def repository_of(site: Site, named: UpstreamTag) -> str:
    """Name the repository that caches an upstream one."""
    return f"{site.run.cache_prefix}/{named.path}"


def _rule(site: Site) -> str:
    """Make the rule, once, and return its prefix."""

    def create() -> str:
        answer = refusal(
            lambda: site.ecr.create_pull_through_cache_rule(
                ecrRepositoryPrefix=site.run.cache_prefix, upstreamRegistryUrl=site.upstream.host
            )
        )
        if answer.code == "LimitExceededException":
            raise UnmetError("the registry has all of its 50 pull through cache rules")
        if answer.code in ("UnsupportedUpstreamRegistryException", "UnknownOperationException"):
            raise UnmetError(f"no pull through cache in this Region: {answer.text}")
        if answer.code:
            raise RuntimeError(answer.text)
        return site.run.cache_prefix

    return site.once("cache rule", create)


class Cached(NamedTuple):
    """The tag that ECR was made to fetch, and by which kind of pull."""

    digest: Digest
    by: str


def _pull(site: Site, named: UpstreamTag) -> Any:
    _rule(site)
    return site.ecr.batch_get_image(
        repositoryName=repository_of(site, named),
        imageIds=[{"imageTag": named.tag}],
        acceptedMediaTypes=media_types.ACCEPT.split(", "),
    )


def _pull_as_docker(site: Site, named: UpstreamTag) -> requests.Response:
    path = f"/v2/{repository_of(site, named)}/manifests/{named.tag}"
    return endpoint(site).ask("GET", path, headers={"Accept": media_types.ACCEPT})


def cached(site: Site) -> Cached:
    """Let ECR cache the tag that facts are about, once: by the API, or else as docker does, which is documented.

    Raises:
        LookupError: it does not.
        UnmetError: there is no pull through cache.
    """

    def pull() -> Cached:
        for by, attempt in (("BatchGetImage", _pull), ("GET /v2", _pull_as_docker)):
            refusal(lambda attempt=attempt: attempt(site, CACHED))  # type: ignore[misc]
            waited = site.waits.until(lambda: site.served(repository_of(site, CACHED), CACHED.tag), _FETCHED_SECONDS)
            if waited is not None:
                return Cached(waited.value, by)
        raise LookupError(f"ECR fetches nothing within {_FETCHED_SECONDS:.0f} s, whoever pulls")

    return site.once("cached tag", pull)


@SECTION.fact(
    "`DescribePullThroughCacheRules` lists a rule with prefix, upstream and upstream prefix as Pullahead reads them.",
    source="ECR API reference, PullThroughCacheRule",
    relied_on_by=("aws/ecr_sources.py", "rules/sources/pull_through_cache.py"),
    emulated_in=_LOCAL,
)
def cache_rule(site: Site) -> Finding:
    prefix = _rule(site)
    rules = EcrCachedRepositories(site.account.client("ecr")).cache_rules()
    (rule,) = [each for each in rules if each.prefix == prefix]
    agrees = (rule.registry_url, rule.upstream_prefix, rule.credential) == (site.upstream.host, "", None)
    return Finding(agrees, f"upstream {rule.registry_url}, upstream prefix {rule.upstream_prefix!r}")


@SECTION.fact(
    "`BatchGetImage` by tag makes ECR fetch the tag, into a repository named by the prefix and the upstream's path.",
    source=f"{_GUIDE}; inferred for the API from its failure codes",
    relied_on_by=("rules/sources/pull_through_cache.py",),
    emulated_in=_LOCAL,
)
def pull_fetches(site: Site) -> Finding:
    fetched, wanted = cached(site), site.upstream.digest(CACHED)
    digest = "the upstream's digest" if fetched.digest == wanted else f"{fetched.digest}, upstream {wanted}"
    return Finding((fetched.digest, fetched.by) == (wanted, "BatchGetImage"), f"{digest}, by {fetched.by}")


@SECTION.fact(
    "A pull of a tag that upstream lacks fetches nothing, and fails without an exception, or with one that says so.",
    source="ECR API reference, BatchGetImage",
    relied_on_by=("checks/pull_through_cache.py",),
    emulated_in=_LOCAL,
)
def pull_of_missing_tag(site: Site) -> Finding:
    cached(site)
    answer = refusal(lambda: _pull(site, MISSING))
    codes = [failure.get("failureCode") for failure in answer.response.get("failures", [])]
    is_absent = site.served(repository_of(site, MISSING), MISSING.tag) is None
    return Finding(is_absent, f"failures {codes}" if not answer.code else answer.text)


@SECTION.fact(
    "What ECR has fetched is told by an event `ECR Pull Through Cache Action` with `sync-status` SUCCESS.",
    source="Amazon ECR User Guide, Amazon ECR events and EventBridge",
    relied_on_by=("checks/ecr_events.py", "template.yaml"),
    emulated_in=("local/ecr/events.py",),
)
def cache_event(site: Site) -> Finding:
    cached(site)
    waited = site.events.wait(lambda event: _is_cache_action(site, event, CACHED), _EVENT_SECONDS)
    if waited is None:
        return Finding(False, f"no event within {_EVENT_SECONDS:.0f} s")
    request = decoded(site, waited.value)
    agrees = isinstance(request, CheckRequest) and request.reason == "cache" and request.tags == (CACHED.tag,)
    kinds = [each["detail-type"] for each in site.events.about(repository_of(site, CACHED))]
    pushed = kinds.count("ECR Image Action")
    return Finding(agrees, f"{waited.after}, {_detail(waited.value)}; events ECR Image Action beside it: {pushed}")


@SECTION.fact(
    "What ECR could not fetch is told by the same event with another `sync-status`, and a failure code.",
    source="the EventBridge schema of aws-cdk; values are not documented",
    relied_on_by=("checks/ecr_events.py", "checks/pull_through_cache.py"),
    emulated_in=("local/ecr/events.py",),
)
def cache_failure_event(site: Site) -> Finding:
    cached(site)
    refusal(lambda: _pull(site, MISSING))
    _pull_as_docker(site, MISSING)
    waited = site.events.wait(lambda event: _is_cache_action(site, event, MISSING), _EVENT_SECONDS)
    if waited is None:
        return Finding(False, f"no event within {_EVENT_SECONDS:.0f} s")
    request = decoded(site, waited.value)
    agrees = isinstance(request, CheckRequest) and request.cache_failure is not None
    return Finding(agrees, f"{waited.after}, {_detail(waited.value)}")


@SECTION.fact(
    "A manifest that is put under a cached tag stays: later pulls within the 24 hours of the cache do not undo it.",
    source="inferred: ECR serves from the cache and asks no upstream within 24 hours",
    relied_on_by=("rules/sources/pull_through_cache.py", "refresh/publish.py"),
    emulated_in=_LOCAL,
)
def put_into_cache_stays(site: Site) -> Finding:
    repository = repository_of(site, CACHED)
    cached(site)
    image = make_image(seed=30)
    site.push(image, repository, "put")  # the blobs; the tag of the cache moves next
    site.target.put_manifest(repository, image.root, CACHED.tag)
    pulls = 0

    def undone() -> str | None:
        nonlocal pulls
        pulls += 1
        (pulled,) = _pull(site, CACHED)["images"]
        by_docker = _pull_as_docker(site, CACHED).headers.get("Docker-Content-Digest")
        found = {pulled["imageId"]["imageDigest"], by_docker, site.served(repository, CACHED.tag)}
        return None if found == {image.digest} else f"served: {', '.join(map(str, found))}"

    found = site.waits.while_quiet(undone)
    after = f"after {pulls} pulls in {site.waits.quiet:.1f} s"
    return Finding(found is None, f"still ours {after}" if found is None else f"{found} {after}")


SECTION.unchecked(
    "cache-after-a-day",
    "After 24 hours a pull makes ECR ask its upstream again; it then serves what upstream serves, as Pullahead does.",
    source=_GUIDE,
    relied_on_by=("rules/sources/pull_through_cache.py",),
    reason="it takes 24 hours",
)
SECTION.unchecked(
    "cache-of-private-upstreams",
    "A rule with a credential reads a secret whose name begins with `ecr-pullthroughcache/`.",
    source=_GUIDE,
    relied_on_by=("rules/sources/pull_through_cache.py", "template.yaml"),
    reason="it needs an account at another registry",
)
SECTION.unchecked(
    "role-of-cache-rule",
    "A rule whose upstream is ECR in another account has a role that trusts `pullthroughcache.ecr.amazonaws.com`, and "
    "so nobody else; one for the own account in another Region has none.",
    source="Amazon ECR User Guide, IAM policies for ECR to ECR cross-account pull through cache",
    relied_on_by=("rules/sources/pull_through_cache.py", "rules/sources/upstream_access.py"),
    reason="it needs another account",
)
SECTION.unchecked(
    "number-of-cache-rules",
    "A registry has at most 50 rules.",
    source="Amazon ECR User Guide, service quotas",
    relied_on_by=("aws/ecr_sources.py",),
    reason="it would use up the rules of the account",
)


def decoded(site: Site, event: Event) -> object:
    """Read an event of ECR as check_freshness does."""
    read = msgspec.json.decode(json.dumps(event), type=AwsEvent)
    return read_ecr_event(read, AccountRegion(site.account.id, site.account.region))


def _is_cache_action(site: Site, event: Event, named: UpstreamTag) -> bool:
    detail = event["detail"]
    return event["detail-type"] == "ECR Pull Through Cache Action" and (
        detail.get("repository-name"),
        detail.get("image-tag"),
    ) == (repository_of(site, named), named.tag)


def _detail(event: Event) -> str:
    detail = event["detail"]
    told = {name: detail[name] for name in ("sync-status", "failure-code", "failure-reason") if name in detail}
    return ", ".join(f"{name} {value}" for name, value in told.items())[:_SHOWN]
