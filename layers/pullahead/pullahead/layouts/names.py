"""How layouts are named on a command line: `oci:DIR[:NAME]`, `oci-archive:FILE[:NAME]`, `docker-archive:FILE[:NAME]`.

Sources: containers-transports(5); OCI image specification 1.1, annotations.md, `org.opencontainers.image.ref.name`.
"""

import re
from enum import StrEnum

from pullahead.oci import InvalidReferenceError, Reference, Repository, parse_digest, parse_reference

_TRANSPORT = re.compile(r"([a-z][a-z-]*):(?!//)(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:@+/-]{0,253}[A-Za-z0-9_])?")
_OTHERS = frozenset({"containers-storage", "dir", "docker-daemon", "ostree", "sif", "tarball"})
_USE = "use a registry, oci:DIR[:TAG], or as a source oci-archive:FILE or docker-archive:FILE"


class Transport(StrEnum):
    """What a layout is in."""

    FOLDER = "oci"
    ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"


class LayoutRepository(Repository):
    """The images of one layout: a folder's or a file's path in place of a repository's."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self.registry}:{self.path}"

    @property
    def transport(self) -> Transport:
        """What the layout is in."""
        return Transport(self.registry)


def parse_location(text: str) -> Reference:
    """Parse a reference to a registry or a layout; it has no default tag. Raises ValueError, InvalidReferenceError.

    `oci:` and the others come before references: write library/oci:1.0 for an image of that name.
    """
    match = _TRANSPORT.fullmatch(text)
    if match is not None and match[1] in set(Transport):
        return _parse_layout(match[1], match[2])
    try:
        return parse_reference(text, default_tag=None)
    except InvalidReferenceError:
        if match is not None and match[1] in _OTHERS:
            raise ValueError(f"{match[1]}: is not supported; {_USE}") from None
        raise


def complete_source(reference: Reference) -> Reference:
    """Name the tag `latest` of a registry where nothing is named; of a layout, that is its only image."""
    is_named = reference.tag is not None or reference.digest is not None
    is_layout = isinstance(reference.repository, LayoutRepository)
    return reference if is_named or is_layout else reference._replace(tag="latest")


def _parse_layout(transport: str, rest: str) -> Reference:
    path, at, digest = rest.partition("@")
    name: str | None = None
    if not at or ":" in path:
        path, _, named = rest.partition(":")
        digest, name = "", named or None
    if not path:
        raise ValueError(f"the path is missing: write {transport}:PATH")
    if name is not None and _NAME.fullmatch(name) is None:
        raise ValueError(f"invalid name of an image in a layout: {name[:80]!r}")
    repository = LayoutRepository(transport, path)
    return Reference(repository, name, parse_digest(digest) if digest else None)
