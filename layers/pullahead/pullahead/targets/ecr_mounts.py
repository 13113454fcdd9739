"""Which repositories of the account's ECR have blobs that another one lacks, so that they need not be sent.

Source: ECR user guide, "Blob mounting": an account setting, off by default; the layer must belong to an image there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from pullahead.errors import ManifestRefusedError, NotFoundError
from pullahead.oci import Digest
from pullahead.ports import FindsBlobs
from pullahead.targets.ecr_errors import translated

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_SETTING = "BLOB_MOUNTING"
_ASKED_AGAIN_AFTER = timedelta(minutes=10)
_MAX_REPOSITORIES_ASKED = 10  # each costs a call; those that are named first are the likeliest


class EcrMounts:
    """Satisfies `pullahead.ports.FindsMounts`."""

    def __init__(self, client: "ECRClient", blobs: FindsBlobs, clock: Callable[[], datetime]) -> None:
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
