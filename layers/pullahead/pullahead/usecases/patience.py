"""Manifests of a registry that is in trouble: asked for once more after a while, as blobs are read on.

In the service a state machine and a queue do that. Decides how often; how long is waited is the caller's.
"""

from pullahead.errors import RateLimitedError, RegistryError
from pullahead.oci import RawManifest, Reference
from pullahead.ports import GetsManifests, Wait

_MAX_ROUNDS = 3  # of the tries that the port itself makes
_MAX_ASKED_SECONDS = 10.0


class PatientManifests:
    """Satisfies `GetsManifests` by another that may fail for a while."""

    def __init__(self, upstream: GetsManifests, wait: Wait) -> None:
        self._upstream, self._wait = upstream, wait

    def get_manifest(self, reference: Reference) -> RawManifest:
        """Read a manifest, once more where the registry answers that it is in trouble."""
        for number in range(1, _MAX_ROUNDS):
            try:
                return self._upstream.get_manifest(reference)
            except RegistryError as error:
                if not _may_pass(error):
                    raise
            self._wait(number)
        return self._upstream.get_manifest(reference)


def _may_pass(error: RegistryError) -> bool:
    if isinstance(error, RateLimitedError) and (error.retry_after_seconds or 0.0) > _MAX_ASKED_SECONDS:
        return False  # longer than anybody looks on: whoever asked is told
    return error.retryable and error.status is not None  # a registry that does not answer at all has had its tries
