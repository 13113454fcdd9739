"""References, parsed once into types: which host, path, tag and digest a text names. Pure.

Source: distribution/reference grammar as used by docker, and OCI distribution specification 1.1, "Pulling manifests".
"""

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple, NoReturn

from pullahead.errors import PullaheadError
from pullahead.oci.digest import Digest, InvalidDigestError, parse_digest

DOCKER_HUB = "docker.io"
_DOCKER_HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
TAG_ADVICE = (
    "A tag has 1 to 128 letters, digits, dots, dashes and underscores, and does not begin with a dot or a dash."
)
_LABEL = r"(?:[a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
_HOST = re.compile(rf"(?:(?P<name>{_NAME})|\[(?P<ipv6>[0-9a-f:.]+)\])(?::(?P<port>[1-9][0-9]{{0,4}}))?")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_BARE_HEX = re.compile(r"[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[!-~]+")
_LAST_PORT = 65535
_MAX_NAME_CHARACTERS = 255
"""Of host, slash and path together: OCI distribution specification 1.1, "Pulling manifests"."""
_MAX_REFERENCE_CHARACTERS = 1024


class InvalidReferenceError(PullaheadError):
    """A text that is not a valid reference: the cause, and how to write it."""

    def __init__(self, shown: str, cause: str, advice: str) -> None:
        self.cause, self.advice = cause, advice
        hint = f" {advice}" if advice else ""
        super().__init__(f"invalid reference {shown}: {cause}.{hint}")


class Repository(NamedTuple):
    """A registry's host, with its port if it has one, and the path of a repository in it."""

    registry: str
    path: str

    def __str__(self) -> str:
        return f"{self.registry}/{self.path}"


class Reference(NamedTuple):
    """A repository, and the tag or the digest of a manifest in it; the digest takes precedence."""

    repository: Repository
    tag: str | None
    digest: Digest | None = None

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.repository}{tag}{digest}"

    @property
    def locator(self) -> str:
        """What follows /manifests/ in a URL: the digest if there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def at(self, digest: Digest) -> "Reference":
        """Name a manifest of the same repository by digest."""
        return Reference(self.repository, None, digest)


def parse_reference(text: str, *, default_tag: str | None = "latest") -> Reference:
    """Parse a reference as docker does; `default_tag` applies without tag and digest.

    Raises InvalidReferenceError.
    """
    _check_characters(text)
    named, at, digest_text = text.partition("@")
    digest = _digest(text, digest_text) if at else None
    name, tag = _split_tag(text, named)
    if tag is None and digest is None:
        tag = default_tag
    return Reference(_repository(text, name), tag, digest)


def parse_host(text: str) -> str:
    """Parse a registry's host as in a reference. Raises InvalidReferenceError."""
    _check_characters(text)
    if not _is_host(text):
        _refuse(text, "it is not a host", "A host has a dot or a port, or is localhost.")
    return _host(text, text)


def is_tag(text: str) -> bool:
    """Tell whether a text is a valid tag."""
    return _TAG.fullmatch(text) is not None


def _check_characters(text: str) -> None:
    if not text:
        _refuse(text, "it is empty", "Write it like docker.io/library/alpine:3.20.")
    if len(text) > _MAX_REFERENCE_CHARACTERS:
        _refuse(text, f"it has {len(text)} characters; the limit is {_MAX_REFERENCE_CHARACTERS}")
    if not _PRINTABLE.fullmatch(text):
        _refuse(text, "it has spaces, control characters or characters beyond ASCII", "Remove them.")
    if scheme := _SCHEME.match(text):
        _refuse(text, "a reference is not a URL", f"Remove {scheme[0]}.")
    if _BARE_HEX.fullmatch(text):
        _refuse(text, "the repository is missing", f"Write REPOSITORY@sha256:{text}.")


def _digest(text: str, digest: str) -> Digest:
    try:
        return parse_digest(digest)
    except InvalidDigestError:
        _refuse(
            text,
            "the digest after @ is invalid",
            "Write sha256:<64 hex digits> or sha512:<128 hex digits>, lower case.",
        )


def _split_tag(text: str, named: str) -> tuple[str, str | None]:
    # A colon before the last slash belongs to a host's port or to an IPv6 address.
    start = named.rfind("/") + 1
    if start == 0 and named.startswith("["):
        _refuse(text, "the repository is missing", "Write HOST/PATH.")
    last, colon, tag = named[start:].partition(":")
    if not colon:
        return named, None
    if not is_tag(tag):
        _refuse(text, f"invalid tag {_shown(tag)}", TAG_ADVICE)
    return named[:start] + last, tag


def _repository(text: str, name: str) -> Repository:
    first, slash, rest = name.partition("/")
    if slash and _is_host(first):
        host, path = _host(text, first), rest
    else:
        host, path = DOCKER_HUB, name
    _check_path(text, path)
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    repository = Repository(host, path)
    if len(str(repository)) > _MAX_NAME_CHARACTERS:
        _refuse(text, f"host and path have {len(str(repository))} characters; the limit is {_MAX_NAME_CHARACTERS}")
    return repository


def _is_host(component: str) -> bool:
    # As docker tells a host from the first component of a path: by a dot, a port, or the one name localhost.
    return "." in component or ":" in component or component.lower() == "localhost"


def _host(text: str, written: str) -> str:
    host = written.lower()
    match = _HOST.fullmatch(host)
    if match is None or (match["ipv6"] and not _is_ipv6(match["ipv6"])) or int(match["port"] or 1) > _LAST_PORT:
        _refuse(
            text,
            f"invalid host {_shown(written)}",
            f"Write it like ghcr.io, localhost:5000 or [::1]:5000; a port is 1 to {_LAST_PORT}.",
        )
    return DOCKER_HUB if host in _DOCKER_HUB_ALIASES else host


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


def _check_path(text: str, path: str) -> None:
    if not path:
        _refuse(text, "the path of the repository is missing", "Write HOST/PATH.")
    if _PATH.fullmatch(path):
        return
    if _PATH.fullmatch(path.lower()):
        _refuse(text, "the path must be lower case", f"Write the path as {path.lower()}.")
    _refuse(
        text,
        f"invalid path {_shown(path)}",
        "Use lower-case letters and digits, joined by a dot, one or two underscores, dashes, or slashes.",
    )


def _refuse(text: str, cause: str, advice: str = "") -> NoReturn:
    # What precedes @ may be a password: it is shown only before a digest.
    before, at, after = text.rpartition("@")
    shown = text if not at or ("@" not in before and after.startswith(("sha256:", "sha512:"))) else f"…@{after}"
    raise InvalidReferenceError(_shown(shown), cause, advice)


def _shown(text: str) -> str:
    # What follows ? is not shown: the query of a presigned URL is a credential.
    kept, query, _ = text.partition("?")
    return repr(kept + query + ("…" if query else "") if len(kept) <= 160 else f"{kept[:160]}…")
