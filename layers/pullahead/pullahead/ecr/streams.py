"""Upload whole blobs to ECR in one streamed request, or mount them: OCI's API in place of parts in JSON.

A stream takes a tenth of the CPU of parts, and cannot be resumed. A blob that another repository of the account has is
mounted where the account setting BLOB_MOUNTING allows it.

Source: ECR user guide, "Private registry authentication" and "Blob mounting" (off by default; the layer must belong to
an image of the other repository); API reference, GetAuthorizationToken.
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


_RENEWED_BEFORE = timedelta(minutes=30)  # a token is valid for twelve hours, an invocation lasts a quarter of one


class _Login(NamedTuple):
    registry: OciTarget
    until: datetime


class EcrStreams:
    """Implements `pullahead.oci.registries.BlobStreams` for the account's registry. Thread-safe.

    `clock` returns the time of day, which continues while a function is frozen between two invocations.
    """

    def __init__(self, client: "ECRClient", clock: Callable[[], datetime]) -> None:
        self._client, self._clock = client, clock
        self._lock = threading.Lock()
        self._login: _Login | None = None

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """Offer a blob."""
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
        credential = from_basic(granted["authorizationToken"]).found_in("ECR's token for Pullahead")
        registry = OciTarget(endpoint.netloc, plain_http=endpoint.scheme == "http", credentials=lambda _: credential)
        return _Login(registry, granted["expiresAt"] - _RENEWED_BEFORE)


_SETTING = "BLOB_MOUNTING"
_SETTING_VALID_FOR = timedelta(minutes=10)
_MAX_REPOSITORIES = 10  # each costs a call; the likeliest come first


class EcrMounts:
    """Finds blobs in other repositories of the account."""

    def __init__(self, client: "ECRClient", blobs: Target, clock: Callable[[], datetime]) -> None:
        self._client, self._blobs, self._clock = client, blobs, clock
        self._is_allowed, self._asked_at = False, datetime.min.replace(tzinfo=UTC)

    def find_mounts(self, digests: Collection[Digest], repositories: Sequence[str]) -> Mapping[Digest, str]:
        """Implements `pullahead.oci.registries.FindMounts`: one call for each repository, until every blob is found."""
        found: dict[Digest, str] = {}
        if not digests or not repositories or not self._may_mount():
            return found
        for repository in islice(repositories, _MAX_REPOSITORIES):
            missing = [digest for digest in digests if digest not in found]
            if not missing:
                break
            try:
                present = self._blobs.present_blobs(repository, missing)
            except NotFoundError:  # it does not exist (any more)
                continue
            found.update(dict.fromkeys(present, repository))
        return found

    def _may_mount(self) -> bool:
        if self._clock() - self._asked_at >= _SETTING_VALID_FOR:
            self._asked_at = self._clock()
            try:
                with translated("get the account setting", _SETTING):
                    self._is_allowed = self._client.get_account_setting(name=_SETTING)["value"] == "ENABLED"
            except ManifestRefusedError:  # a region or a partition without the setting
                self._is_allowed = False
        return self._is_allowed
