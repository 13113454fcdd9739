"""How fast ECR is called where its quotas are small. Each process keeps to a part; ECR's own throttling does the rest.

Source: ECR user guide, "Amazon ECR service quotas": a second 10 of PutImage, 100 of Initiate- and CompleteLayerUpload.
"""

import math
import time
from collections.abc import Callable

from pullahead.errors import RateLimitedError, Side
from pullahead.registry.rate_limits import TokenBucket

_MAX_WAIT_SECONDS = 30.0


class EcrPace:
    """Gives calls their turns. May be used by several threads."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._manifests = TokenBucket(8.0, 10, clock, sleep)
        self._layers = TokenBucket(80.0, 20, clock, sleep)

    def manifest(self, reference: str) -> None:
        """Wait until PutImage may be called. Raises RateLimitedError."""
        _wait(self._manifests, "put manifest", reference)

    def layer(self, reference: str) -> None:
        """Wait until a layer upload may be begun or completed. Raises RateLimitedError."""
        _wait(self._layers, "upload", reference)


def _wait(bucket: TokenBucket, operation: str, reference: str) -> None:
    too_long = bucket.wait(_MAX_WAIT_SECONDS)
    if too_long is not None:
        cause = f"deferred, not sent: ECR is called as often as it allows already; retry in {math.ceil(too_long)} s"
        raise RateLimitedError(
            cause, operation=operation, side=Side.TARGET, reference=reference, retry_after_seconds=too_long
        )
