"""Who we are to a registry, and to whom that may be told. Knows no source of credentials: they are handed in."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult

from pullahead.oci import Repository


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


def unmoved(_: Repository, __: Credential) -> None:
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
