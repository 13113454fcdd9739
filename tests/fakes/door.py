"""The door to refreshes, all of it in memory: stale mirrors, slots, the line, and the processes that admit."""

from datetime import timedelta

from pullahead.messages import RefreshRequest
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.refresh.ports import StartResult
from pullahead.refresh.queue import RefreshQueue
from pullahead.refresh.request import refresh_request
from tests.fakes.admission import FakeSlots, FakeWaitingLine
from tests.fakes.memory import FakeClock, FakeRecords, FakeRefreshes
from tests.fakes.samples import mirror, root, rule, rules
from tests.fakes.script import Script


class Door:
    """Mirrors of one repository that are all stale, and the door to their refreshes."""

    def __init__(self, at_most: int = 1, *tags: str) -> None:
        self.script = Script()
        self.clock = FakeClock()
        self.slots, self.line = FakeSlots(self.script), FakeWaitingLine(self.script)
        self.records, self.refreshes = FakeRecords(self.script), FakeRefreshes(self.script)
        self.rules = rules([mirror(tag) for tag in tags], "r", rule(*tags))
        self.at_most = at_most
        self.one, self.other = self.process(), self.process()

    def process(self) -> RefreshQueue:
        """Begin a process of its own."""
        return RefreshQueue(
            lambda _: self.rules, self.slots, self.line, self.refreshes, self.records, self.clock, self.at_most
        )

    def stale(self, tag: str, hours: float = 1, episode: int = 1) -> RefreshRequest:
        """Remember a mirror as stale for so long, and make the request of its refresh."""
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
        """Ask for refreshes as a check of them all does."""
        answers = [self.one.start(request) for request in requests]
        if StartResult.WAITING in answers:
            self.one.start_waiting()
        return answers

    def end(self, tag: str, status: StartResult = StartResult.SUCCEEDED) -> str:
        """Let the running refresh of a tag end, and record what came of it; name its execution."""
        name = next(request.name for request in self.refreshes.requests.values() if request.tag == tag)
        self.refreshes.statuses[name] = status
        record = self.records.stored[mirror(tag).key]
        state = State.FRESH if status is StartResult.SUCCEEDED else record.state
        self.records.stored[record.key] = record.with_changes(state=state, version=record.version + 1)
        return name

    @property
    def begun(self) -> list[str]:
        """List the tags whose refreshes were started, in order."""
        return [request.tag for request in self.refreshes.requests.values()]

    @property
    def running(self) -> int:
        """Count what runs."""
        return list(self.refreshes.statuses.values()).count(StartResult.RUNNING)
