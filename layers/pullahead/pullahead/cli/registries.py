"""The registries of a command: schemes, certificates, credentials and settings, by command line and rules."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pullahead.cli.docker_config import docker_logins
from pullahead.cli.options import RegistryOptions
from pullahead.errors import AccessDeniedError, ConfigError
from pullahead.layouts.names import LayoutRepository
from pullahead.oci import Digest, Repository
from pullahead.oci.ecr_registry import parse_ecr_host
from pullahead.oci.registries import CopySource, CopyTarget, PublishedDigests
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential, Credentials
from pullahead.registry.request import Request
from pullahead.registry.sockets import file_trust
from pullahead.rules.model import RateLimit, Rules, UpstreamSettings

if TYPE_CHECKING:
    from pullahead.aws.upstream_credentials import UpstreamCredentials
    from pullahead.registry.push import OciTarget

ACCOUNT = "ecr"
"""The name of the account's registry in messages."""

_DEFERRAL_SECONDS = 300.0  # requests that a rate limit defers for longer fail
_TAGS_AT_ONCE = 8


class Registries:
    """Makes both sides of a command without rules, which share their credentials."""

    def __init__(self, options: RegistryOptions) -> None:
        self._insecure, self._token_hosts = options.insecure, tuple(options.token_hosts)
        self._ca = ca_file(options.ca, os.environ)
        if self._ca is not None:
            check_certificates(self._ca)
        self._logins = docker_logins(os.environ, Path.home())

    def upstream(self) -> UpstreamRegistry:
        """Make the client for reading."""
        ca = None if self._ca is None else str(self._ca)
        return UpstreamRegistry(
            self._settings, ca=ca, insecure=self._insecure, credentials=self.credential, trusts_the_first=True
        )

    def connect(self, credentials: Credentials, watch: Callable[[Request], None]) -> UpstreamRegistry:
        """Make a client for reading with credentials of one's own."""
        ca = None if self._ca is None else str(self._ca)
        return UpstreamRegistry(
            self._settings, ca=ca, insecure=self._insecure, credentials=credentials, trusts_the_first=True, watch=watch
        )

    def target(self, host: str, *, asks_presence: bool = False) -> "OciTarget":
        """Make the client for writing."""
        from pullahead.registry.push import OciTarget  # noqa: PLC0415 - only a copy writes

        return OciTarget(
            host,
            insecure=self._insecure,
            credentials=self.credential,
            token_hosts=lambda registry: self._settings(registry).token_hosts,
            ca=None if self._ca is None else str(self._ca),
            asks_presence=asks_presence or is_ecr(host),  # ECR opens an upload for a blob that it has, too
        )

    def reader(self, repository: Repository) -> CopySource:
        """Make what reads a repository of a registry, or a layout."""
        if not isinstance(repository, LayoutRepository):
            return self.upstream()
        from pullahead.layouts.source import open_layout  # noqa: PLC0415 - few commands need it

        return open_layout(repository)

    def writer(self, repository: Repository) -> CopyTarget:
        """Make what writes a repository of a registry, or a layout."""
        if not isinstance(repository, LayoutRepository):
            return self.target(repository.registry)
        from pullahead.layouts.target import OciLayoutTarget  # noqa: PLC0415 - few commands need it

        return OciLayoutTarget()

    def credential(self, repository: Repository) -> Credential | None:
        """Find a credential: for ECR that of AWS if there is one, else the first login of docker, podman or skopeo."""
        return _ecr_credential(repository.registry) or self._logins.find(repository)

    def credential_sources(self, repository: Repository) -> Iterator[tuple[str, Callable[[], Credential | None]]]:
        """Name each place where `credential` looks, in its order, and how it is looked up there."""
        if is_ecr(repository.registry):
            yield "AWS credential chain", partial(_ecr_credential, repository.registry)
        for configuration in self._logins.configurations:
            yield configuration.name, partial(configuration.find, repository)

    def _settings(self, host: str) -> UpstreamSettings:
        is_insecure = host in self._insecure
        # No reserve: whoever runs a command wants what is left of a rate limit, rather than leave a part to others.
        return UpstreamSettings(
            host,
            plain_http=is_insecure,
            private_addresses=is_insecure,
            rate_limit=RateLimit(reserve=0.0),
            token_hosts=self._token_hosts,
        )


class RulesRegistries(Registries):
    """Makes both sides of a command with rules, by the settings and credentials of the rules."""

    def __init__(self, options: RegistryOptions, rules: Rules) -> None:
        super().__init__(options)
        self._rules = rules

    def upstream(self) -> UpstreamRegistry:
        """Make the client for reading. Only hosts that rules or command line name may have private addresses."""
        return UpstreamRegistry(
            self._settings,
            ca=None if self._ca is None else str(self._ca),
            insecure=self._insecure,
            credentials=self._upstream_credential,
            refused=self._refused,
            patience=_DEFERRAL_SECONDS,
        )

    def destination(self, registry: str | None, *, asks_presence: bool = False) -> CopyTarget:
        """Make the target: a registry by its host, else the account's ECR."""
        if registry is not None:
            return self.target(registry, asks_presence=asks_presence)
        from pullahead.cli.account import account_target  # noqa: PLC0415 - boto3 takes long to import

        return account_target()

    def _settings(self, host: str) -> UpstreamSettings:
        settings = self._rules.settings_of(host) or UpstreamSettings(host)
        settings = settings._replace(token_hosts=(*settings.token_hosts, *self._token_hosts))
        if host in self._insecure:
            return settings._replace(plain_http=True, private_addresses=True)
        return settings

    def _upstream_credential(self, repository: Repository) -> Credential | None:
        """Read the secret that the rules name, if AWS allows that; else find what a command without rules would use."""
        secrets = self._secrets if self._has_secret(repository) else None
        if secrets is None:
            return self.credential(repository)
        try:
            return secrets(repository)
        except AccessDeniedError:
            credential = self.credential(repository)
            if credential is None:
                raise
            return credential

    def _refused(self, repository: Repository, credential: Credential) -> None:
        if self._has_secret(repository) and self._secrets is not None:
            self._secrets.refused(repository, credential)

    def _has_secret(self, repository: Repository) -> bool:
        sources = self._settings(repository.registry).credentials
        return any(fnmatchcase(repository.path, source.path) for source in sources)

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


def is_ecr(host: str) -> bool:
    """Whether a host is a private registry of ECR."""
    return parse_ecr_host(host) is not None


def ca_file(option: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Choose the CA certificates: those of the command line, else those of SSL_CERT_FILE."""
    variable = environment.get("SSL_CERT_FILE")
    return option or (Path(variable) if variable else None)


def check_certificates(path: Path) -> None:
    """Refuse a file without certificates now, not at the first connection. Raises ConfigError."""
    try:
        file_trust(str(path))
    except OSError as error:  # which ssl.SSLError is, too
        raise ConfigError(
            f"no certificates can be read from {path}: {error.strerror or error}; check --ca and SSL_CERT_FILE"
        ) from error


def _ecr_credential(host: str) -> Credential | None:
    if not is_ecr(host):
        return None
    from pullahead.cli.account import ecr_credential  # noqa: PLC0415 - boto3 takes long to import

    return ecr_credential(host)
