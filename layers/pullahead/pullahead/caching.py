"""Values kept until they expire, in a bounded number. Knows no clock: the time is an argument."""

import threading
from collections.abc import Callable, Hashable
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Time = TypeVar("Time", float, datetime)


class Expiring(NamedTuple, Generic[Value, Time]):
    """A value, and the time from which it is no longer used."""

    value: Value
    expires_at: Time


class TtlCache(Generic[Key, Value, Time]):
    """Cache with a time to live for each entry, for several threads. Beyond `max_entries` the oldest are dropped."""

    def __init__(self, max_entries: int = 1) -> None:
        self._max_entries = max_entries
        self._entries: dict[Key, Expiring[Value, Time]] = {}
        self._lock = threading.Lock()
        self._loading: WeakValueDictionary[Key, threading.Lock] = WeakValueDictionary()

    def get(self, key: Key, now: Time) -> Value | None:
        """Return a value that has not expired."""
        with self._lock:
            entry = self._entries.get(key)
        return entry.value if entry is not None and now < entry.expires_at else None

    def put(self, key: Key, value: Value, expires_at: Time) -> None:
        """Keep a value."""
        with self._lock:
            self._entries.pop(key, None)
            self._entries[key] = Expiring(value, expires_at)
            while len(self._entries) > self._max_entries:
                del self._entries[next(iter(self._entries))]

    def get_or_load(self, key: Key, now: Time, load: Callable[[], Expiring[Value, Time]]) -> Value:
        """Return a value, loaded if there is none: by one thread, while others that ask for this key wait for it.

        Raises what `load` raises; nothing is kept then.
        """
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            value = self.get(key, now)
            if value is None:
                value, expires_at = load()
                self.put(key, value, expires_at)
            return value

    def discard(self, key: Key, value: Value) -> None:
        """Drop an entry unless it holds another value by now."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.value is value:
                del self._entries[key]

    def discard_where(self, is_unwanted: Callable[[Key, Value], bool]) -> None:
        """Drop every entry of which that is true."""
        with self._lock:
            self._entries = {key: entry for key, entry in self._entries.items() if not is_unwanted(key, entry.value)}
