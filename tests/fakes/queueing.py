"""The refresh queue with its ports in memory: stale mirrors, slots, waiting refreshes, and two processes."""

from datetime import timedelta

from pullahead.messages import RefreshRequest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.refresh.ports import StartResult
from pullahead.refresh.queue import RefreshQueue
from pullahead.refresh.request import refresh_request
from tests.fakes.memory import FakeClock, FakeRecords, FakeRefreshExecutions
from tests.fakes.refresh_slots import FakeRefreshSlots, FakeWaitingRefreshes
from tests.fakes.samples import mirror, root, rule, rules
from tests.fakes.script import Script


class QueueingService:
    """Stale mirrors of one repository, and the queue of their refreshes."""

    def __init__(self, at_most: int = 1, *tags: str) -> None:
        self.script = Script()
        self.clock = FakeClock()
        self.slots, self.waiting_refreshes = FakeRefreshSlots(self.script), FakeWaitingRefreshes(self.script)
        self.records, self.refreshes = FakeRecords(self.script), FakeRefreshExecutions(self.script)
        self.rules = rules([mirror(tag) for tag in tags], "r", rule(*tags))
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
        )

    def stale(self, tag: str, hours: float = 1, episode: int = 1) -> RefreshRequest:
        """Store a mirror as stale for so many hours, and return the request of its refresh."""
        since = self.clock() - timedelta(hours=hours)
        record = MirrorRecord(
            mirror(tag).key,
            str(mirror(tag).upstream),
            State.STALE,
            since,
            unfresh_since=since,
            upstream_digest=root(f"{tag}-{episode}").digest,
            episode=episode,
            version=1,
        )
        self.records.stored[record.key] = record
        return refresh_request(mirror(tag), root(f"{tag}-{episode}"), record)

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
