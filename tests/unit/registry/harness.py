"""Clocks that do not run, sleeps that do not sleep, and hosts that are not there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from local.images import LocalImage
from local.registry import FakeRegistry
from pullahead.oci import Descriptor
from pullahead.registry import Timeouts, UpstreamRegistry
from pullahead.rules.model import UpstreamSettings

SECRET = "s3cr3t"


@dataclass
class FakeTime:
    """A clock that only sleeping and the test move."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class PretendHosts(HTTPAdapter):
    """Hosts by name and scheme that are fake registries in truth; any other is an error of the test."""

    def __init__(self, addresses: Mapping[str, FakeRegistry]) -> None:
        super().__init__()
        self._addresses = addresses

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        asked = str(request.url)
        url = urlsplit(asked)
        registry = self._addresses[f"{url.scheme}://{url.netloc}"]
        request.url = url._replace(scheme="http", netloc=registry.host).geturl()
        response = super().send(request, *arguments, **options)
        response.url = asked
        return response


def upstream_of(
    hosts: Mapping[str, FakeRegistry] | None = None,
    *,
    time: FakeTime | None = None,
    timeouts: Timeouts | None = None,
    plain_http: bool | None = None,
    jitter: float = 1.0,
) -> UpstreamRegistry:
    """Make a client whose waits take no time; with `hosts` it speaks https to them, else plain HTTP."""
    session = None
    if hosts is not None:
        session = requests.Session()
        session.mount("https://", PretendHosts(hosts))
        session.mount("http://", PretendHosts(hosts))
    time = time or FakeTime()
    plain = hosts is None if plain_http is None else plain_http
    return UpstreamRegistry(
        lambda host: UpstreamSettings(host, plain_http=plain),
        session=session,
        timeouts=timeouts or Timeouts(connect=2, read=5),
        clock=time,
        sleep=time.sleep,
        jitter=lambda: jitter,
    )


def last_blob(image: LocalImage) -> Descriptor:
    """Describe the last layer of an image."""
    digest = list(image.blobs)[-1]
    return Descriptor("application/octet-stream", digest, len(image.blobs[digest]))
