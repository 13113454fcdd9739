"""Find rules that cannot be followed, since Pullahead may not pull from their upstream by its own permissions. Pure.

That is ECR in another account without a role, ECR of the own account outside of `UpstreamRepositories`, and a role that
`UpstreamRoles` does not have. Such a rule is skipped and reported once, rather than checked in vain for ever.

Source: Amazon ECR user guide, "Required IAM policies for ECR to ECR cross-account pull through cache": the role of a
pull through cache rule trusts pullthroughcache.ecr.amazonaws.com, so nobody else can assume it.
"""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from pullahead.oci.ecr_registry import EcrRegistry, parse_ecr_host
from pullahead.rules.model import CredentialSource, Rule, Rules, Source
from pullahead.rules.sources.findings import PullRights

_SHOWN_RULES = 3


def may_assume(role: str, rights: PullRights) -> bool:
    """Tell whether Pullahead may assume a role; true also where its rights are not known."""
    return not rights.account or _is_covered(role, rights.roles)


def skipped_rules(rules: Rules, rights: PullRights) -> Mapping[str, str]:
    """Say of each rule that cannot be followed why, and what to do, by its name. None where the rights are unknown."""
    if not rights.account:
        return {}
    reasons = {rule.name: _skip_reason(rule, _credentials_of(rule, rules), rights) for rule in rules.rules}
    return {name: reason for name, reason in reasons.items() if reason}


def skip_notices(rules: Rules) -> tuple[str, ...]:
    """Write one line for each reason for which rules are skipped, which stays the same as more of a cache is pulled."""
    skipped = {_label(rule): rules.skipped[rule.name] for rule in rules.rules if rule.name in rules.skipped}
    return tuple(f"skipped: {names}: {reason}" for names, reason in _by_text(skipped))


def access_notes(rules: Rules) -> tuple[str, ...]:
    """Say which rules can be followed in one account only; one line for each account. Roles are a parameter's."""
    needs = {rule.name: _need_of(rule, _credentials_of(rule, rules)) for rule in rules.rules}
    return tuple(f"{names}: {need}" for names, need in _by_text(needs) if need)


def _skip_reason(rule: Rule, credentials: Sequence[CredentialSource], rights: PullRights) -> str:
    chosen = _chosen(rule, credentials)
    if chosen is not None and chosen.role is not None:
        return "" if may_assume(chosen.role, rights) else _role_text(chosen.role)
    ecr = _by_own_identity(rule, credentials)
    if ecr is None:
        return ""
    if ecr.account != rights.account:
        return _account_text(rule, ecr)
    return "" if _is_covered(rule.upstream.path, rights.repositories) else _repository_text(rule)


def _need_of(rule: Rule, credentials: Sequence[CredentialSource]) -> str:
    ecr = _by_own_identity(rule, credentials)
    if ecr is None:
        return ""
    return (
        f"without a role for {rule.upstream.registry} in `upstreams`, this works only if Pullahead is deployed in the "
        f"account {ecr.account}; elsewhere it is skipped."
    )


def _by_own_identity(rule: Rule, credentials: Sequence[CredentialSource]) -> EcrRegistry | None:
    """Return the registry of ECR that Pullahead would use as itself, without a role or a secret; None for others.

    Which credential a namespace needs is known only for each repository: it has one, if there is any.
    """
    if _chosen(rule, credentials) is not None or (rule.is_namespace and credentials):
        return None
    return parse_ecr_host(rule.upstream.registry)


def _credentials_of(rule: Rule, rules: Rules) -> Sequence[CredentialSource]:
    settings = rules.settings_of(rule.upstream.registry)
    return settings.credentials if settings is not None else ()


def _chosen(rule: Rule, credentials: Sequence[CredentialSource]) -> CredentialSource | None:
    return next((each for each in credentials if fnmatchcase(rule.upstream.path, each.path)), None)


def _account_text(rule: Rule, ecr: EcrRegistry) -> str:
    host = rule.upstream.registry
    if rule.source is Source.PULL_THROUGH_CACHE:
        why = "and only ECR can assume the role of a pull through cache rule"
        other = "or add the repositories to `ignore` in the rules"
    else:
        why, other = "and the rules name no role for it", "or remove the rule"
    return (
        f"{host} is ECR in another account ({ecr.account}), {why}. Create a role there that may pull and trusts "
        "Pullahead's roles (see docs/policies.md). Set it as `credentials` of this host in the rules, and add it to "
        f"the parameter UpstreamRoles; {other}."
    )


def _role_text(role: str) -> str:
    return f"the parameter UpstreamRoles does not have {role}, so Pullahead may not assume this role. Add it."


def _repository_text(rule: Rule) -> str:
    return (
        f"the parameter UpstreamRepositories does not cover {rule.upstream.path}, so Pullahead may not pull from it. "
        "Extend it, or remove the rule."
    )


def _is_covered(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _label(rule: Rule) -> str:
    if rule.source is Source.PULL_THROUGH_CACHE:  # there is a rule for each repository
        return f"the pull through cache of {rule.upstream.registry}"
    return rule.name


def _by_text(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Group names by their text."""
    named: dict[str, list[str]] = {}
    for name, text in texts.items():
        named.setdefault(text, []).append(name)
    return [(_shown(names), text) for text, names in named.items()]


def _shown(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_RULES
    return ", ".join(names[:_SHOWN_RULES]) + (f" and {more} more" if more > 0 else "")
