"""Registries as a command line wants them: which scheme, whose certificates, which credentials. Sends nothing."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pullahead.cli.docker_config import DockerConfig, config_path
from pullahead.cli.ecr_login import ecr_credential, is_ecr
from pullahead.cli.options import RegistryOptions
from pullahead.errors import ConfigError
from pullahead.oci import Repository
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential
from pullahead.rules.model import RateLimit, UpstreamSettings

if TYPE_CHECKING:
    from pullahead.registry.push import OciTarget


class Connections:
    """Makes the two ends of a command, which share their credentials."""

    def __init__(self, options: RegistryOptions) -> None:
        self._insecure = options.insecure
        self._ca = ca_file(options.ca, os.environ)
        if self._ca is not None:
            check_certificates(self._ca)
        self._docker = DockerConfig(config_path(os.environ, Path.home()), os.environ)

    def upstream(self) -> UpstreamRegistry:
        """Make the end that is read."""
        ca = None if self._ca is None else str(self._ca)
        return UpstreamRegistry(self._settings, ca=ca, credentials=self.credential, trusts_the_first=True)

    def target(self, host: str, *, asks_presence: bool = False) -> "OciTarget":
        """Make the end that is written."""
        from pullahead.registry.push import OciTarget  # noqa: PLC0415 - only a copy writes

        return OciTarget(
            host,
            plain_http=host in self._insecure,
            credentials=self.credential,
            ca=None if self._ca is None else str(self._ca),
            asks_presence=asks_presence or is_ecr(host),  # ECR opens an upload for a blob that it has, too
        )

    def credential(self, repository: Repository) -> Credential | None:
        """Find the credential for a repository: ECR's from AWS where that knows one, all else from docker's login."""
        found = ecr_credential(repository.registry) if is_ecr(repository.registry) else None
        return found or self._docker.find(repository)

    def _settings(self, host: str) -> UpstreamSettings:
        is_insecure = host in self._insecure
        # Whoever asks by hand wants what is left of a limit, rather than leave a part to others.
        return UpstreamSettings(
            host, plain_http=is_insecure, private_addresses=is_insecure, rate_limit=RateLimit(reserve=0.0)
        )


def ca_file(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Tell which certificates to trust: those that the command line names, else those that the environment does."""
    found = environment.get("SSL_CERT_FILE")
    return named or (Path(found) if found else None)


def check_certificates(path: Path) -> None:
    """Say at once that a file is of no use, rather than at the first connection. Raises ConfigError."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # which ssl.SSLError is, too
        raise ConfigError(f"{path} holds no certificates that can be read: {error.strerror or error}") from error
