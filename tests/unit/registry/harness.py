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
from pullahead.registry.client import UpstreamRegistry
from pullahead.registry.credentials import Credentials, OnRefused, anonymous, no_refresh
from pullahead.registry.request import Timeouts
from pullahead.rules.model import RateLimit, UpstreamSettings

SECRET = "s3cr3t"
_USUAL = RateLimit()


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


class Pretended(HTTPAdapter):
    """Hosts by scheme and name that are fake registries; any other is an error of the test."""

    def __init__(self, hosts: Mapping[str, FakeRegistry]) -> None:
        super().__init__()
        self._hosts = hosts

    def send(self, request: requests.PreparedRequest, *arguments: Any, **named: Any) -> requests.Response:
        url = urlsplit(request.url or "")
        registry = self._hosts[f"{url.scheme}://{url.netloc}"]
        request.url = url._replace(scheme="http", netloc=registry.host).geturl()
        return super().send(request, *arguments, **named)


def upstream_of(
    hosts: Mapping[str, FakeRegistry] | None = None,
    *,
    time: FakeTime | None = None,
    timeouts: Timeouts | None = None,
    plain_http: bool | None = None,
    jitter: float = 1.0,
    credentials: Credentials = anonymous,
    refused: OnRefused = no_refresh,
    rate_limit: RateLimit = _USUAL,
    patience: float = 1000.0,
) -> UpstreamRegistry:
    """Make a client whose waits take no time; with `hosts` it speaks https to them, else plain HTTP."""
    time = time or FakeTime()
    plain = hosts is None if plain_http is None else plain_http
    return UpstreamRegistry(
        lambda host: UpstreamSettings(host, plain_http=plain, private_addresses=hosts is None, rate_limit=rate_limit),
        adapter=None if hosts is None else Pretended(hosts),
        timeouts=timeouts or Timeouts(connect=2, read=5),
        clock=time,
        wall_clock=time,
        sleep=time.sleep,
        jitter=lambda: jitter,
        credentials=credentials,
        refused=refused,
        patience=patience,
    )


def last_blob(image: LocalImage) -> Descriptor:
    """Describe the last layer of an image."""
    digest = list(image.blobs)[-1]
    return Descriptor("application/octet-stream", digest, len(image.blobs[digest]))
