"""A registry of some manners, up in an internet of its own, and a client of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from pullahead.registry.credentials import Credential
from pullahead.rules.model import UpstreamSettings
from tests.contract.styles.parts import Client
from tests.fakes.internet import Internet, Site


class Style(Protocol):
    """The hosts of a registry."""

    def sites(self) -> Mapping[str, Site]:
        """Tell what each host answers."""
        ...


@contextlib.contextmanager
def following(
    style: Style,
    credential: Credential | None = None,
    settings: Mapping[str, UpstreamSettings] | None = None,
    sleep: Callable[[float], None] = lambda _: None,
) -> Iterator[tuple[Internet, Client]]:
    """Put a registry on the internet, and follow it."""
    internet = Internet(style.sites())
    with internet.up():
        yield internet, Client(internet, credential, settings, sleep)


def paths(internet: Internet, host: str) -> list[str]:
    """List what a host was asked."""
    return [f"{asked.method} {asked.path}" for asked in internet.asked if asked.host == host]
