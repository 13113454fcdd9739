"""ECR's road for whole blobs: one streamed request to the registry's own API instead of parts in JSON.

A tenth of the CPU, and not to be resumed. Mounts a blob from another repository where BLOB_MOUNTING allows it.

Source: ECR user guide, "Private registry authentication"; API reference, GetAuthorizationToken.

Which repositories of the account's ECR have blobs that another one lacks, so that they need not be sent.

Source: ECR user guide, "Blob mounting": an account setting, off by default; the layer must belong to an image there.
"""

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from pullahead.ecr.errors import translated
from pullahead.errors import ManifestRefusedError, NotFoundError
from pullahead.oci import Descriptor, Digest
from pullahead.oci.registries import Offered, OpenPieces, Target
from pullahead.registry.credentials import from_basic
from pullahead.registry.push import OciTarget

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient


_RENEWED_BEFORE = timedelta(minutes=30)  # a token is good for twelve hours, an invocation for a quarter of one


class _Login(NamedTuple):
    registry: OciTarget
    until: datetime


class EcrStreams:
    """Satisfies `pullahead.ports.StreamsBlobs` for the account's registry. May be used by several threads.

    `clock` tells the time of day, which goes on while a function is frozen between two invocations.
    """

    def __init__(self, client: "ECRClient", clock: Callable[[], datetime]) -> None:
        self._client, self._clock = client, clock
        self._lock = threading.Lock()
        self._login: _Login | None = None

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """Offer a blob to the registry's API."""
        return self._registry().stream_blob(repository, blob, open_pieces, mount_from)

    def _registry(self) -> OciTarget:
        with self._lock:
            if self._login is None or self._clock() >= self._login.until:
                self._login = self._log_in()
            return self._login.registry

    def _log_in(self) -> _Login:
        with translated("log in", "the registry"):
            (granted,) = self._client.get_authorization_token()["authorizationData"]
        endpoint = urlsplit(granted["proxyEndpoint"])
        credential = from_basic(granted["authorizationToken"])
        registry = OciTarget(endpoint.netloc, plain_http=endpoint.scheme == "http", credentials=lambda _: credential)
        return _Login(registry, granted["expiresAt"] - _RENEWED_BEFORE)


_SETTING = "BLOB_MOUNTING"
_ASKED_AGAIN_AFTER = timedelta(minutes=10)
_MAX_REPOSITORIES_ASKED = 10  # each costs a call; those that are named first are the likeliest


class EcrMounts:
    """Satisfies `pullahead.ports.FindsMounts`."""

    def __init__(self, client: "ECRClient", blobs: Target, clock: Callable[[], datetime]) -> None:
        self._client, self._blobs, self._clock = client, blobs, clock
        self._is_allowed, self._asked_at = False, datetime.min.replace(tzinfo=UTC)

    def find_mounts(self, digests: Collection[Digest], repositories: Sequence[str]) -> Mapping[Digest, str]:
        """Ask the account from time to time whether it mounts, and repository after repository what it has."""
        found: dict[Digest, str] = {}
        if not digests or not repositories or not self._allowed():
            return found
        for repository in islice(repositories, _MAX_REPOSITORIES_ASKED):
            missing = [digest for digest in digests if digest not in found]
            if not missing:
                break
            try:
                present = self._blobs.present_blobs(repository, missing)
            except NotFoundError:  # it was never made, or is gone
                continue
            found.update(dict.fromkeys(present, repository))
        return found

    def _allowed(self) -> bool:
        if self._clock() - self._asked_at >= _ASKED_AGAIN_AFTER:
            self._asked_at = self._clock()
            try:
                with translated("ask for the account setting", _SETTING):
                    self._is_allowed = self._client.get_account_setting(name=_SETTING)["value"] == "ENABLED"
            except ManifestRefusedError:  # a region or a partition that does not know the setting yet
                self._is_allowed = False
        return self._is_allowed
