"""Credentials for registries, and which hosts get them; logins as docker and containers write them. Reads no file.

Sources: Docker CLI reference, "docker login"; containers-auth.json(5).
"""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import SplitResult

import msgspec

from pullahead.oci import Repository
from pullahead.oci.reference import DOCKER_HUB
from pullahead.registry import go_json
from pullahead.text import one_line

_MAX_NAME_CHARACTERS = 60
_LIKE_A_TOKEN = re.compile(r"(?:gh[a-z]_|github_pat_|gl[a-z]{1,10}-|dckr_|hf_|eyJ|AKIA|ASIA|AKC)|\S{61}")
"""What the tokens of registries begin with, or their length: people put them into the wrong field."""


class SecretKind(StrEnum):
    """How a secret is used."""

    PASSWORD = "password"  # noqa: S105 - or a token that takes its place, with the user's name
    IDENTITY_TOKEN = "identity token"  # noqa: S105 - OAuth's refresh token, which buys tokens for repositories
    REGISTRY_TOKEN = "registry token"  # noqa: S105 - a bearer token, sent as it is


@dataclass(frozen=True)
class Credential:
    """A user's name and password, or a token in its place. `source` names where it was found, for people."""

    username: str
    secret: str = field(repr=False)
    kind: SecretKind = SecretKind.PASSWORD
    source: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """Name the credential in a message, without its secret."""
        user = f"user {one_line(self.username, _MAX_NAME_CHARACTERS)}" if self.username else "a user without a name"
        if _LIKE_A_TOKEN.match(self.username):
            user = "a user whose name looks like a token"
        return f"{user} of {self.source}" if self.source else user

    def found_in(self, source: str) -> "Credential":
        """Note where the credential was found."""
        return replace(self, source=source)

    @property
    def basic(self) -> str:
        """The value of Authorization: RFC 7617, with UTF-8 as every registry reads it."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.secret}'.encode()).decode()}"


Credentials = Callable[[Repository], Credential | None]
"""Finds the credential for a repository; None if there is none. Asked again when a registry refuses one."""

OnRefused = Callable[[Repository, Credential], None]
"""Called when a registry refuses a credential, before it is looked up again: the next one may be another."""

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
        # As Go reads it: in lines, and padded or not.
        text = "".join(encoded.split()).rstrip("=")
        username, colon, secret = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode().partition(":")
    except ValueError:  # binascii.Error and UnicodeDecodeError, which quote what they could not read
        raise ValueError("it is not base64 of text") from None
    if not colon:
        raise ValueError("it has no colon between name and secret")
    # docker pads with zeros; and who encodes with `echo` adds an end of line
    return Credential(username, secret.rstrip("\0").rstrip("\r\n"))


def may_be_told(realm: SplitResult, registry: SplitResult) -> bool:
    """Decide whether a registry's credential may go to a token service: only to its own host or domain, by TLS.

    Without TLS it may go only if the registry itself is asked without.
    """
    if realm.scheme != "https" and registry.scheme == "https":
        return False
    theirs, ours = (realm.hostname or "").lower(), (registry.hostname or "").lower()
    domain = _registrable_domain(ours)
    return theirs == ours or (domain is not None and _registrable_domain(theirs) == domain)


def _registrable_domain(host: str) -> str | None:
    """Name the domain that one owner has registered; None for addresses and for domains that many owners share."""
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


_ACR_USER = "00000000-0000-0000-0000-000000000000"

HUB_KEY = "https://index.docker.io/v1/"
"""The one name under which docker keeps a login to Docker Hub."""

_HUB_HOSTS = frozenset({"index.docker.io", "docker.io", "registry-1.docker.io"})
_API_PATHS = frozenset({"", "v1", "v2"})

BYTE_ORDER_MARK = "\ufeff"
"""What editors and shells of Windows write before UTF-8."""

_Login = TypeVar("_Login")


class Login(msgspec.Struct):
    """What is stored for one registry."""

    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None

    def credential(self) -> Credential | None:
        """Read the credential; None if there is none. Raises ValueError, which quotes nothing of it."""
        named = from_basic(self.auth) if self.auth else Credential(self.username or "", self.password or "")
        if self.identitytoken:
            return identity_credential(named.username, self.identitytoken)
        if self.registrytoken:
            return Credential(named.username, self.registrytoken, SecretKind.REGISTRY_TOKEN)
        return named if named.username or named.secret else None


def identity_credential(username: str, token: str) -> Credential:
    """Make the credential of an identity token, which Azure takes as the password of a certain user, too."""
    return Credential(username, token, SecretKind.PASSWORD if username == _ACR_USER else SecretKind.IDENTITY_TOKEN)


def read_logins(auths: bytes | msgspec.Raw, repository: Repository) -> Credential | None:
    """Read the login for a repository from docker's `auths`. What is stored for others is not looked at.

    The login for the longest path that the repository is below counts, else that for its registry; one that is null or
    empty, as it stands where a credential helper has the login, is none. Raises ValueError, which quotes nothing.
    """
    try:
        for entry in find_logins(_entries(auths), repository):
            credential = go_json.decode(entry, Login).credential()
            if credential is not None:
                return credential
    except go_json.INVALID:
        raise ValueError("it is not what docker writes") from None
    return None


def paths_with_logins(auths: bytes | msgspec.Raw, registry: str) -> list[str]:
    """List the paths of a registry that docker's `auths` have entries for. Raises ValueError, which quotes nothing."""
    try:
        keys = map(_host_and_path, _entries(auths))
    except go_json.INVALID:
        raise ValueError("it is not what docker writes") from None
    return sorted({path for host, path in keys if host == registry and path})


def _entries(auths: bytes | msgspec.Raw) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(auths, type=dict[str, msgspec.Raw])


def find_logins(entries: Mapping[str, _Login], repository: Repository) -> list[_Login]:
    """Find what is stored for a repository: for the longest path that it is below first, for its registry last."""
    found: list[tuple[tuple[int, bool], _Login]] = []
    for key, entry in entries.items():
        host, path = _host_and_path(key)
        if host == repository.registry and (not path or f"{repository.path}/".startswith(f"{path}/")):
            found.append(((len(path), key == (HUB_KEY if host == DOCKER_HUB else host)), entry))
    return [entry for _, entry in sorted(found, key=lambda each: each[0], reverse=True)]


def _host_and_path(key: str) -> tuple[str, str]:
    """Name the registry that a key is for, however it is spelled, and the path below which it counts ("" for all)."""
    host, _, path = re.sub(r"^https?://", "", key.strip(), flags=re.IGNORECASE).partition("/")
    path = path.strip("/")
    host = host.lower()
    return DOCKER_HUB if host in _HUB_HOSTS else host, "" if path in _API_PATHS else path
