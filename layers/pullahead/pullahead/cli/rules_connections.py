"""Registries as a rules file and a command line want them: whose settings, whose credentials. Sends nothing."""

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from pullahead.cli.arguments import Common
from pullahead.cli.connections import Connections
from pullahead.errors import AccessDeniedError
from pullahead.oci import Digest, Repository
from pullahead.oci.registries import PublishedDigests, StreamingTarget
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.rules.model import Rules, UpstreamSettings

if TYPE_CHECKING:
    from pullahead.aws.upstream_credentials import UpstreamCredentials

ACCOUNT = "ecr"
"""How the account's registry is called in what is told of it."""

_PATIENCE_SECONDS = 300.0  # more than pacing ever asks of so few threads; what an upstream's limit defers waits longer
_TAGS_AT_ONCE = 8


class RulesConnections(Connections):
    """Makes both ends of a command that goes by rules."""

    def __init__(self, common: Common, rules: Rules) -> None:
        super().__init__(common)
        self._rules = rules

    def upstream(self) -> UpstreamRegistry:
        """Make the end that is read. Private addresses are for hosts only of which rules or command line say so."""
        return UpstreamRegistry(
            self._settings,
            ca=None if self._ca is None else str(self._ca),
            insecure=self._insecure,
            credentials=self._upstream_credential,
            refused=self._refused,
            patience=_PATIENCE_SECONDS,
        )

    def destination(self, registry: str | None, *, asks_presence: bool = False) -> StreamingTarget:
        """Make the end that is written, or only looked at: a registry by its host, else the account's ECR."""
        if registry is not None:
            return self.target(registry, asks_presence=asks_presence)
        from pullahead.cli.account import account_target  # noqa: PLC0415 - boto3 takes long to import

        return account_target()

    def _settings(self, host: str) -> UpstreamSettings:
        settings = self._rules.settings_of(host) or UpstreamSettings(host)
        if host in self._insecure:
            return settings._replace(plain_http=True, private_addresses=True)
        return settings

    def _upstream_credential(self, repository: Repository) -> Credential | None:
        """Find what the rules name in Secrets Manager, where AWS lets us; else what `pullahead copy` would use."""
        secrets = self._secrets if self._names_a_secret(repository) else None
        if secrets is None:
            return self.credential(repository)
        try:
            return secrets(repository)
        except AccessDeniedError:
            found = self.credential(repository)
            if found is None:
                raise
            return found

    def _refused(self, repository: Repository, credential: Credential) -> None:
        if self._names_a_secret(repository) and self._secrets is not None:
            self._secrets.refused(repository, credential)

    def _names_a_secret(self, repository: Repository) -> bool:
        named = self._settings(repository.registry).credentials
        return any(fnmatchcase(repository.path, source.path) for source in named)

    @cached_property
    def _secrets(self) -> "UpstreamCredentials | None":
        from pullahead.cli.account import upstream_secrets  # noqa: PLC0415 - boto3 takes long to import

        return upstream_secrets(self._settings)


def several_at_once(published_digests: PublishedDigests) -> PublishedDigests:
    """Ask a registry that takes one request for each tag for several tags at once."""

    def ask(repository: str, tags: Collection[str]) -> Mapping[str, Digest]:
        with ThreadPoolExecutor(_TAGS_AT_ONCE) as pool:
            answers = pool.map(lambda tag: published_digests(repository, [tag]), tags)
            return {tag: digest for answer in answers for tag, digest in answer.items()}

    return ask
