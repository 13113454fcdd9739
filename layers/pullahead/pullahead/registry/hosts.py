"""Where a registry's API is, and by which scheme."""

from collections.abc import Callable, Collection
from urllib.parse import SplitResult

from pullahead.oci import Repository
from pullahead.registry.credentials import Credential, Credentials, OnRefused
from pullahead.registry.request import Inquiry, Request

_API_HOSTS = {"docker.io": "registry-1.docker.io"}  # Docker Hub's API is not where its references say
_REGISTRIES = {api: registry for registry, api in _API_HOSTS.items()}


def base_url(registry: str, *, plain_http: bool) -> str:
    """Name the root of a registry's API: what its repositories' paths follow."""
    return f"{'http' if plain_http else 'https'}://{api_host(registry)}/v2"


def api_host(registry: str) -> str:
    """Name the host of a registry's API."""
    return _API_HOSTS.get(registry, registry)


class Schemes:
    """Decides by which scheme registries are asked: TLS, unless the rules or the host itself want plain HTTP.

    Only hosts that a person calls insecure are tried: TLS comes first, as with docker, skopeo and crane.
    """

    def __init__(
        self,
        is_plain: Callable[[str], bool],
        insecure: Collection[str],
        connects: Callable[[Request], bool | None],
    ) -> None:
        """`connects` tries a connection: False for a host that does not speak TLS, None if that is not known."""
        self._is_plain, self._insecure, self._connects = is_plain, insecure, connects
        self._found: dict[str, bool] = {}

    def is_plain(self, registry: str) -> bool:
        """Tell whether a registry is asked by plain HTTP. Raises AccessDeniedError for an address that is refused."""
        if registry not in self._insecure:
            return self._is_plain(registry)
        if registry not in self._found:
            found = self._try(registry, plain_http=False)
            if found is None and ":" not in registry:  # plain HTTP has a port of its own
                found = False if self._try(registry, plain_http=True) else None
            if found is None:  # it does not answer: the request will say why
                return ":" not in registry
            self._found[registry] = not found
        return self._found[registry]

    def _try(self, registry: str, *, plain_http: bool) -> bool | None:
        url = f"{base_url(registry, plain_http=plain_http)}/"
        return self._connects(Request("GET", url, {}, Inquiry("connecting", registry)))


def registry_at(url: SplitResult) -> str:
    """Name the registry, as references and rules do, whose API is at an address; with a port only where it has one."""
    host = url.netloc.lower()
    return _REGISTRIES.get(host, host)


def by_registry(credentials: Credentials) -> Credentials:
    """Let credentials that are known by registry be found by the host of its API."""

    def find(repository: Repository) -> Credential | None:
        return credentials(_of_registry(repository))

    return find


def refused_by_registry(refused: OnRefused) -> OnRefused:
    """Let refusals by the host of an API be reported by registry."""

    def tell(repository: Repository, credential: Credential) -> None:
        refused(_of_registry(repository), credential)

    return tell


def _of_registry(repository: Repository) -> Repository:
    return Repository(_REGISTRIES.get(repository.registry, repository.registry), repository.path)
