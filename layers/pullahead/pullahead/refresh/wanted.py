"""Whether the rules, as they are now, still name what a refresh copies: its upstream, its platforms and its target.

A refresh may wait for hours, and its request is only as good as whoever wrote it. Pure.
"""

from collections.abc import Iterator

from pullahead.errors import NoLongerWantedError
from pullahead.messages import RefreshRequest
from pullahead.oci import parse_reference
from pullahead.rules.model import Mirror, NewlyCached, Rules, expanded_for, never_cached


def require_wanted(request: RefreshRequest, rules: Rules, newly_cached: NewlyCached = never_cached) -> Mirror:
    """Compare a request with the rules; return the mirror that wants it. Raises NoLongerWantedError.

    Where rules overlap, what the one that publishes the tag demands of a digest, or pins, counts for each of them.
    """
    upstream = parse_reference(request.upstream)
    decisive = rules.find(request.repository, request.tag)
    named, other = False, False
    for mirror in _mirrors_of(request, rules, newly_cached):
        is_pinned_to_it = mirror.pin in (None, request.root.digest)
        if is_pinned_to_it and (mirror.upstream, mirror.platforms) == (upstream, request.platforms):
            if decisive is None or (mirror.admit, mirror.pin) == (decisive.admit, decisive.pin):
                return mirror
            other = True
        named = True
    platforms = f" for {', '.join(request.platforms)}" if request.platforms else ""
    why = "its upstream or platforms have changed" if named else "no rule names it any more"
    why = "another rule decides what the tag may serve" if other else why
    raise NoLongerWantedError(
        f"the copy of {request.upstream}{platforms} to {request.repository}:{request.tag} is no longer wanted: {why}"
    )


def _mirrors_of(request: RefreshRequest, rules: Rules, newly_cached: NewlyCached) -> Iterator[Mirror]:
    """List the mirrors that may publish the tag: also of rules that overlap, as a check may have followed either."""
    repository, tag = request.repository, request.tag
    mirror = rules.find(repository, tag) or newly_cached(repository, tag)
    if mirror is not None:
        yield mirror
    yield from (mirror for rule in rules.rules_of(repository) if (mirror := rule.mirror_of(tag)) is not None)
    upstream = parse_reference(request.upstream).repository
    for rule in rules.rules:  # the name in ECR does not always determine the repository of a namespace
        is_within = rule.upstream.registry == upstream.registry and upstream.path.startswith(
            rule.upstream.path.removesuffix("*")
        )
        if rule.is_namespace and rule.on_demand is None and is_within:
            expanded = expanded_for(request.upstream, rule)
            mirror = expanded.mirror_of(tag) if expanded is not None and expanded.repository == repository else None
            if mirror is not None:
                yield mirror
