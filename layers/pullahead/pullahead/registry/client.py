"""The upstream client: one object that reads every upstream registry. Satisfies `pullahead.ports.Upstream`."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from urllib.parse import quote

import requests
import requests.adapters

from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository
from pullahead.registry import blobs, manifests, referrers, tags
from pullahead.registry.credentials import Credentials, anonymous
from pullahead.registry.exchange import Exchange
from pullahead.registry.hosts import base_url, by_registry
from pullahead.registry.referrers import Referrer
from pullahead.registry.transport import Timeouts, Transport
from pullahead.rules.model import UpstreamSettings

_CONNECTIONS_PER_HOST = 32

_TIMEOUTS = Timeouts()
_JITTER = random.SystemRandom().random


class UpstreamRegistry:
    """Reads manifests and blobs. May be used by several threads at once."""

    def __init__(
        self,
        settings: Callable[[str], UpstreamSettings],
        *,
        session: requests.Session | None = None,
        timeouts: Timeouts = _TIMEOUTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = _JITTER,
        credentials: Credentials = anonymous,
    ) -> None:
        self._settings, self._clock = settings, clock
        transport = Transport(session if session is not None else make_session(), timeouts, clock)
        self._exchange = Exchange(
            transport, clock=clock, sleep=sleep, jitter=jitter, credentials=by_registry(credentials)
        )

    def head_manifest(self, reference: Reference) -> Descriptor:
        """Resolve a reference with one HEAD."""
        return manifests.head_manifest(self._exchange, self._manifest_url(reference), reference)

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest and prove its bytes."""
        return manifests.get_manifest(self._exchange, self._manifest_url(reference), reference)

    def open_blob(
        self, repository: Repository, blob: Descriptor, first_byte: int = 0
    ) -> AbstractContextManager[Iterator[bytes]]:
        """Open a blob at an offset."""
        url = f"{self._base_url(repository)}/blobs/{quote(blob.digest, safe=':')}"
        return blobs.open_blob(self._exchange, url, f"{repository}@{blob.digest}", blob, first_byte)

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """List every tag of a repository once, in the registry's order."""
        return tags.list_tags(self._exchange, f"{self._base_url(repository)}/tags/list", repository, self._clock)

    def list_referrers(self, subject: Reference, digest: Digest) -> tuple[Referrer, ...]:
        """List the manifests that refer to the one with a digest."""
        return referrers.list_referrers(
            self._exchange, self._base_url(subject.repository), subject, digest, self._clock
        )

    def _manifest_url(self, reference: Reference) -> str:
        return f"{self._base_url(reference.repository)}/manifests/{quote(reference.locator, safe=':')}"

    def _base_url(self, repository: Repository) -> str:
        plain_http = self._settings(repository.registry).plain_http
        return f"{base_url(repository.registry, plain_http=plain_http)}/{quote(repository.path)}"


def make_session() -> requests.Session:
    """Make a session that several threads may share: all that it holds is a pool of connections."""
    session = requests.Session()
    # Retrying is the exchange's business: it knows what may be repeated, and for how long.
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS_PER_HOST, max_retries=0)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session
