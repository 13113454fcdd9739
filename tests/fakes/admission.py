"""Slots for refreshes, and the line to wait in, without AWS."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import SlotResult, WaitingRefresh
from pullahead.rules.model import mirror_key
from tests.fakes.script import Script


class FakeSlots:
    """Satisfies `pullahead.ports.Slots`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.holders: dict[str, datetime] = {}

    def held(self) -> Mapping[str, datetime]:
        with self.script.call("held"):
            return dict(self.holders)

    def take(self, name: str, now: datetime, until: datetime, at_most: int) -> SlotResult:
        with self.script.call("take"):
            if name in self.holders and self.holders[name] > now:
                return SlotResult.HELD
            if name not in self.holders and len(self.holders) >= at_most:
                return SlotResult.FULL
            self.holders[name] = until
            return SlotResult.TAKEN

    def renew(self, name: str, before: datetime, until: datetime) -> None:
        with self.script.call("renew"):
            if self.holders.get(name) == before:
                self.holders[name] = until

    def release(self, name: str, before: datetime | None = None) -> None:
        with self.script.call("release"):
            if before is None or self.holders.get(name) == before:
                self.holders.pop(name, None)


class FakeWaitingLine:
    """Satisfies `pullahead.ports.WaitingLine`; each page is what waits at the moment when it is asked for."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.waiting: dict[str, WaitingRefresh] = {}
        self.unreadable: dict[str, datetime] = {}

    def join(self, request: RefreshRequest) -> None:
        with self.script.call("join"):
            mirror = mirror_key(request.repository, request.tag)
            self.waiting[mirror] = WaitingRefresh(mirror, request.name, request)

    def spoil(self, mirror: str, since: datetime) -> None:
        """Make an entry one that cannot be read."""
        self.waiting[mirror] = self.waiting[mirror]._replace(request=None)
        self.unreadable[mirror] = since

    def entries(self, page: int) -> Iterator[WaitingRefresh]:
        after: tuple[datetime, str] | None = None
        while True:
            with self.script.call("entries"):
                rest = sorted(key for key in map(self._place, self.waiting.values()) if after is None or key > after)
            yield from (self.waiting[mirror] for _, mirror in rest[:page] if mirror in self.waiting)
            if len(rest) <= page:
                return
            after = rest[page - 1]

    def _place(self, entry: WaitingRefresh) -> tuple[datetime, str]:
        since = self.unreadable[entry.mirror] if entry.request is None else entry.request.stale_since
        return since, entry.mirror

    def leave(self, entry: WaitingRefresh) -> None:
        with self.script.call("leave"):
            standing = self.waiting.get(entry.mirror)
            if standing is not None and standing.name == entry.name:
                del self.waiting[entry.mirror]

    def length(self) -> int:
        with self.script.call("length"):
            return len(self.waiting)
