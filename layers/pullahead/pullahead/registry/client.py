"""Reads every upstream registry: manifests, blobs, listings. Implements `pullahead.oci.registries.Upstream`."""

import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING
from urllib.parse import quote

from pullahead.mirrors.rate_limit_budget import RemainingQuota, UpstreamUse
from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository
from pullahead.oci.referrers import Referrer
from pullahead.registry import blobs, listings, manifests
from pullahead.registry.address_guard import SYSTEM_NETWORK, Guard, Network
from pullahead.registry.credentials import Credentials, OnRefused, anonymous, no_refresh
from pullahead.registry.hosts import Schemes, base_url, by_registry, refused_by_registry
from pullahead.registry.http import HttpClient, Trust
from pullahead.registry.rate_limits import FOREVER, Limits
from pullahead.registry.request import Inquiry, Request, Timeouts
from pullahead.registry.request_counts import RequestCounts
from pullahead.registry.session import Retries, Session
from pullahead.registry.tokens import Identity

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

    from pullahead.registry.shared_rates import TakeRequests
    from pullahead.rules.model import UpstreamSettings  # importing the rules at run time would bring all of YAML


_TIMEOUTS = Timeouts()
_JITTER = random.SystemRandom().random


def _nobody_watches(_: Request) -> None:
    """Look at no request."""


class UpstreamRegistry:
    """Reads manifests and blobs. May be used by several threads at once.

    `ca` names a file of certificates to trust instead of the system's. Certificates of `insecure` hosts are not
    verified, and they are asked by plain HTTP if they do not speak TLS. `runtime_api` and `trusts_the_first` are the
    guard's. `wall_clock` is the time of rate limits, in seconds since 1970: unlike `clock` it goes on while a process
    sleeps. `patience` is for how many seconds a request waits for its turn rather than be deferred. `take` shares
    registries' rates with other processes. `adapter` takes the place of the network. `watch` is told of each request
    before it is sent.
    """

    def __init__(
        self,
        settings: "Callable[[str], UpstreamSettings]",
        *,
        ca: str | None = None,
        insecure: Collection[str] = (),
        runtime_api: str = "",
        trusts_the_first: bool = False,
        network: Network = SYSTEM_NETWORK,
        adapter: "BaseAdapter | None" = None,
        timeouts: Timeouts = _TIMEOUTS,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = _JITTER,
        credentials: Credentials = anonymous,
        refused: OnRefused = no_refresh,
        patience: float = FOREVER,
        take: "TakeRequests | None" = None,
        watch: Callable[[Request], None] = _nobody_watches,
    ) -> None:
        self._clock = clock
        self._counts = RequestCounts()
        self._limits = Limits(
            lambda registry: settings(registry).rate_limit,
            clock=wall_clock,
            sleep=sleep,
            patience=patience,
            take=take,
        )
        http = HttpClient(
            timeouts,
            trust=Trust(ca, lambda registry: settings(registry).ca, insecure),
            guard=Guard(settings, network=network, runtime_api=runtime_api, trusts_the_first=trusts_the_first),
            adapter=adapter,
            clock=clock,
        )
        identity = Identity(
            by_registry(credentials),
            token_hosts=lambda registry: settings(registry).token_hosts,
            refused=refused_by_registry(refused),
        )
        self._session = Session(
            http, timeouts, Retries(clock, sleep, jitter), identity, limits=self._limits, sent=self._sent
        )
        self._watch = watch
        self._schemes = Schemes(lambda registry: settings(registry).plain_http, insecure, http.speaks_tls)
        self._redirects = blobs.Redirects(clock)

    def head_manifest(self, reference: Reference, *, by_event: bool = False) -> Descriptor:
        """Resolve a reference with one HEAD."""
        return manifests.head_manifest(self._session, self._manifest_url(reference), reference, by_event=by_event)

    def find_manifest(self, reference: Reference) -> Descriptor | None:
        """Resolve a reference that may well not exist, with one HEAD."""
        return manifests.find_manifest(self._session, self._manifest_url(reference), reference)

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest and prove its bytes."""
        return manifests.get_manifest(self._session, self._manifest_url(reference), reference)

    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a blob from an offset to another, or to its end."""
        url = f"{self._base_url(repository)}/blobs/{quote(blob.digest, safe=':')}"
        location = blobs.BlobLocation(url, f"{repository}@{blob.digest}")
        return blobs.open_blob(self._session, self._redirects, location, blob, first_byte, end)

    def open_url(
        self, repository: Repository, url: str, blob: Descriptor, first_byte: int = 0, end: int | None = None
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a blob at a URL that a manifest of a repository names."""
        named_by = self._base_url(repository)
        return blobs.open_foreign(self._session, self._redirects, named_by, url, blob, first_byte, end)

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """List every tag of a repository once, in the registry's order."""
        return listings.list_tags(self._session, f"{self._base_url(repository)}/tags/list", repository, self._clock)

    def list_repositories(self, registry: str, prefix: str) -> tuple[str, ...]:
        """List the paths of a registry's repositories below a prefix."""
        url = f"{base_url(registry, plain_http=self._schemes.is_plain(registry))}/_catalog"
        return listings.list_repositories(self._session, url, registry, prefix, self._clock)

    def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
        """List the manifests that refer to the one with a digest."""
        return listings.list_referrers(self._session, self._base_url(subject.repository), subject, digest, self._clock)

    def forget_access(self, repository: Repository) -> None:
        """Forget the tokens for a repository: its credential is looked up again."""
        self._session.forget_access(repository)

    def log_in(self, registry: str) -> None:
        """Ask the root of a registry's API, which asks for a login if the registry does. Raises: as `head_manifest`."""
        url = f"{base_url(registry, plain_http=self._schemes.is_plain(registry))}/"
        self._session.answer(Request("GET", url, {}, Inquiry("login", registry)), (200,))

    def quota(self, registry: str) -> RemainingQuota | None:
        """Tell what is left of a registry's own limit, as far as its answers have said."""
        return self._limits.quota(registry)

    def take_use(self) -> tuple[UpstreamUse, ...]:
        """Count the requests by registry and kind since the last time, with what is left of the limits."""
        taken = sorted(self._counts.take().items())
        quotas = {host: self.quota(host) for host in {asked.host for asked, _ in taken}}
        left = {host: quota.remaining for host, quota in quotas.items() if quota is not None}
        return tuple(UpstreamUse(host, kind.value, count, left.get(host)) for (host, kind), count in taken)

    def _sent(self, request: Request) -> None:
        self._counts.count(request)
        self._watch(request)

    def _manifest_url(self, reference: Reference) -> str:
        return f"{self._base_url(reference.repository)}/manifests/{quote(reference.locator, safe=':')}"

    def _base_url(self, repository: Repository) -> str:
        plain_http = self._schemes.is_plain(repository.registry)
        return f"{base_url(repository.registry, plain_http=plain_http)}/{quote(repository.path)}"
