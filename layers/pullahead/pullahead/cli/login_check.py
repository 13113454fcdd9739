"""`pullahead login-check`: what each configured credential can do at a registry."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pullahead.cli.configured_credentials import Configured, UsedBy, configured_credentials
from pullahead.cli.options import (
    RULES_FILE_HELP,
    RegistryOptions,
    add_registry_options,
    default_rules_file,
    describe,
    parsed_by,
)
from pullahead.cli.output import DONE, FAILED, write_result
from pullahead.cli.registries import Registries, RulesRegistries
from pullahead.cli.rules_file import read_rules
from pullahead.errors import RegistryError
from pullahead.mirrors.rate_limit_budget import RemainingQuota
from pullahead.oci import Reference, Repository, parse_host, parse_reference
from pullahead.registry.login_check import Access, Pull, check_access
from pullahead.rules.model import Rules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    describe(
        parser,
        "Try each credential that is configured for a registry, and none: is it accepted, may the repository be pulled "
        "with it, and what does the registry say of its rate limit? Tries the secrets that the rules name, read with "
        "your AWS credentials, and the logins of docker, podman and skopeo. Writes no secret.",
        "login-check quay.io/team/app",
        "login-check docker.io",
        "login-check ghcr.io/team/app:2 --stack pullahead",
        failed="Failure, or something that is configured does not work",
    )
    parser.add_argument(
        "registry",
        metavar="HOST[/REPOSITORY[:TAG]]",
        type=parsed_by(_parse_place),
        help="For example: quay.io/team/app",
    )
    parser.add_argument(
        "--rules", metavar="FILE", help=f"Rules that name secrets (default: {RULES_FILE_HELP}, if there is one)"
    )
    parser.add_argument(
        "--stack", metavar="NAME", help="Use the active rules of this deployed stack, whose file is that of --rules"
    )
    add_registry_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Try every credential, and say what each can do."""
    place: Reference = arguments.registry
    repository, options = place.repository, RegistryOptions.of(arguments)
    rules = _rules(arguments)
    registries = Registries(options) if rules is None else RulesRegistries(options, rules)
    settings = None if rules is None else rules.settings_of(repository.registry)
    reference = None if not repository.path else place if place.digest else place._replace(tag=place.tag or "latest")
    tried: list[tuple[Configured, Access | None]] = []
    for configured in configured_credentials(registries, repository, settings):
        access = None
        if not configured.problem:
            access = check_access(repository.registry, reference, configured.credential, registries.connect)
        tried.append((configured, access))
    entries = [_entry(*each) for each in tried]
    tag = None if reference is None else reference.locator
    name = str(repository) if repository.path else repository.registry
    document = {
        "registry": repository.registry,
        "repository": repository.path or None,
        "tag": tag,
        "credentials": entries,
    }
    write_result(arguments, "\n".join((name, *(line for entry in entries for line in _lines(entry, tag)))), document)
    return DONE if _is_well(tried) else FAILED


def _rules(arguments: argparse.Namespace) -> Rules | None:
    file = arguments.rules or default_rules_file()
    if arguments.stack is not None:
        from pullahead.cli.stack import DeployedStack, StackLocation, plain_aws_errors  # noqa: PLC0415 - imports boto3

        with plain_aws_errors():
            return DeployedStack(StackLocation(arguments.stack)).rules(file)
    if arguments.rules is None and not Path(file).is_file():
        return None
    return read_rules(file)


def _is_well(tried: list[tuple[Configured, Access | None]]) -> bool:
    """Tell whether what is configured works; where nothing is, whether the registry needs nothing."""
    checked = [(configured, access) for configured, access in tried if not configured.is_unread]
    named = [(configured, access) for configured, access in checked if configured.credential or configured.problem]
    return all(access is not None and access.works for _, access in named or checked)


def _entry(configured: Configured, access: Access | None) -> dict[str, Any]:
    entry = {
        "source": configured.source,
        "user": configured.user,
        "used_by": configured.used_by,
        "problem": configured.problem or None,
        **dict.fromkeys(("login", "login_error", "token_service", "pull", "pull_error", "rate_limit")),
    }
    if access is None:
        return entry
    return entry | {
        "login": access.login,
        "login_error": _cause(access.login_error),
        "token_service": access.token_service,
        "pull": access.pull,
        "pull_error": _cause(access.pull_error),
        "rate_limit": None if access.quota is None else _limit(access.quota),
    }


def _limit(quota: RemainingQuota) -> dict[str, Any]:
    resets_at = None if quota.resets_at is None else quota.resets_at.isoformat()
    return {"remaining": quota.remaining, "limit": quota.limit, "resets_at": resets_at}


def _cause(error: RegistryError | None) -> str | None:
    if error is None:
        return None
    if error.status is not None:
        return f"{error.cause} (HTTP {error.status})"
    return f"{error.cause}. {error.advice}" if error.advice else error.cause


def _lines(entry: Mapping[str, Any], tag: str | None) -> Iterator[str]:
    user = f", {_as_user(entry['user'])}" if entry["user"] else ""
    used = {UsedBy.RULES: "; the rules use it", UsedBy.COMMANDS: "; commands use it"}.get(entry["used_by"], "")
    yield f"  {entry['source']}{user}{used}"
    if entry["problem"]:
        yield f"    not tried: {entry['problem']}"
        return
    by = f" by {entry['token_service']}" if entry["token_service"] else ""
    yield f"    login  {_with_cause(entry['login'] + by, entry['login_error'])}"
    if entry["pull"] == Pull.NO_TAG:
        yield f"    pull   not refused, but there is no tag {tag}: name one that exists to be sure"
    elif entry["pull"]:
        yield f"    pull   {_with_cause(entry['pull'], entry['pull_error'])}"
    if entry["rate_limit"]:
        limit = entry["rate_limit"]
        until = f", until {limit['resets_at']}" if limit["resets_at"] else ""
        yield f"    limit  {limit['remaining']} of {limit['limit']} requests left{until}"


def _as_user(name: str) -> str:
    return name if name.startswith("a user ") else f"user {name}"


def _with_cause(what: str, cause: str | None) -> str:
    return what if cause is None else f"{what}: {cause}"


def _parse_place(text: str) -> Reference:
    if "/" not in text:
        return Reference(Repository(parse_host(text), ""), None)
    return parse_reference(text, default_tag=None)
