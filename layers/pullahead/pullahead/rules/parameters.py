"""Which parameters of the stack a rules file needs, where their defaults do not do. Pure.

Decides by the file alone: what is deployed, and which parameters it has, is not known here.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Final, NamedTuple

from pullahead.rules.model import Rule, Rules, Source
from pullahead.rules.repository_names import fill

DEFAULT_TARGET_REPOSITORIES: Final = "mirror/*"
DEFAULT_CHECK_SCHEDULE: Final = timedelta(minutes=5)
DEFAULT_SECRETS: Final = "ecr-pullthroughcache/*"
"""What template.yaml has."""

_ARN_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")


class Parameter(NamedTuple):
    """A parameter, and the value that the rules need."""

    name: str
    value: str

    @property
    def override(self) -> str:
        """Write it as an item of `parameter_overrides` in my-samconfig.toml.

        SAM splits an item at spaces, unless the value is in quotes.
        """
        quoted = f'"{self.value}"' if " " in self.value else self.value
        quote = "'" if quoted != self.value else '"'
        return f"{quote}{self.name}={quoted}{quote}"


def needed_parameters(rules: Rules) -> tuple[Parameter, ...]:
    """List the parameters whose defaults do not do for these rules, in the order of the template."""
    found = {
        "TargetRepositories": _target_repositories(rules.rules),
        "CheckSchedule": _check_schedule(rules.rules),
        "UpstreamSecrets": ",".join(_secrets(rules)),
        "UpstreamRoles": ",".join(_roles(rules)),
        "OnDemandPrefix": _common_prefix(_targets(rule for rule in rules.rules if rule.on_demand is not None)),
    }
    return tuple(Parameter(name, value) for name, value in found.items() if value)


def inward_hosts(rules: Rules) -> tuple[str, ...]:
    """List the hosts of rules that may have private addresses, for which the functions may have to be in a VPC."""
    used = {rule.upstream.registry for rule in rules.rules}
    return tuple(each.host for each in rules.upstreams if each.host in used and _is_inward(rules, each.host))


def rules_without_credentials(rules: Rules) -> Iterator[Rule]:
    """List the rules that are read anonymously although their host has credentials, for other paths."""
    for rule in rules.rules:
        settings = rules.settings_of(rule.upstream.registry)
        paths = [source.path for source in settings.credentials] if settings is not None else []
        if paths and not any(_may_match(rule, path) for path in paths):
            yield rule


def _is_inward(rules: Rules, host: str) -> bool:
    settings = rules.settings_of(host)
    return settings is not None and (settings.private_addresses or settings.plain_http)


def _may_match(rule: Rule, path: str) -> bool:
    # Of a namespace, some repositories may match.
    return rule.is_namespace or fnmatchcase(rule.upstream.path, path)


def _target_repositories(rules: Iterable[Rule]) -> str:
    targets = list(_targets(rules))
    if all(target.startswith(DEFAULT_TARGET_REPOSITORIES[:-1]) for target in targets):
        return ""
    folder, slash, last = _common_prefix(targets).rpartition("/")
    return f"{folder}/*" if slash else last if set(targets) == {last} else "*"


def _targets(rules: Iterable[Rule]) -> Iterator[str]:
    """Name the targets of rules; of a namespace, what the names of its targets have in common, with a star."""
    return (fill(rule.repository, rule.upstream) if rule.is_namespace else rule.repository for rule in rules)


def _common_prefix(targets: Iterable[str]) -> str:
    letters = zip(*(target.partition("*")[0] for target in targets), strict=False)
    return "".join(each[0] for each in takewhile(lambda each: len(set(each)) == 1, letters))


def _check_schedule(rules: Iterable[Rule]) -> str:
    shortest = min((rule.check_every for rule in rules), default=DEFAULT_CHECK_SCHEDULE)
    if shortest >= DEFAULT_CHECK_SCHEDULE:
        return ""
    minutes = max(1, shortest // timedelta(minutes=1))
    return f"rate({minutes} minute{'s' if minutes > 1 else ''})"


def _secrets(rules: Rules) -> list[str]:
    """List ARNs of the secrets, of all of them where the default does not cover one: the parameter takes its place."""
    # What a role reads needs the role alone.
    named = {source.secret for each in rules.upstreams for source in each.credentials if not source.role}
    others = sorted(secret for secret in named if secret and not fnmatchcase(secret, DEFAULT_SECRETS))
    if not others:
        return []
    is_default_needed = len(others) < len(named - {""}) or Source.PULL_THROUGH_CACHE in rules.sources
    arns = [_arn_pattern(secret) for secret in others]
    return [*arns, f"arn:aws:secretsmanager:*:*:secret:{DEFAULT_SECRETS}"] if is_default_needed else arns


def _arn_pattern(secret: str) -> str:
    arn = secret if secret.startswith("arn:") else f"arn:aws:secretsmanager:*:*:secret:{secret}"
    has_suffix = arn is secret and _ARN_SUFFIX.fullmatch(secret[-7:]) is not None
    return arn if has_suffix else f"{arn}-??????"


def _roles(rules: Rules) -> list[str]:
    return sorted({source.role for each in rules.upstreams for source in each.credentials if source.role})
