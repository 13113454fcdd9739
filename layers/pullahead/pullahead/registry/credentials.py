"""Who we are to a registry, and to whom that may be told. Knows no source of credentials: they are handed in.

Logins as docker writes them into `auths`: which one is a registry's, and what it says. Reads no file.

Source: Docker CLI reference, "docker login".
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import SplitResult

import msgspec

from pullahead.oci import Repository
from pullahead.oci.reference import DOCKER_HUB


@dataclass(frozen=True)
class Credential:
    """A user's name and password, or a token in its place."""

    username: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of Authorization: RFC 7617, with UTF-8 as every registry reads it."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.secret}'.encode()).decode()}"


Credentials = Callable[[Repository], Credential | None]
"""Finds the credential for a repository; None where there is none. Asked again when a registry refuses one."""

Refused = Callable[[Repository, Credential], None]
"""Is told that a registry refuses a credential, before it is asked for again: the next one may be another."""

# Second-level names under which countries let anybody register, as in co.uk or com.au.
_OPEN_SECOND_LEVELS = frozenset({"ac", "co", "com", "edu", "gob", "gov", "go", "mil", "ne", "net", "or", "org"})

# Domains whose subdomains belong to many different owners: there only the very same host is the registry's own.
_SHARED_DOMAINS = frozenset(
    {"amazonaws.com", "amazonaws.com.cn", "azurecr.io", "azurewebsites.net", "cloudfront.net", "github.io"}
    | {
        "gitlab.io",
        "googleapis.com",
        "herokuapp.com",
        "ngrok.io",
        "on.aws",
        "pkg.dev",
        "run.app",
        "windows.net",
        "workers.dev",
    }
)


def anonymous(_: Repository) -> None:
    """Find no credential for anything."""


def no_refresh(_: Repository, __: Credential) -> None:
    """Have no other credential than the refused one."""


def from_basic(encoded: str) -> Credential:
    """Read a credential as Basic puts it (RFC 7617): the base64 of `name:secret`. Raises ValueError, without it."""
    try:
        username, colon, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:  # binascii.Error and UnicodeDecodeError, which quote what they could not read
        raise ValueError("it is not base64 of text") from None
    if not colon:
        raise ValueError("it has no colon between name and secret")
    return Credential(username, secret.rstrip("\0"))  # docker pads with zeros


def may_be_told(realm: SplitResult, registry: SplitResult) -> bool:
    """Decide whether a registry's credential may go to a token service: only to its own host or domain, by TLS.

    Without TLS it may go only where the registry itself is spoken to without.
    """
    if realm.scheme != "https" and registry.scheme == "https":
        return False
    theirs, ours = (realm.hostname or "").lower(), (registry.hostname or "").lower()
    domain = _registrable_domain(ours)
    return theirs == ours or (domain is not None and _registrable_domain(theirs) == domain)


def _registrable_domain(host: str) -> str | None:
    """Name the domain that one owner has registered; None where a host shares its domain with nobody, or strangers."""
    labels = host.rstrip(".").split(".")
    if len(labels) < 2 or _is_address(host):
        return None
    is_open = len(labels[-1]) == 2 and labels[-2] in _OPEN_SECOND_LEVELS
    wanted = 3 if is_open else 2
    domain = ".".join(labels[-wanted:])
    return domain if len(labels) >= wanted and domain not in _SHARED_DOMAINS else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


HUB_KEY = "https://index.docker.io/v1/"
"""The one name under which docker keeps a login to Docker Hub."""

_HUB_HOSTS = frozenset({"index.docker.io", "docker.io", "registry-1.docker.io"})
_API_PATHS = frozenset({"", "v1", "v2"})

_Entry = TypeVar("_Entry")


class Login(msgspec.Struct):
    """What is kept for one registry."""

    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None

    def credential(self) -> Credential | None:
        """Tell name and password; None where there are none. Raises ValueError, which quotes nothing of them."""
        if self.auth:
            return from_basic(self.auth)
        if self.username or self.password:
            return Credential(self.username or "", self.password or "")
        return None


def of_host(entries: Mapping[str, _Entry], host: str) -> _Entry | None:
    """Find what is kept for a registry, however its name is spelled there."""
    return entries.get(HUB_KEY if host == DOCKER_HUB else host) or next(
        (entry for key, entry in entries.items() if _host_of(key) == host), None
    )


def _host_of(key: str) -> str | None:
    """Name the registry that a key stands for; None for podman's keys, which are for one repository."""
    host, _, path = re.sub(r"^https?://", "", key.strip().lower()).partition("/")
    if path.strip("/") not in _API_PATHS:
        return None
    return DOCKER_HUB if host in _HUB_HOSTS else host
