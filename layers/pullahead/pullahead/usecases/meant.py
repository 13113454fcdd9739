"""Which mirrors a check means. Decides nothing about them."""

from collections.abc import Callable

from pullahead.errors import ConfigError
from pullahead.messages import CheckRequest
from pullahead.oci import parse_reference
from pullahead.rules.model import Mirror, Rule, Rules

NewlyCached = Callable[[str, str], Mirror | None]
"""Makes the mirror of a repository's tag that a pull through cache rule has only just cached; None where none has."""


def never_cached(_repository: str, _tag: str) -> Mirror | None:
    """Know of nothing that was only just cached."""
    return None


def mirrors_of(request: CheckRequest, rules: Rules) -> list[Mirror]:
    """Find the mirrors of a check's tags; tags that no rule names or could choose, or a paused one, are passed over."""
    chooser = _found_by(request, rules)
    mirrors = (_mirror_of(request.repository, tag, chooser, rules) for tag in request.tags)
    return [mirror for mirror in mirrors if mirror is not None and mirror.rule not in rules.paused]


def _mirror_of(repository: str, tag: str, chooser: Rule | None, rules: Rules) -> Mirror | None:
    mirror = rules.find(repository, tag)
    if chooser is None or (mirror is not None and mirror.rule != chooser.name):
        return mirror
    return chooser.mirror(tag)


def _found_by(request: CheckRequest, rules: Rules) -> Rule | None:
    """Find the rule of a namespace as it is for the repository that a listing found.

    The target's name does not always say which upstream repository it follows; whoever listed it knows.
    """
    rule = rule_named(request.rule, rules) if request.rule is not None else None
    if rule is None or request.upstream is None or not rule.is_namespace:
        return None
    expanded = expanded_for(request.upstream, rule)
    return expanded if expanded is not None and expanded.repository == request.repository else None


def expanded_for(upstream: str, rule: Rule) -> Rule | None:
    """Make of a rule for a namespace the one for a repository that was found in it; None where it gives no name."""
    try:
        return rule.expand(parse_reference(upstream).repository.path)
    except ConfigError:
        return None  # the listing of the namespace says so


def is_chosen(mirror: Mirror, rules: Rules) -> bool:
    """Whether a pattern chose the tag, rather than a rule naming it and its repository."""
    rule = rule_named(mirror.rule, rules)
    return rule is not None and (rule.is_namespace or mirror.tag not in rule.tags.names)


def rule_named(name: str, rules: Rules) -> Rule | None:
    """Find a rule by its name."""
    return next((rule for rule in rules.rules if rule.name == name), None)
