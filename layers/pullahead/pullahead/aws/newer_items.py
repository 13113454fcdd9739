"""Which stored items were left alone because only a newer version of Pullahead can read them, for logs and metrics."""

import threading
from typing import Final, NamedTuple

from pullahead.errors import NewerRecordError

_MAX_NAMED: Final = 20
_MAX_COUNTED: Final = 10_000


class LeftAlone(NamedTuple):
    """Items that were left as they are: how many, the keys of some, and what one of them has that is not known."""

    items: int
    keys: tuple[str, ...]
    cause: str


class NewerItems:
    """Collects the items that one process leaves alone. For several threads."""

    def __init__(self) -> None:
        self._causes: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, key: str, cause: object) -> None:
        """Note an item; the same one again counts once."""
        with self._lock:
            if len(self._causes) < _MAX_COUNTED:
                self._causes.setdefault(key, str(cause))

    def refuse(self, key: str, cause: object) -> NewerRecordError:
        """Note an item, and make the error that it is asked for in vain."""
        self.note(key, cause)
        return NewerRecordError(
            f"the item {key} was stored by a newer version of Pullahead, and is left as it is: {cause}. Deploy that "
            "version again, or update this command line"
        )

    def take(self) -> LeftAlone | None:
        """Return what was noted since the last call; None where nothing was."""
        with self._lock:
            causes, self._causes = self._causes, {}
        if not causes:
            return None
        return LeftAlone(len(causes), tuple(sorted(causes)[:_MAX_NAMED]), causes[min(causes)])
