"""Which upstream repository of a namespace a target repository belongs to, where several have the same name. Pure.

A template such as `mirror/{name}` keeps the last segment alone: whoever can make a repository of that name anywhere
below the namespace would take the target over. The first owner keeps it, for as long as its registry lists it.
"""

from collections import defaultdict
from collections.abc import Mapping

from pullahead.errors import ConfigError
from pullahead.mirrors.record import Record, RuleRecord
from pullahead.mirrors.rule_record import ListingOutcome
from pullahead.oci import Repository
from pullahead.rules.model import Rule, expanded_for

_MAX_SHOWN = 5


def keep_owners(
    listed: ListingOutcome, before: Record | None, namespace: Rule, named: Mapping[str, Repository]
) -> ListingOutcome:
    """Leave out repositories whose target has another owner, and add an error that names them.

    The owner is the upstream that a rule names for the target (`named`); else what was followed before; else what is
    right below the namespace; else the first by name.
    """
    if listed.chosen is None or not namespace.is_namespace:
        return listed
    followed = frozenset(before.followed) if isinstance(before, RuleRecord) else frozenset[str]()
    claims = defaultdict[str, list[str]](list)
    for path in listed.chosen:
        expanded = expanded_for(str(Repository(namespace.upstream.registry, path)), namespace)
        if expanded is not None:
            claims[expanded.repository].append(path)
    refused = dict[str, str]()
    for target, paths in claims.items():
        owner = named.get(target)
        if owner is None and len(paths) == 1:
            continue
        kept = min(paths, key=lambda path: (path not in followed, path.count("/"), path))
        first = owner or Repository(namespace.upstream.registry, kept)
        refused |= {path: f"{path} ({target} belongs to {first})" for path in paths if first.path != path}
        if owner is not None and owner.registry != namespace.upstream.registry:
            refused |= {path: f"{path} ({target} belongs to {first})" for path in paths}
    if not refused:
        return listed
    kept_paths = tuple(path for path in listed.chosen if path not in refused)
    return ListingOutcome(kept_paths, listed.error or ConfigError(_refusal(namespace, list(refused.values()))))


def _refusal(namespace: Rule, refused: list[str]) -> str:
    more = f" and {len(refused) - _MAX_SHOWN} more" if len(refused) > _MAX_SHOWN else ""
    return (
        f"repositories of {namespace.upstream} have the name of another one in {namespace.repository}, and are left "
        f"out: {', '.join(refused[:_MAX_SHOWN])}{more}. Write {{path}} in `repository`, or name the repositories."
    )


def owns(path: str, namespace_record: Record | None) -> bool:
    """Tell whether a repository of a namespace is followed, as far as its last listing is known."""
    return (
        not isinstance(namespace_record, RuleRecord)
        or not namespace_record.followed
        or path in namespace_record.followed
    )
