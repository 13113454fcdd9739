"""Which stored items could not be read, for logs and metrics: those that only a newer version of Pullahead can read,
which are left alone, and damaged ones."""

import threading
from typing import Final, NamedTuple

from pullahead.errors import NewerRecordError
from pullahead.text import one_line

_MAX_NAMED: Final = 20
_MAX_COUNTED: Final = 10_000
_MAX_KEY: Final = 300
_MAX_CAUSE: Final = 300


class UnreadItems(NamedTuple):
    """Items that could not be read: how many, the keys of some, and why one of them could not."""

    items: int
    keys: tuple[str, ...]
    cause: str


class LeftAlone(UnreadItems):
    """Items of a newer version, which were left as they are."""


class DamagedItems(UnreadItems):
    """Items that no version can read."""


class _Causes:
    """Why items could not be read, by their keys. For several threads."""

    def __init__(self) -> None:
        self._causes: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, key: str, cause: object) -> None:
        with self._lock:
            if len(self._causes) < _MAX_COUNTED:
                self._causes.setdefault(key[:_MAX_KEY], one_line(str(cause), _MAX_CAUSE))

    def take(self) -> UnreadItems | None:
        with self._lock:
            causes, self._causes = self._causes, {}
        if not causes:
            return None
        return UnreadItems(len(causes), tuple(sorted(causes)[:_MAX_NAMED]), causes[min(causes)])


class NewerItems:
    """Collects the items that one process cannot read. For several threads."""

    def __init__(self) -> None:
        self._newer, self._damaged = _Causes(), _Causes()

    def note(self, key: str, cause: object) -> None:
        """Note an item of a newer version; the same one again counts once."""
        self._newer.note(key, cause)

    def note_damaged(self, key: str, cause: object) -> None:
        """Note a damaged item; the same one again counts once."""
        self._damaged.note(key, cause)

    def refuse(self, key: str, cause: object) -> NewerRecordError:
        """Note an item, and make the error that it is asked for in vain."""
        self.note(key, cause)
        return NewerRecordError(
            f"the item {key} was stored by a newer version of Pullahead, and is left as it is: {cause}. Deploy that "
            "version again, or update this command line"
        )

    def take(self) -> LeftAlone | None:
        """Return the newer items since the last call; None where there were none."""
        taken = self._newer.take()
        return LeftAlone(*taken) if taken is not None else None

    def take_damaged(self) -> DamagedItems | None:
        """Return the damaged items since the last call; None where there were none."""
        taken = self._damaged.take()
        return DamagedItems(*taken) if taken is not None else None
