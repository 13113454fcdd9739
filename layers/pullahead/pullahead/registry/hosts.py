"""Where a registry's API is, and whose API a host is. Pure."""

from pullahead.oci import Repository
from pullahead.registry.credentials import Credential, Credentials

_API_HOSTS = {"docker.io": "registry-1.docker.io"}  # Docker Hub's API is not where its references say
_REGISTRIES = {api: registry for registry, api in _API_HOSTS.items()}


def base_url(registry: str, *, plain_http: bool) -> str:
    """Name the root of a registry's API: what its repositories' paths follow."""
    return f"{'http' if plain_http else 'https'}://{_API_HOSTS.get(registry, registry)}/v2"


def by_registry(credentials: Credentials) -> Credentials:
    """Let credentials that are kept by registry be asked for by the host of its API."""

    def find(repository: Repository) -> Credential | None:
        registry = _REGISTRIES.get(repository.registry, repository.registry)
        return credentials(Repository(registry, repository.path))

    return find
