"""The refresh queue with its ports in memory: stale mirrors, slots, waiting refreshes, and two processes."""

from datetime import datetime, timedelta

from pullahead.messages import RefreshRequest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.oci import parse_reference
from pullahead.refresh.ports import Slot, StartResult
from pullahead.refresh.queue import SLOT_DURATION, RefreshQueue
from pullahead.refresh.request import refresh_request
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror
from tests.fakes.memory import FakeClock, FakeRecords, FakeRefreshExecutions
from tests.fakes.refresh_slots import FakeRefreshSlots, FakeWaitingRefreshes
from tests.fakes.samples import mirror, root, rule, rules
from tests.fakes.script import Script

HOST, OTHER_HOST = "ghcr.io", "other.example"


def mirror_of(tag: str) -> Mirror:
    """Make the mirror of a tag; of another upstream registry where its name says so: `other-1`."""
    usual = mirror(tag)
    return usual._replace(upstream=parse_reference(f"{OTHER_HOST}/app:{tag}")) if tag.startswith("other") else usual


class QueueingService:
    """Stale mirrors of one repository, and the queue of their refreshes."""

    def __init__(self, at_most: int = 1, *tags: str) -> None:
        self.script = Script()
        self.clock = FakeClock()
        self.slots, self.waiting_refreshes = FakeRefreshSlots(self.script), FakeWaitingRefreshes(self.script)
        self.records, self.refreshes = FakeRecords(self.script), FakeRefreshExecutions(self.script)
        self.rules = rules([mirror_of(tag) for tag in tags], "r", rule(*tags))
        self.newly_cached: dict[MirrorKey, Mirror] = {}
        self.at_most = at_most
        self.one, self.other = self.process(), self.process()

    def process(self) -> RefreshQueue:
        """Start another process."""
        return RefreshQueue(
            lambda _: self.rules,
            self.slots,
            self.waiting_refreshes,
            self.refreshes,
            self.records,
            self.clock,
            self.at_most,
            lambda repository, tag: self.newly_cached.get(MirrorKey(repository, tag)),
        )

    @property
    def held(self) -> dict[str, datetime]:
        """Which executions hold a slot, and until when."""
        return {slot.name: slot.until for slot in self.slots.held.values()}

    def hold(self, *names: str, host: str = HOST) -> None:
        """Let other executions hold a slot each."""
        for name in names:
            self.slots.held[name] = Slot(name, host, self.clock() + SLOT_DURATION)

    def wait(self, request: RefreshRequest) -> None:
        """Let a refresh wait."""
        self.waiting_refreshes.remember(request.host)
        self.waiting_refreshes.add(request)

    def stale(self, tag: str, hours: float = 1, episode: int = 1) -> RefreshRequest:
        """Store a mirror as stale for so many hours, and return the request of its refresh."""
        since = self.clock() - timedelta(hours=hours)
        record = MirrorRecord(
            mirror(tag).key,
            str(mirror_of(tag).upstream),
            State.STALE,
            since,
            unfresh_since=since,
            upstream_digest=root(f"{tag}-{episode}").digest,
            episode=episode,
            version=1,
        )
        self.records.stored[record.key] = record
        return refresh_request(mirror_of(tag), root(f"{tag}-{episode}"), record)

    def ask(self, *requests: RefreshRequest) -> list[StartResult]:
        """Request refreshes as one check of all mirrors does."""
        answers = [self.one.start(request) for request in requests]
        if StartResult.WAITING in answers:
            self.one.start_waiting()
        return answers

    def end(self, tag: str, status: StartResult = StartResult.SUCCEEDED) -> str:
        """End the running refresh of a tag, record its outcome, and return the name of its execution."""
        name = next(request.name for request in self.refreshes.requests.values() if request.tag == tag)
        self.refreshes.statuses[name] = status
        record = self.records.stored[mirror(tag).key]
        state = State.FRESH if status is StartResult.SUCCEEDED else record.state
        self.records.stored[record.key] = record.with_changes(state=state, version=record.version + 1)
        return name

    @property
    def started_tags(self) -> list[str]:
        """List the tags whose refreshes were started, in order."""
        return [request.tag for request in self.refreshes.requests.values()]

    @property
    def running(self) -> int:
        """Count the running refreshes."""
        return list(self.refreshes.statuses.values()).count(StartResult.RUNNING)
