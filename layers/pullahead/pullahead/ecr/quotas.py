"""Limit the rate of calls whose ECR quotas are small. Each process stays below them; ECR throttles them all together.

Source: ECR user guide, "Amazon ECR service quotas": a second 10 PutImage, 100 InitiateLayerUpload and as many
CompleteLayerUpload.
"""

import math
import time
from collections.abc import Callable

from pullahead.errors import RateLimitedError, Side
from pullahead.registry.rate_limits import TokenBucket

_MAX_WAIT_SECONDS = 30.0


class EcrPace:
    """Delays calls. Thread-safe."""

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
        cause = f"not sent: this process is at ECR's quota; retry in {math.ceil(too_long)} s"
        raise RateLimitedError(
            cause, operation=operation, side=Side.TARGET, reference=reference, retry_after_seconds=too_long
        )
