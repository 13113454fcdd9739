"""Windows without AWS: one begins with its first event."""

from datetime import datetime

from pullahead.checks.ports import WINDOW, Claim, Claimed
from tests.fakes.script import Script


class FakeWindows:
    """Satisfies `pullahead.ports.ClaimsWindows`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self._open: dict[str, tuple[datetime, int]] = {}

    def claim(self, key: str, now: datetime) -> Claimed:
        with self.script.call("claim"):
            begun, count = self._open.get(key, (now, 0))
            if now - begun >= WINDOW:
                begun, count = now, 0
            self._open[key] = begun, count + 1
            if count == 0:
                return Claimed(Claim.NOW)
            left = int((begun + WINDOW - now).total_seconds())
            return Claimed(Claim.LATER, left) if count == 1 else Claimed(Claim.MERGED)
