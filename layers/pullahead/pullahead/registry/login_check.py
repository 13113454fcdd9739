"""What a credential can do at a registry: whether it is accepted, and whether a repository may be pulled with it.

Decides by as few requests as that takes: a HEAD of a manifest, and where that does not tell, the root of the API.
Nothing of a credential is part of a result.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from pullahead.errors import AccessDeniedError, NotFoundError, RegistryError
from pullahead.mirrors.rate_limit_budget import RemainingQuota
from pullahead.oci import Reference
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credential, Credentials
from pullahead.registry.request import Request

_MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"  # OCI distribution specification 1.1, "Error Codes"

Connect = Callable[[Credentials, Callable[[Request], None]], UpstreamRegistry]
"""Makes a client that finds credentials and reports each request before it is sent."""


class Login(StrEnum):
    """What became of a login."""

    TOKEN = "token given"  # noqa: S105
    ACCEPTED = "accepted"
    NOT_ASKED = "not asked for"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Pull(StrEnum):
    """What became of the attempt to read a manifest."""

    ALLOWED = "allowed"
    NO_TAG = "not refused"
    REFUSED = "refused"
    NOT_FOUND = "not found"
    UNKNOWN = "unknown"


_WORKING = frozenset({Login.TOKEN, Login.ACCEPTED, Login.NOT_ASKED, Pull.ALLOWED, Pull.NO_TAG})


class Access(NamedTuple):
    """What a credential can do. `pull` is None where no repository was asked for; errors are what went wrong."""

    login: Login
    login_error: RegistryError | None = None
    token_service: str | None = None  # its host, where a token was asked for
    pull: Pull | None = None
    pull_error: RegistryError | None = None
    quota: RemainingQuota | None = None  # what the registry says of its rate limit

    @property
    def works(self) -> bool:
        """Whether nothing that was tried was refused."""
        return self.login in _WORKING and (self.pull is None or self.pull in _WORKING)


class _RequestObserver:
    """Notes whether a request was authorized, and which token service was asked."""

    def __init__(self) -> None:
        self.is_authorized = False
        self.token_service: str | None = None

    def sent(self, request: Request) -> None:
        self.is_authorized = self.is_authorized or "Authorization" in request.headers
        if request.inquiry.by_way_of:
            self.token_service = request.inquiry.by_way_of.removeprefix("token service ")


def check_access(host: str, reference: Reference | None, credential: Credential | None, connect: Connect) -> Access:
    """Try a credential, or none, at a registry, and on a repository if one is named."""
    watched = _RequestObserver()
    registry = connect(lambda _: credential, watched.sent)
    pull, pull_error = (None, None) if reference is None else _try_pull(registry, reference)
    # Where the pull is refused it may be the login that is wrong, and where no login was asked for it was not tried.
    is_told = watched.is_authorized and pull is not None and not isinstance(pull_error, AccessDeniedError)
    login, login_error = (_accepted(watched), None) if is_told else _try_login(registry, host, watched)
    return Access(login, login_error, watched.token_service, pull, pull_error, registry.quota(host))


def _try_pull(registry: UpstreamRegistry, reference: Reference) -> tuple[Pull, RegistryError | None]:
    try:
        registry.head_manifest(reference)
    except NotFoundError as error:
        return (Pull.NO_TAG if error.code == _MANIFEST_UNKNOWN else Pull.NOT_FOUND), error
    except AccessDeniedError as error:
        return Pull.REFUSED, error
    except RegistryError as error:
        return Pull.UNKNOWN, error
    return Pull.ALLOWED, None


def _try_login(registry: UpstreamRegistry, host: str, watched: _RequestObserver) -> tuple[Login, RegistryError | None]:
    try:
        registry.log_in(host)
    except AccessDeniedError as error:
        # A token that the registry itself refuses at its root was obtained all the same.
        has_token = watched.token_service is not None and not error.by_way_of
        return (Login.TOKEN, None) if has_token else (Login.REFUSED, error)
    except RegistryError as error:
        return Login.UNKNOWN, error
    return _accepted(watched), None


def _accepted(watched: _RequestObserver) -> Login:
    if watched.token_service is not None:
        return Login.TOKEN
    return Login.ACCEPTED if watched.is_authorized else Login.NOT_ASKED
