"""Counts of the requests to each registry, by kind. Decides nothing."""

import re
import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import urlsplit

from pullahead.registry.hosts import registry_at
from pullahead.registry.request import Request, first_of

ELSEWHERE = "elsewhere"
"""Stands for hosts that are no registry's API (tokens, redirects), and for registries beyond the busiest."""

_MAX_HOSTS = 10  # each is a metric, and metrics cost money
_MANIFEST = re.compile(r"/v2/.+/manifests/[^/]+")
_BLOB = re.compile(r"/v2/.+/blobs/[^/]+")


class Kind(StrEnum):
    """What a request is about."""

    HEAD = "HEAD"  # of a manifest: what a check costs
    MANIFEST = "MANIFEST"
    BLOB = "BLOB"
    LIST = "LIST"
    OTHER = "OTHER"


class RequestKind(NamedTuple):
    """A registry, and what it was asked for."""

    host: str
    kind: Kind


class RequestCounts:
    """Counts requests until the count is taken. May be used by several threads."""

    def __init__(self) -> None:
        self._counts: Counter[RequestKind] = Counter()
        self._lock = threading.Lock()

    def count(self, request: Request) -> None:
        """Count a request."""
        asked = _asked(request)
        with self._lock:
            self._counts[asked] += 1

    def take(self) -> Mapping[RequestKind, int]:
        """Give what was counted since the last time, with names for the busiest registries only."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        by_host: Counter[str] = Counter()
        for asked, count in counts.items():
            by_host[asked.host] += count
        busiest = {host for host, _ in by_host.most_common(_MAX_HOSTS)}
        taken: Counter[RequestKind] = Counter()
        for asked, count in counts.items():
            taken[asked if asked.host in busiest else asked._replace(host=ELSEWHERE)] += count
        return taken


def _asked(request: Request) -> RequestKind:
    url = urlsplit(request.url)
    if registry_at(url) != registry_at(urlsplit(first_of(request))):  # no registry makes metrics of names it chooses
        return RequestKind(ELSEWHERE, Kind.OTHER)
    if not url.path.startswith("/v2/"):
        return RequestKind(ELSEWHERE, Kind.OTHER)
    return RequestKind(registry_at(url), _kind(request.method, url.path))


def _kind(method: str, path: str) -> Kind:
    if _MANIFEST.fullmatch(path):
        return Kind.HEAD if method == "HEAD" else Kind.MANIFEST
    return Kind.BLOB if _BLOB.fullmatch(path) else Kind.LIST
