"""Fires scheduled rules when the local clock says that they are due. Knows no target."""

import logging
import re
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from local.aws.events import scheduled_event

_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")

log = logging.getLogger(__name__)


class UnsupportedScheduleError(ValueError):
    """A rule has a schedule that the ticker cannot read."""


class ScheduledRules(Protocol):
    """Where rules are, and who delivers their events."""

    def rules(self) -> list[Any]:
        """Return every rule."""

    def deliver(self, rule: Any, event: dict[str, Any]) -> None:
        """Send an event to the rule's targets."""


class Ticker:
    """Fires `rate(...)` rules by the local clock, when asked or on a thread of its own."""

    def __init__(self, bus: ScheduledRules, now: Callable[[], datetime]) -> None:
        self._bus = bus
        self._now = now
        self._fired: dict[str, datetime] = {}
        self._running = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def run_due(self) -> list[str]:
        """Fire what is due and return the names of the rules.

        A rule that never fired is due at once; firings that were missed, because nobody asked or because the clock was
        advanced, become one. Later firings keep to the rhythm of the first.

        Raises:
            UnsupportedScheduleError: an enabled rule has a schedule other than `rate(...)`.
        """
        with self._running:
            now = self._now()
            due = [rule for rule in self._bus.rules() if rule.scheduled_expression and rule.state == "ENABLED"]
            return [rule.name for rule in due if self._fire_if_due(rule, now)]

    def start(self, interval_seconds: float) -> None:
        """Ask every so often, until stopped."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._tick, args=(interval_seconds,), daemon=True, name="ticker")
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _tick(self, interval_seconds: float) -> None:
        while not self._stopping.is_set():
            try:
                self.run_due()
            except UnsupportedScheduleError:
                log.exception("the ticker ends")
                return
            self._stopping.wait(interval_seconds)

    def _fire_if_due(self, rule: Any, now: datetime) -> bool:
        period = period_of(rule.scheduled_expression)
        last = self._fired.get(rule.arn)
        if last is not None and now < last + period:
            return False
        self._fired[rule.arn] = now if last is None else last + period * ((now - last) // period)
        self._bus.deliver(rule, scheduled_event(rule.arn, now))
        return True


def period_of(expression: str) -> timedelta:
    """Read a rate expression (EventBridge user guide, "Rate expressions").

    Raises:
        UnsupportedScheduleError: it is a cron expression, or no expression at all.
    """
    found = _RATE.fullmatch(expression)
    if found is None or int(found[1]) == 0:
        raise UnsupportedScheduleError(f"the local ticker reads rate(...) only, not {expression!r}")
    return int(found[1]) * timedelta(**{f"{found[2]}s": 1})
