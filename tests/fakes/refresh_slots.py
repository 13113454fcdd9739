"""Refresh slots and waiting refreshes in memory."""

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import Slot, SlotLimits, SlotResult, WaitingRefresh
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.script import Script


class FakeRefreshSlots:
    """Implements `pullahead.refresh.ports.RefreshSlots`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.held: dict[str, Slot] = {}

    def taken(self) -> Mapping[str, int]:
        with self.script.call("taken"):
            return self._counts()

    def recount(self) -> None:
        with self.script.call("recount"):
            pass  # they are counted each time

    def oldest(self, most: int) -> Sequence[Slot]:
        with self.script.call("oldest"):
            return sorted(self.held.values(), key=lambda slot: slot.until)[:most]

    def take(self, slot: Slot, now: datetime, limits: SlotLimits) -> SlotResult:
        with self.script.call("take"):
            current = self.held.get(slot.name)
            if current is not None and current.until > now:
                return SlotResult.ALREADY_TAKEN
            if current is None and len(self.held) >= limits.slots:
                return SlotResult.FULL
            if current is None and self._counts()[slot.host] >= limits.of_one_host:
                return SlotResult.HOST_FULL
            self.held[slot.name] = slot
            return SlotResult.TAKEN

    def renew(self, slot: Slot, until: datetime) -> None:
        with self.script.call("renew"):
            if self.held.get(slot.name) == slot:
                self.held[slot.name] = slot._replace(until=until)

    def release(self, name: str, before: datetime | None = None) -> None:
        with self.script.call("release"):
            current = self.held.get(name)
            if current is not None and before in (None, current.until):
                del self.held[name]

    def _counts(self) -> Counter[str]:
        return Counter(slot.host for slot in self.held.values())


class FakeWaitingRefreshes:
    """Implements `pullahead.refresh.ports.WaitingRefreshes`; each page is read when it is requested."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.waiting: dict[MirrorKey, WaitingRefresh] = {}
        self.lines: dict[MirrorKey, str] = {}
        self._places: list[tuple[str, str, str]] = []  # of all lines, in order
        self.remembered: set[str] = set()

    def add(self, request: RefreshRequest) -> None:
        with self.script.call("add"):
            mirror = MirrorKey(request.repository, request.tag)
            since = request.stale_since.astimezone(UTC).isoformat(timespec="microseconds")
            self._leave(mirror)
            self.waiting[mirror] = WaitingRefresh(mirror, request.name, since, request)
            self.lines[mirror] = request.host
            insort(self._places, _place(self.waiting[mirror]))

    def spoil(self, mirror: MirrorKey) -> None:
        """Make an entry unreadable."""
        self.waiting[mirror] = self.waiting[mirror]._replace(request=None)

    def take_over(self, mirror: MirrorKey) -> None:
        """Let a newer version of Pullahead have requested a refresh."""
        self.waiting[mirror] = self.waiting[mirror]._replace(request=None, newer=True)

    def hosts(self) -> frozenset[str]:
        with self.script.call("hosts"):
            return frozenset(self.remembered)

    def remember(self, host: str) -> None:
        with self.script.call("remember"):
            self.remembered.add(host)

    def forget(self, host: str) -> None:
        with self.script.call("forget"):
            self.remembered.discard(host)

    def oldest_first(self, host: str, page: int) -> Iterator[WaitingRefresh]:
        after = ("", "", "")
        while True:
            with self.script.call("oldest_first"):
                later = islice(self._places, bisect_right(self._places, after), None)
                rest = list(islice((place for place in later if self._is_in_line(place, host)), page + 1))
            mirrors = map(_mirror_at, rest[:page])
            yield from (self.waiting[mirror] for mirror in mirrors if mirror in self.waiting)
            if len(rest) <= page:
                return
            after = rest[page - 1]

    def remove(self, refresh: WaitingRefresh) -> None:
        with self.script.call("remove"):
            waiting = self.waiting.get(refresh.mirror)
            if waiting is not None and waiting.name == refresh.name:
                self._leave(refresh.mirror)
                del self.waiting[refresh.mirror]

    def count(self, host: str) -> int:
        with self.script.call("count"):
            return sum(self.lines[mirror] == host for mirror in self.waiting)

    def _is_in_line(self, place: tuple[str, str, str], host: str) -> bool:
        mirror = _mirror_at(place)
        return mirror in self.waiting and self.lines[mirror] == host

    def _leave(self, mirror: MirrorKey) -> None:
        waiting = self.waiting.get(mirror)
        if waiting is not None:
            del self._places[bisect_left(self._places, _place(waiting))]


def _place(refresh: WaitingRefresh) -> tuple[str, str, str]:
    return refresh.since, refresh.mirror.repository, refresh.mirror.tag


def _mirror_at(place: tuple[str, str, str]) -> MirrorKey:
    _, repository, tag = place
    return MirrorKey(repository, tag)
