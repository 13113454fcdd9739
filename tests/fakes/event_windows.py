"""Event windows in memory; a window begins with its first event."""

from datetime import datetime

from pullahead.checks.ports import EVENT_WINDOW, WindowClaim, WindowDecision
from pullahead.rules.mirror_key import RecordKey
from tests.fakes.script import Script


class FakeEventWindows:
    """Implements `pullahead.checks.ports.EventWindows`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self._open: dict[RecordKey, tuple[datetime, int]] = {}

    def claim(self, key: RecordKey, now: datetime) -> WindowClaim:
        with self.script.call("claim"):
            begun, count = self._open.get(key, (now, 0))
            if now - begun >= EVENT_WINDOW:
                begun, count = now, 0
            self._open[key] = begun, count + 1
            if count == 0:
                return WindowClaim(WindowDecision.RUN_NOW)
            left = int((begun + EVENT_WINDOW - now).total_seconds())
            return WindowClaim(WindowDecision.RUN_LATER, left) if count == 1 else WindowClaim(WindowDecision.DROP)

    def release(self, key: RecordKey, now: datetime) -> None:
        with self.script.call("release"):
            begun, count = self._open.get(key, (now, 1))
            if now - begun < EVENT_WINDOW:
                self._open[key] = begun, count - 1
