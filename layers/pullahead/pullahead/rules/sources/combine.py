"""Combine the rules of all sources into one set. Decides which source wins a tag, and reports conflicts. Pure.

The rules file wins over resource tags, and those over pull through cache rules. A mirror that two sources name is one
mirror.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from pullahead.oci import Reference, Repository, digest_of
from pullahead.oci.ecr_registry import parse_ecr_host
from pullahead.rules.intervals import within_rates
from pullahead.rules.model import Mirror, Rule, Rules, Source, UpstreamSettings
from pullahead.rules.sources.findings import CachedRepository, DescribedSource, Findings
from pullahead.rules.sources.pull_through_cache import describe_cached
from pullahead.rules.sources.resource_tags import describe_tagged, is_ignored
from pullahead.rules.sources.upstream_access import skip_notices, skipped_rules
from pullahead.rules.tag_patterns import TagPattern

_SHOWN_TAGS = 5
_NAMES = {
    Source.FILE: "the rules file",
    Source.RESOURCE_TAGS: "its resource tags",
    Source.PULL_THROUGH_CACHE: "a pull through cache rule",
}


class Gathered(NamedTuple):
    """The rules in force, and notices: invalid findings, conflicts of sources, and registries that limit checks."""

    rules: Rules
    notices: tuple[str, ...] = ()


def gather_rules(declared: Rules, findings: Findings) -> Gathered:
    """Add findings to declared rules.

    The digest does not cover which tags are cached: a changed digest makes every mirror due, and a tag that was pulled
    for the first time must not.
    """
    rules, notices = declared, list[str]()
    cached = describe_cached(findings.cache_rules, findings.cached, findings.rights)
    tagged = _without_use_of_credentials(describe_tagged(findings.tagged), declared, cached)
    for described in (tagged, cached):
        rules, conflicts = _join(rules, described)
        notices += [*described.problems, *conflicts]
    skipped = skipped_rules(rules, findings.rights)
    digest = _digest(declared, findings, skipped)
    rules, slowed = within_rates(replace(rules, skipped=skipped, digest=digest))
    return Gathered(rules, (*notices, *skip_notices(rules), *slowed))


def _without_use_of_credentials(tagged: DescribedSource, declared: Rules, cached: DescribedSource) -> DescribedSource:
    """Leave out rules whose upstream other rules name, too, and need credentials for.

    `Rules.may_use_credentials` decides by upstream repository: with both, the tags would either use the credentials of
    the others, or take them away.
    """
    others = (*declared.rules, *cached.rules)
    named = {rule.upstream for rule in others} | {each.upstream for each in declared.named_mirrors.groups}
    namespaces = [rule.upstream for rule in others if rule.is_namespace]
    settings = {each.host: each for each in _join_settings(declared.upstreams, cached.upstreams)}
    kept, problems = list[Rule](), list(tagged.problems)
    for rule in tagged.rules:
        upstream = rule.upstream
        is_named = upstream in named or any(_is_within(upstream, each) for each in namespaces)
        is_used = is_named and not is_opted_out(rule.repository, declared)
        if is_used and _needs_credentials(upstream, settings.get(upstream.registry)):
            problems.append(
                f"{rule.repository}: its resource tags name {upstream}, for which another rule uses credentials. "
                f"They are ignored: set credentials_for_resource_tags for {upstream.registry} in the rules to allow it."
            )
        else:
            kept.append(rule)
    return tagged._replace(rules=tuple(kept), problems=tuple(problems))


def _is_within(upstream: Repository, namespace: Repository) -> bool:
    return upstream.registry == namespace.registry and upstream.path.startswith(namespace.path.removesuffix("*"))


def _needs_credentials(upstream: Repository, settings: UpstreamSettings | None) -> bool:
    if settings is not None and settings.for_resource_tags:
        return False
    has_any = settings is not None and any(fnmatchcase(upstream.path, each.path) for each in settings.credentials)
    return has_any or parse_ecr_host(upstream.registry) is not None  # there, a function's identity is a credential


def is_opted_out(repository: str, rules: Rules) -> bool:
    """Tell whether the rules file ignores a repository for other sources."""
    return any(fnmatchcase(repository, glob) for glob in rules.opted_out)


def newly_cached(repository: str, tag: str, rules: Rules, findings: Findings) -> Mirror | None:
    """Make the mirror of a tag that a pull through cache rule has just cached, before the next findings name it.

    None if they would not.
    """
    is_ignored_by_tags = any(is_ignored(each) for each in findings.tagged if each.name == repository)
    is_wanted = Source.PULL_THROUGH_CACHE in rules.sources and not is_opted_out(repository, rules)
    is_within = any(fnmatchcase(repository, pattern) for pattern in findings.within)
    if not is_wanted or not is_within or is_ignored_by_tags:
        return None
    described = describe_cached(findings.cache_rules, [CachedRepository(repository, (tag,))], findings.rights)
    upstreams = _join_settings(rules.upstreams, described.upstreams)
    skipped = skipped_rules(replace(rules, rules=described.rules, upstreams=upstreams), findings.rights)
    followed = replace(rules, skipped=skipped)
    return next((rule.mirror(tag) for rule in described.rules if not followed.is_inactive(rule.name)), None)


def _join(rules: Rules, described: DescribedSource) -> tuple[Rules, list[str]]:
    conflicts: list[str] = []
    added = [
        remaining
        for rule in described.rules
        if not is_opted_out(rule.repository, rules)
        and (remaining := _remaining_rule(rule, rules, conflicts)) is not None
    ]
    joined = replace(
        rules,
        mirrors=rules.named_mirrors.followed_by(added),
        rules=(*rules.rules, *added),
        upstreams=_join_settings(rules.upstreams, described.upstreams),
    )
    return joined, conflicts


def _remaining_rule(rule: Rule, rules: Rules, conflicts: list[str]) -> Rule | None:
    """Remove what earlier sources name; None if nothing remains."""
    found = {tag: rules.find(rule.repository, tag) for tag in rule.tags.names}
    claimed = {tag: mirror for tag, mirror in found.items() if mirror is not None and not mirror.on_demand}
    differing = [tag for tag, mirror in claimed.items() if mirror.upstream != Reference(rule.upstream, tag)]
    if differing:
        first = claimed[differing[0]]
        conflicts.append(_conflict(rule, str(first.upstream.repository), _source_of(first.rule, rules), differing))
    names = tuple(tag for tag in rule.tags.names if tag not in claimed)
    selection = rule.tags._replace(names=names, patterns=_remaining_patterns(rule, rules, conflicts))
    return rule._replace(tags=selection) if names or selection.patterns else None


def _remaining_patterns(rule: Rule, rules: Rules, conflicts: list[str]) -> tuple[TagPattern, ...]:
    """Keep patterns only if no earlier source has patterns for the repository."""
    if not rule.tags.patterns:
        return ()
    choosing = next((other for other in rules.rules_of(rule.repository) if other.tags.patterns), None)
    if choosing is None:
        return rule.tags.patterns
    if choosing.upstream != rule.upstream:
        shown = [pattern.text for pattern in rule.tags.patterns]
        conflicts.append(_conflict(rule, str(choosing.upstream), choosing.source, shown))
    return ()


def _conflict(rule: Rule, first: str, source: Source, tags: Sequence[str]) -> str:
    more = f" and {len(tags) - _SHOWN_TAGS} more" if len(tags) > _SHOWN_TAGS else ""
    other = f"{rule.upstream} by {_NAMES[rule.source]}"
    return (
        f"{rule.repository} has two upstreams: {first} by {_NAMES[source]}, {other}; the former wins for "
        f"{', '.join(tags[:_SHOWN_TAGS])}{more}. Name one upstream only."
    )


def _source_of(name: str, rules: Rules) -> Source:
    return next((rule.source for rule in rules.rules if rule.name == name), Source.FILE)


def _join_settings(
    ours: tuple[UpstreamSettings, ...], theirs: tuple[UpstreamSettings, ...]
) -> tuple[UpstreamSettings, ...]:
    found = {settings.host: settings for settings in theirs}
    joined = [
        settings._replace(credentials=(*settings.credentials, *found.pop(settings.host).credentials))
        if settings.host in found
        else settings
        for settings in ours
    ]
    return (*joined, *found.values())


def _digest(declared: Rules, findings: Findings, skipped: Mapping[str, str]) -> str:
    parts = (findings.cache_rules, findings.tagged, sorted(skipped))
    decided = [msgspec.json.encode(part).decode() for part in parts if part]
    return digest_of(json.dumps([declared.digest, *decided]).encode()) if decided else declared.digest
