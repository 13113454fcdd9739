"""Read the records that a batch of messages is about with one question, and answer each message from that."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from pullahead.checks.ecr_events import AccountRegion, read_ecr_event
from pullahead.errors import InvalidEventError
from pullahead.messages import AwsEvent, CheckRequest, read_queued
from pullahead.mirrors.record import Record
from pullahead.mirrors.store import Heartbeat, RecordStore
from pullahead.rules.model import Mirror

_MAX_AHEAD = 100  # records in one question


class PrefetchedRecords:
    """Satisfies `pullahead.ports.Records`. What was read ahead counts until it is written, or the next batch begins.

    A record may have been written by others meanwhile; who then writes over it meets a conflict, and reads it anew.
    """

    def __init__(self, records: RecordStore) -> None:
        self._records = records
        self._ahead: dict[str, Record | None] = {}

    def expect(self, keys: Iterable[str]) -> None:
        """Begin a batch: read what its messages will ask for. Raises StorageError: each of them then asks itself."""
        wanted = list(islice(dict.fromkeys(keys), _MAX_AHEAD))
        self._ahead = {}
        if len(wanted) < 2:
            return
        found = self._records.load(wanted)
        self._ahead = {key: found.get(key) for key in wanted}

    def load(self, keys: Sequence[str]) -> Mapping[str, Record]:
        """Read records, or tell what was read of all of them before."""
        if keys and all(key in self._ahead for key in keys):
            return {key: record for key in keys if (record := self._ahead[key]) is not None}
        return self._records.load(keys)

    def save(self, record: Record, expected_version: int) -> Record:
        """Write a record, and forget what was read of it."""
        self._ahead.pop(record.key, None)
        return self._records.save(record, expected_version)

    def scan(self) -> Iterator[Record]:
        """Read every record."""
        return self._records.scan()

    def load_heartbeat(self) -> Heartbeat | None:
        """Read the last heartbeat."""
        return self._records.load_heartbeat()

    def save_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write a heartbeat."""
        self._records.save_heartbeat(heartbeat)


def mirror_keys_in(
    bodies: Iterable[str], home: AccountRegion, meant: Callable[[CheckRequest], list[Mirror]]
) -> Iterator[str]:
    """Tell of which mirrors the events of a batch are; a message that means nothing fails when its turn comes."""
    for body in bodies:
        try:
            received = read_queued(body)
            meaning = read_ecr_event(received, home) if isinstance(received, AwsEvent) else received
        except InvalidEventError:
            continue
        if isinstance(meaning, CheckRequest) and meaning.reason not in ("schedule", "manual"):
            yield from (mirror.key for mirror in meant(meaning))
