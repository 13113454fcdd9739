"""Registries as a command line wants them: which scheme, whose certificates, which credentials. Sends nothing."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pullahead.cli.arguments import Common
from pullahead.cli.docker_config import docker_logins
from pullahead.cli.ecr_login import ecr_credential, is_ecr
from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.registry.sockets import file_trust
from pullahead.rules.model import RateLimit, UpstreamSettings

if TYPE_CHECKING:
    from pullahead.registry.push import OciTarget


class Connections:
    """Makes the two ends of a command, which share their credentials."""

    def __init__(self, common: Common) -> None:
        self._insecure = common.insecure
        self._ca = ca_file(common.ca, os.environ)
        if self._ca is not None:
            check_certificates(self._ca)
        self._logins = docker_logins(os.environ, Path.home())

    def upstream(self) -> UpstreamRegistry:
        """Make the end that is read."""
        ca = None if self._ca is None else str(self._ca)
        return UpstreamRegistry(
            self._settings, ca=ca, insecure=self._insecure, credentials=self.credential, trusts_the_first=True
        )

    def target(self, host: str, *, asks_presence: bool = False) -> "OciTarget":
        """Make the end that is written."""
        from pullahead.registry.push import OciTarget  # noqa: PLC0415 - only a copy writes

        return OciTarget(
            host,
            insecure=self._insecure,
            credentials=self.credential,
            token_hosts=lambda registry: self._settings(registry).token_hosts,
            ca=None if self._ca is None else str(self._ca),
            asks_presence=asks_presence or is_ecr(host),  # ECR opens an upload for a blob that it has, too
        )

    def credential(self, repository: Repository) -> Credential | None:
        """Find the credential for a repository: ECR's from AWS if that knows one, all else from docker's logins."""
        found = ecr_credential(repository.registry) if is_ecr(repository.registry) else None
        return found or self._logins.find(repository)

    def _settings(self, host: str) -> UpstreamSettings:
        is_insecure = host in self._insecure
        # Whoever asks by hand wants what is left of a limit, rather than leave a part to others.
        return UpstreamSettings(
            host, plain_http=is_insecure, private_addresses=is_insecure, rate_limit=RateLimit(reserve=0.0)
        )


def ca_file(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Name the certificates to trust: those of the command line, else those of the environment."""
    found = environment.get("SSL_CERT_FILE")
    return named or (Path(found) if found else None)


def check_certificates(path: Path) -> None:
    """Read the certificates now, rather than at the first connection. Raises ConfigError."""
    try:
        file_trust(str(path))
    except OSError as error:  # which ssl.SSLError is, too
        raise ConfigError(f"{path} has no certificates that can be read: {error.strerror or error}") from error
