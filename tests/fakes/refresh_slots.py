"""Refresh slots and waiting refreshes in memory."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import SlotResult, WaitingRefresh
from pullahead.rules.mirror_key import MirrorKey
from tests.fakes.script import Script


class FakeRefreshSlots:
    """Implements `pullahead.refresh.ports.RefreshSlots`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.taken: dict[str, datetime] = {}

    def holders(self) -> Mapping[str, datetime]:
        with self.script.call("holders"):
            return dict(self.taken)

    def take(self, name: str, now: datetime, until: datetime, at_most: int) -> SlotResult:
        with self.script.call("take"):
            if name in self.taken and self.taken[name] > now:
                return SlotResult.ALREADY_TAKEN
            if name not in self.taken and len(self.taken) >= at_most:
                return SlotResult.FULL
            self.taken[name] = until
            return SlotResult.TAKEN

    def renew(self, name: str, before: datetime, until: datetime) -> None:
        with self.script.call("renew"):
            if self.taken.get(name) == before:
                self.taken[name] = until

    def release(self, name: str, before: datetime | None = None) -> None:
        with self.script.call("release"):
            if before is None or self.taken.get(name) == before:
                self.taken.pop(name, None)


class FakeWaitingRefreshes:
    """Implements `pullahead.refresh.ports.WaitingRefreshes`; each page is read when it is requested."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.waiting: dict[MirrorKey, WaitingRefresh] = {}
        self.unreadable: dict[MirrorKey, datetime] = {}

    def add(self, request: RefreshRequest) -> None:
        with self.script.call("add"):
            mirror = MirrorKey(request.repository, request.tag)
            self.waiting[mirror] = WaitingRefresh(mirror, request.name, request)

    def spoil(self, mirror: MirrorKey, since: datetime) -> None:
        """Make an entry unreadable."""
        self.waiting[mirror] = self.waiting[mirror]._replace(request=None)
        self.unreadable[mirror] = since

    def oldest_first(self, page: int) -> Iterator[WaitingRefresh]:
        after: tuple[datetime, MirrorKey] | None = None
        while True:
            with self.script.call("oldest_first"):
                rest = sorted(key for key in map(self._place, self.waiting.values()) if after is None or key > after)
            yield from (self.waiting[mirror] for _, mirror in rest[:page] if mirror in self.waiting)
            if len(rest) <= page:
                return
            after = rest[page - 1]

    def _place(self, refresh: WaitingRefresh) -> tuple[datetime, MirrorKey]:
        since = self.unreadable[refresh.mirror] if refresh.request is None else refresh.request.stale_since
        return since, refresh.mirror

    def remove(self, refresh: WaitingRefresh) -> None:
        with self.script.call("remove"):
            waiting = self.waiting.get(refresh.mirror)
            if waiting is not None and waiting.name == refresh.name:
                del self.waiting[refresh.mirror]

    def count(self) -> int:
        with self.script.call("count"):
            return len(self.waiting)
