"""ECR's quota of PutImage, which throttles the whole account. Off until somebody turns it on: most tests push at once.

Source: Amazon ECR User Guide, "Amazon ECR service quotas": 10 a second. How much it lets through at once is not said.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from local.ecr.errors import EcrError

_PER_SECOND: Final = 10.0
_BURST: Final = 20.0
_LIMITED: Final = frozenset({"PutImage", "v2:PutManifest"})


class Quotas:
    """A token bucket by this machine's own time, as a client's pace is kept by it, too."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.enforced = False
        self._clock = clock
        self._left, self._at = _BURST, clock()
        self._lock = threading.Lock()

    def take(self, operation: str) -> None:
        """Count one call.

        Raises:
            EcrError: ThrottlingException, if the quota is used up.
        """
        if not self.enforced or operation not in _LIMITED:
            return
        with self._lock:
            now = self._clock()
            self._left, self._at = min(_BURST, self._left + (now - self._at) * _PER_SECOND), now
            if self._left < 1:
                raise EcrError("ThrottlingException", "Rate exceeded")
            self._left -= 1
