"""Every credential that is configured for a registry, where, and which of them is used. Asks no registry."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from pullahead.cli.registries import Registries
from pullahead.errors import ConfigError, RegistryError
from pullahead.oci import Repository
from pullahead.registry.credentials import Credential
from pullahead.rules.model import CredentialSource, UpstreamSettings


class UsedBy(StrEnum):
    """Who uses a credential: the service by its rules, or commands without rules."""

    RULES = "rules"
    COMMANDS = "commands"


class Configured(NamedTuple):
    """A credential, or why there is none, and where it is configured."""

    source: str
    used_by: UsedBy | None = None  # None where another one comes first
    credential: Credential | None = None
    problem: str = ""
    is_unread: bool = False  # for lack of AWS credentials, which says nothing of the secret

    @property
    def user(self) -> str | None:
        """The user's name, or what is said in its place; None where there is no credential."""
        return None if self.credential is None else self.credential.found_in("").name.removeprefix("user ")


def configured_credentials(
    registries: Registries, repository: Repository, settings: UpstreamSettings | None
) -> tuple[Configured, ...]:
    """List the secrets of the rules, then the logins of this machine, then none at all.

    A repository without a path is a whole registry, whose secrets for any path are listed.
    """
    secrets = [] if settings is None else list(_secrets(repository, settings))
    logins = list(_logins(registries, repository))
    has_secret = any(each.used_by is not None for each in secrets)
    nobody = Configured("anonymous", None if has_secret or logins else UsedBy.COMMANDS)
    return (*secrets, *logins, nobody)


def _secrets(repository: Repository, settings: UpstreamSettings) -> Iterator[Configured]:
    from pullahead.cli.account import upstream_secrets  # noqa: PLC0415 - boto3 takes long to import

    used_by: UsedBy | None = UsedBy.RULES
    for source in settings.credentials:
        if repository.path and not fnmatchcase(repository.path, source.path):
            continue
        named = Configured(_name_of(source), used_by)
        if repository.path or source.path == "*":
            used_by = None
        try:
            secrets = upstream_secrets(_only(source, settings))
            if secrets is None:
                yield named._replace(problem="no AWS credentials found to read it with", is_unread=True)
            else:
                yield named._replace(credential=secrets(Repository(repository.registry, repository.path or "*")))
        except RegistryError as error:
            yield named._replace(problem=f"{error.cause}. {error.advice}".rstrip())
        except ConfigError as error:
            yield named._replace(problem=str(error))


def _only(source: CredentialSource, settings: UpstreamSettings) -> Callable[[str], UpstreamSettings]:
    """Find settings with one credential only, for every path."""
    return lambda _: settings._replace(credentials=(source._replace(path="*"),))


def _name_of(source: CredentialSource) -> str:
    name = f"secret {source.secret}" if source.secret else f"role {source.role}"
    return name if source.path == "*" else f"{name} for {source.path}"


def _logins(registries: Registries, repository: Repository) -> Iterator[Configured]:
    used_by: UsedBy | None = UsedBy.COMMANDS
    for name, find in registries.credential_sources(repository):
        try:
            credential = find()
        except ConfigError as error:
            yield Configured(name, used_by, problem=str(error))
            used_by = None
            continue
        if credential is not None:
            is_helper = credential.source.startswith("docker-credential-")
            yield Configured(f"{credential.source} of {name}" if is_helper else name, used_by, credential)
            used_by = None
