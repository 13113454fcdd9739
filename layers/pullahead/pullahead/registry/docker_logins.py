"""Logins as docker writes them into `auths`: which one is a registry's, and what it says. Reads no file.

Source: Docker CLI reference, "docker login".
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from pullahead.oci.reference import DOCKER_HUB
from pullahead.registry.credentials import Credential, from_basic

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
