"""Change a record so that nothing is lost: by conditional writes, however many change it at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from pullahead.errors import ConflictError
from pullahead.mirrors.record import Record


class Heartbeat(NamedTuple):
    """The last time that due mirrors were sent for checking, and by which rules."""

    at: datetime
    rules_digest: str


class RecordStore(Protocol):
    """Remembers mirrors between checks."""

    def load(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Read the records of mirrors, strongly consistent; unknown ones are left out. Raises: StorageError."""
        ...

    def save(self, record: Record, expected_version: int) -> Record:
        """Write a record if its stored version is still `expected_version` (0: not stored yet); returns it with the
        new version. Raises: ConflictError, StorageError."""
        ...

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat. Raises: StorageError."""
        ...

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat. Raises: StorageError."""
        ...

    def scan(self) -> Iterator[Record]:
        """Read every record, in no order, perhaps a second old. Raises, while iterating: StorageError."""
        ...


_MAX_TRIES = 5


def update_record(
    records: RecordStore, key: str, change: Callable[[Record | None], Record | None], known: Record | None = None
) -> Record | None:
    """Apply a pure change to a record, write it if it says anything new, and return it as it stands then.

    On a conflict it is read and changed again. `known` is a record as it was read before, which saves reading it once.
    `change` may answer None to leave things as they are. Raises StorageError, and ConflictError after five tries.
    """
    for attempt in range(_MAX_TRIES):
        before = known if attempt == 0 and known is not None else records.load([key]).get(key)
        after = change(before)
        if after is None or after.says_the_same_as(before):
            return before
        try:
            return records.save(after, before.version if before is not None else 0)
        except ConflictError:
            continue
    raise ConflictError(f"the record of {key} was changed by others {_MAX_TRIES} times in a row")
