"""Where a registry's API is, and whose API a host is. Pure."""

import re
from urllib.parse import SplitResult

from pullahead.oci import Repository
from pullahead.registry.credentials import Credential, Credentials, Refused

_API_HOSTS = {"docker.io": "registry-1.docker.io"}  # Docker Hub's API is not where its references say
_REGISTRIES = {api: registry for registry, api in _API_HOSTS.items()}

_ECR_HOST = re.compile(
    r"[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.com(?:\.cn)?|on\.(?:aws|amazonwebservices\.com\.cn))"
)
"""ECR user guide, "Private registries"."""


def base_url(registry: str, *, plain_http: bool) -> str:
    """Name the root of a registry's API: what its repositories' paths follow."""
    return f"{'http' if plain_http else 'https'}://{_API_HOSTS.get(registry, registry)}/v2"


def registry_at(url: SplitResult) -> str:
    """Name the registry, as references and rules do, whose API is at an address; with a port only where it has one."""
    host = url.netloc.lower()
    return _REGISTRIES.get(host, host)


def ecr_region(host: str) -> str | None:
    """Name the AWS region of a private ECR registry; None where a host is none."""
    found = _ECR_HOST.fullmatch(host)
    return None if found is None else found["region"]


def by_registry(credentials: Credentials) -> Credentials:
    """Let credentials that are kept by registry be asked for by the host of its API."""

    def find(repository: Repository) -> Credential | None:
        return credentials(_of_registry(repository))

    return find


def refused_by_registry(refused: Refused) -> Refused:
    """Let whoever keeps credentials by registry be told of refusals by the host of its API."""

    def tell(repository: Repository, credential: Credential) -> None:
        refused(_of_registry(repository), credential)

    return tell


def _of_registry(repository: Repository) -> Repository:
    return Repository(_REGISTRIES.get(repository.registry, repository.registry), repository.path)
