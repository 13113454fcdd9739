"""Change a record so that nothing is lost: by conditional writes, however many change it at once."""

from collections.abc import Callable

from pullahead.errors import ConflictError
from pullahead.freshness.records import Record
from pullahead.ports import Records

_MAX_TRIES = 5


def update(
    records: Records, key: str, change: Callable[[Record | None], Record | None], known: Record | None = None
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
