"""ECR's pull through cache rules → rules that keep every cached tag fresh. Decides upstreams and credentials. Pure.

Source: Amazon ECR API reference, PullThroughCacheRule; ECR user guide, "Customizing repository prefixes".
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from pullahead.oci import InvalidReferenceError, Repository, parse_host, parse_reference
from pullahead.oci.referrers import subject_of_tag
from pullahead.rules.model import (
    DEFAULT_ALERT_AFTER,
    DEFAULT_CHECK_EVERY,
    CredentialSource,
    Rule,
    Source,
    UpstreamSettings,
    WhenDeleted,
)
from pullahead.rules.sources.findings import (
    UNKNOWN_RIGHTS,
    CachedRepository,
    CacheRule,
    DescribedSource,
    PullRights,
)
from pullahead.rules.sources.upstream_access import may_assume
from pullahead.rules.tag_patterns import TagSelection


def rule_for(repository: str, rules: Iterable[CacheRule]) -> CacheRule | None:
    """Find the rule that caches a repository: the one with the longest prefix."""
    covering = [rule for rule in rules if rule.covers(repository)]
    return max(covering, key=lambda rule: len(rule.prefix), default=None)


def describe_cached(
    rules: Sequence[CacheRule], repositories: Sequence[CachedRepository], rights: PullRights = UNKNOWN_RIGHTS
) -> DescribedSource:
    """Make a rule of every cached repository; one with an invalid upstream is reported and skipped.

    The role of a cache rule is used only if Pullahead may assume it: by itself it trusts nobody but ECR.
    """
    rules = [rule if rule.role is None or may_assume(rule.role, rights) else replace(rule, role=None) for rule in rules]
    made: list[Rule] = []
    problems: list[str] = []
    for repository in repositories:
        rule = rule_for(repository.name, rules)
        tags = tuple(tag for tag in repository.tags if subject_of_tag(tag) is None)  # these come with their images
        if rule is None or not tags:
            continue
        try:
            made.append(_rule(replace(repository, tags=tags), _upstream(repository.name, rule)))
        except InvalidReferenceError as error:
            problems.append(f"{repository.name}, cached by the pull through cache rule {rule.name}: {error}")
    return DescribedSource(tuple(made), tuple(_settings(rules, repositories)), tuple(problems))


def _upstream(repository: str, rule: CacheRule) -> Repository:
    path = repository.removeprefix(f"{rule.prefix}/") if rule.prefix else repository
    if rule.upstream_prefix:
        path = f"{rule.upstream_prefix}/{path}"
    return parse_reference(f"{parse_host(rule.registry_url)}/{path}", default_tag=None).repository


def _rule(repository: CachedRepository, upstream: Repository) -> Rule:
    return Rule(
        name=f"pull through cache of {repository.name}",
        upstream=upstream,
        repository=repository.name,
        tags=TagSelection(names=repository.tags),
        check_every=DEFAULT_CHECK_EVERY,
        alert_after=DEFAULT_ALERT_AFTER,
        source=Source.PULL_THROUGH_CACHE,
        when_deleted=WhenDeleted.LEAVE,  # the tag is no longer cached, so it is no longer followed
    )


def _settings(rules: Sequence[CacheRule], repositories: Sequence[CachedRepository]) -> Iterator[UpstreamSettings]:
    credentials: dict[str, list[CredentialSource]] = {}
    shared = Counter((rule.registry_url, rule.upstream_prefix) for rule in rules)
    for rule in rules:
        if rule.credential is None and rule.role is None:
            continue
        try:
            host = parse_host(rule.registry_url)
        except InvalidReferenceError:  # reported for each of its repositories
            continue
        # Of two rules for one upstream, each has credentials for what it cached itself.
        alone = shared[rule.registry_url, rule.upstream_prefix] == 1
        paths = [_glob(rule)] if alone else _paths(rule, rules, repositories)
        sources = [CredentialSource(rule.credential or "", path, rule.role) for path in paths]
        credentials.setdefault(host, []).extend(sources)
    for host, found in credentials.items():
        # The first match counts, so the narrowest comes first.
        yield UpstreamSettings(host, credentials=tuple(sorted(found, key=lambda source: -len(source.path))))


def _glob(rule: CacheRule) -> str:
    return f"{rule.upstream_prefix}/*" if rule.upstream_prefix else "*"


def _paths(rule: CacheRule, rules: Sequence[CacheRule], repositories: Iterable[CachedRepository]) -> list[str]:
    own = [repository.name for repository in repositories if rule_for(repository.name, rules) == rule]
    return sorted({upstream.path for name in own if (upstream := _upstream_or_none(name, rule)) is not None})


def _upstream_or_none(repository: str, rule: CacheRule) -> Repository | None:
    try:
        return _upstream(repository, rule)
    except InvalidReferenceError:  # reported for the repository
        return None
