"""The upstream client: one object that reads every upstream registry. Satisfies `pullahead.ports.Upstream`."""

import random
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from pullahead.oci import Descriptor, Digest, RawManifest, Reference, Repository
from pullahead.registry import blobs, manifests, referrers, tags
from pullahead.registry.connections import Connections, Dial
from pullahead.registry.credentials import Credentials, anonymous
from pullahead.registry.exchange import Exchange
from pullahead.registry.hosts import base_url, by_registry
from pullahead.registry.referrers import Referrer
from pullahead.registry.transport import Timeouts, Transport

if TYPE_CHECKING:
    from pullahead.rules.model import UpstreamSettings  # importing the rules at run time would bring all of YAML

_TIMEOUTS = Timeouts()
_JITTER = random.SystemRandom().random


class UpstreamRegistry:
    """Reads manifests and blobs. May be used by several threads at once.

    `ca` names a file of certificates to trust instead of the system's.
    """

    def __init__(
        self,
        settings: "Callable[[str], UpstreamSettings]",
        *,
        ca: str | None = None,
        dial: Dial | None = None,
        timeouts: Timeouts = _TIMEOUTS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = _JITTER,
        credentials: Credentials = anonymous,
    ) -> None:
        self._settings, self._clock = settings, clock
        tls = partial(ssl.create_default_context, cafile=ca)
        transport = Transport(Connections(timeouts, tls=tls, dial=dial, clock=clock), timeouts, clock)
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
