"""The store of records, and how to change a record that several processes may change at once: by conditional writes."""

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar, overload

from pullahead.errors import ConflictError, NewerRecordError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import MirrorRecord, Record
from pullahead.mirrors.record_scan import ScanState
from pullahead.rules.mirror_key import MirrorKey, RecordKey, RuleKey

_R = TypeVar("_R", bound=Record)


class Heartbeat(NamedTuple):
    """The last time that checks were queued for what was due, by which rules, and by which scheme of their times."""

    at: datetime
    rules_digest: str
    scheme: str = ""  # version 0.1 did not write any: each mirror had times of its own


class NewerRecord(NamedTuple):
    """A record that only a newer version of Pullahead can read. It is left as it is."""

    key: str  # as it is stored


class DamagedRecord(NamedTuple):
    """A record that cannot be read, though no newer version wrote it. Whoever saves it first writes it anew."""

    key: str  # as it is stored
    cause: str


def after_damage(record: _R, cause: str) -> _R:
    """Say by an alert that a record replaces one that could not be read, with which its history is lost."""
    alert = Alert(AlertKind.RECORD_DAMAGED, record.key, record.upstream, record.since, record.since, detail=cause)
    return record.with_changes(pending=(*record.pending, alert))


class ScannedRecord(NamedTuple):
    """A record as a scan found it."""

    position: str  # where the scan goes on after it
    record: Record | NewerRecord | DamagedRecord
    well_indexed: bool = True  # whether it is in the index of reviews if, and as, it should be


class RecordStore(Protocol):
    """Stores records between checks. A damaged one counts as none: it costs its own subject alone.

    A method raises the errors that its docstring names and no others; implementations translate.
    """

    def load(self, keys: Collection[MirrorKey], *, consistent: bool = True) -> Mapping[MirrorKey, MirrorRecord]:
        """Read the records of mirrors; unknown ones are left out, and those of a newer version, which
        `stored_form.newer_of` names. Raises: StorageError.

        Unless `consistent`, what comes back may be a second old, at half the price: for what a conditional write
        follows.
        """
        ...

    def load_one(self, key: RecordKey) -> Record | None:
        """Read the record of a mirror or a rule, strongly consistent; None where there is none. Raises: StorageError.

        A mirror's key gives a MirrorRecord, a rule's key a RuleRecord or a DailyLimitRecord. Raises: NewerRecordError.
        """
        ...

    def save(self, record: _R, expected_version: int) -> _R:
        """Write a record if its stored version is still `expected_version` (0: none is stored, or a damaged one);
        return it with the new version, and with an alert if it replaces a damaged one.

        Raises: ConflictError, StorageError; NewerRecordError where a newer version has written it.
        """
        ...

    def scan(self) -> Iterator[Record | NewerRecord | DamagedRecord]:
        """Read every record, in no order, perhaps a second old. Raises, while iterating: StorageError."""
        ...

    def scan_after(self, position: str) -> Iterator[ScannedRecord]:
        """Read every record as `scan` does, after a position that an earlier scan gave; "" for all of them.

        Raises, while iterating: StorageError.
        """
        ...

    def to_review(self, until: datetime | None = None) -> Iterator[Record | NewerRecord | DamagedRecord]:
        """Read the records in the index of reviews, oldest first, perhaps a second old; only those up to a moment,
        where it is given (`review_index.entry_time`).

        Pages are read as they are asked for. Raises, while iterating: StorageError.
        """
        ...

    def count_to_review(self) -> int:
        """Count the records in the index of reviews. Raises: StorageError."""
        ...

    def load_listings(self, keys: Collection[RuleKey]) -> Mapping[RuleKey, Record]:
        """Read records of rules, perhaps a second old; those that cannot be read are left out. Raises: StorageError."""
        ...

    def load_scan_state(self) -> ScanState:
        """Read how far the full scan is; a state that cannot be read is as good as none. Raises: StorageError."""
        ...

    def save_scan_state(self, state: ScanState) -> None:
        """Write how far the full scan is. Raises: StorageError."""
        ...

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat; None where there is none, or only a newer version can read it.

        Raises: StorageError.
        """
        ...

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat. Raises: StorageError."""
        ...


_MAX_ATTEMPTS = 5


@overload
def update_record(
    records: RecordStore,
    key: MirrorKey,
    change: Callable[[MirrorRecord | None], MirrorRecord | None],
    known: MirrorRecord | None = None,
) -> MirrorRecord | None: ...


@overload
def update_record(
    records: RecordStore, key: RecordKey, change: Callable[[Record | None], _R | None], known: Record | None = None
) -> Record | None: ...


def update_record(
    records: RecordStore, key: RecordKey, change: Callable[[Any], Any], known: Record | None = None
) -> Record | None:
    """Apply a pure change to a record, write it if it says anything new, and return the record as it is then.

    After a conflict the record is read and changed again. `known` is the record as it was read before, which saves a
    read. `change` returns None to leave the record as it is. A record of a newer version is left as it is: None is
    returned. Raises StorageError, and ConflictError after five tries.
    """
    for attempt in range(_MAX_ATTEMPTS):
        try:
            before = known if attempt == 0 and known is not None else records.load_one(key)
            after = change(before)
            if after is None or after.says_the_same_as(before):
                return before
            saved: Record = records.save(after, before.version if before is not None else 0)
        except ConflictError:
            continue
        except NewerRecordError:
            return None
        return saved
    raise ConflictError(f"the record of {key} was changed by others {_MAX_ATTEMPTS} times in a row")
