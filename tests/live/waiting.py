"""How long the suite waits for what AWS does by itself, and how often it looks. Its only clock."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Generic, NamedTuple, TypeVar

_T = TypeVar("_T")


class Waited(NamedTuple, Generic[_T]):
    """What was waited for, and for how many seconds."""

    value: _T
    seconds: float

    @property
    def after(self) -> str:
        """Write the delay."""
        return f"after {self.seconds:.1f} s"


class Waits:
    """Waits by polling. `poll` and `quiet` are seconds: between two looks, and for what is not to happen."""

    def __init__(self, poll: float, quiet: float) -> None:
        self.poll: Final = poll
        self.quiet: Final = quiet

    def until(self, look: Callable[[], _T | None], limit: float) -> Waited[_T] | None:
        """Look until there is something, for at most `limit` seconds; None if there is nothing then."""
        begun = time.monotonic()
        while True:
            found = look()
            elapsed = time.monotonic() - begun
            if found is not None:
                return Waited(found, elapsed)
            if elapsed >= limit:
                return None
            self.pause()

    def pause(self) -> None:
        """Wait until the next look."""
        time.sleep(self.poll)

    def while_quiet(self, look: Callable[[], _T | None]) -> _T | None:
        """Look for a while whether something happens that is not to happen."""
        found = self.until(look, self.quiet)
        return None if found is None else found.value


def utc_now() -> datetime:
    """The time now, aware, in UTC."""
    return datetime.now(UTC)


LIVE: Final = Waits(poll=2.0, quiet=60.0)
LOCAL: Final = Waits(poll=0.05, quiet=0.3)
