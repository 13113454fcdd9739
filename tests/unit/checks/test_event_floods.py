"""Floods of refreshes: a first deployment, an upstream that moves everything at once, all delivered twice.

Never more than the limit runs, the longest stale goes first, everything is fresh in the end, and calls are counted.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

import pytest

from local.images import LocalImage, make_image
from pullahead.messages import CheckRequest, OutcomeRequest, PublishResult, RefreshRequest, StartWaitingRequest
from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from pullahead.rules.model import Rules
from tests.fakes.application import InMemoryService
from tests.fakes.memory import FakeRefreshExecutions
from tests.fakes.samples import mirror
from tests.fakes.script import Script

LIMIT = 20
FIRST, SECOND = make_image(seed=1), make_image(seed=2)
ADMISSION = ("take", "release", "renew", "add", "remove", "holders", "oldest_first", "count", "start", "is_running")


class CountedRefreshes(FakeRefreshExecutions):
    """Refreshes of which it is known how many ever ran at once."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.most = 0
        self._running: dict[str, RefreshRequest] = {}

    def start(self, request: RefreshRequest) -> StartResult:
        started = super().start(request)
        if started is StartResult.STARTED:
            self._running.setdefault(request.name, request)
        self.most = max(self.most, len(self._running))
        return started

    def succeed(self, name: str) -> None:
        """Let a refresh end well."""
        self.statuses[name] = StartResult.SUCCEEDED
        del self._running[name]

    def running(self) -> list[RefreshRequest]:
        """List what runs, the longest begun first."""
        return list(self._running.values())


class Flood:
    """A service with many mirrors, twenty repositories of them, whose refreshes take a minute each."""

    def __init__(self, mirrors: int, *, deliveries: int = 1) -> None:
        repositories = [f"mirror/app-{number}" for number in range(20)]
        self.mirrors = [
            mirror(f"{number}", repository=repository)
            for repository in repositories
            for number in range(mirrors // len(repositories))
        ]
        self.service = InMemoryService(Rules(tuple(self.mirrors), (), "rules-1"), max_refreshes=LIMIT)
        self.refreshes = CountedRefreshes(self.service.script)
        vars(self.service.app)["_refreshes"] = self.service.refreshes = self.refreshes
        self.deliveries = deliveries

    def serve(self, image: LocalImage) -> None:
        """Let upstream serve an image under every tag."""
        for each in self.mirrors:
            self.service.upstream.serve(image, str(each.upstream))

    def check_all(self) -> None:
        """Check every mirror by messages of a hundred tags, a second apart, as often as each message is delivered."""
        for request in self._checks():
            self.service.clock.advance(seconds=1)
            for _ in range(self.deliveries):
                self.service.handle(request)

    def _checks(self) -> Iterator[CheckRequest]:
        by_repository: dict[str, list[str]] = {}
        for each in self.mirrors:
            by_repository.setdefault(each.repository, []).append(each.tag)
        for repository, tags in by_repository.items():
            rest = iter(tags)
            while some := tuple(islice(rest, 100)):
                yield CheckRequest("schedule", repository, some, self.service.clock())

    def run_out(self) -> list[RefreshRequest]:
        """Let what runs end, one after the other, until nothing runs; list what was started, in order."""
        while running := self.refreshes.running():
            self.service.clock.advance(seconds=60 / LIMIT)
            self.end(running[0])
        return list(self.refreshes.requests.values())

    def end(self, request: RefreshRequest) -> None:
        """Let a refresh end well."""
        self.service.target.move_tag(request.repository, request.tag, request.root.digest)
        outcome = OutcomeRequest(request, request.name, self.service.clock(), PublishResult(request.root.digest))
        self.service.app.record_outcome(outcome)
        self.refreshes.succeed(request.name)
        for _ in range(self.deliveries):
            self.service.handle(StartWaitingRequest(request.name))

    def states(self) -> Counter[State]:
        """Count the states of all mirrors."""
        return Counter(record.state for record in self.service.records.stored.values())

    def calls(self) -> Counter[str]:
        """Count the calls of what admits refreshes."""
        return Counter(call for call in self.service.script.calls if call in ADMISSION)


def ages(requests: list[RefreshRequest]) -> list[float]:
    return [request.stale_since.timestamp() for request in requests]


@pytest.fixture(scope="module")
def deployment() -> Flood:
    """Let the first deployment of two thousand mirrors happen, to its end."""
    flood = Flood(2000)
    flood.serve(FIRST)
    flood.check_all()
    assert len(flood.refreshes.running()) == LIMIT
    assert flood.states() == {State.MISSING: 2000}
    flood.run_out()
    return flood


def test_two_thousand_new_mirrors_are_refreshed_by_age(deployment: Flood) -> None:
    started = list(deployment.refreshes.requests.values())
    assert deployment.states() == {State.FRESH: 2000}
    assert len(started) == 2000
    assert ages(started) == sorted(ages(started))
    assert deployment.refreshes.most == LIMIT
    assert (deployment.service.slots.held, deployment.service.waiting_refreshes.waiting) == ({}, {})


def test_two_thousand_new_mirrors_cost_few_calls_each(deployment: Flood) -> None:
    calls = deployment.calls()
    writes = {name: calls[name] for name in ("take", "release", "add", "remove", "renew")}
    assert writes == {"take": 2000 + 1, "release": 2000, "add": 1980, "remove": 1980, "renew": 0}
    assert sum(writes.values()) < 4 * 2000
    assert calls["start"] == 2000
    assert calls["oldest"] + calls["taken"] + calls["hosts"] + calls["oldest_first"] <= 4 * 2000 + 5 * 20
    assert calls["remember"] + calls["forget"] <= 20
    assert calls["count"] == calls["is_running"] == 0
    assert deployment.service.script.count("load") <= 2 * 2000 + 2 * 20  # one for each outcome, and one for each start


def test_five_hundred_moved_tags_are_all_refreshed() -> None:
    flood = Flood(500)
    flood.serve(FIRST)
    flood.check_all()
    flood.run_out()
    flood.refreshes.most = 0
    flood.service.script.calls.clear()
    flood.serve(SECOND)
    flood.service.clock.advance(minutes=30)
    flood.check_all()
    started = flood.run_out()[500:]
    assert flood.states() == {State.FRESH: 500}
    assert {request.root.digest for request in started} == {SECOND.digest}
    assert len(started) == 500
    assert ages(started) == sorted(ages(started))
    assert flood.refreshes.most == LIMIT
    assert flood.calls()["start"] == 500


def test_tags_that_move_again_while_waiting_are_refreshed_once() -> None:
    flood = Flood(200)
    flood.serve(FIRST)
    flood.check_all()
    flood.serve(SECOND)
    flood.check_all()
    started = flood.run_out()
    flood.check_all()  # what was copied while upstream moved
    started = flood.run_out()
    assert flood.states() == {State.FRESH: 200}
    assert flood.refreshes.most == LIMIT
    old = [request for request in started if request.root.digest == FIRST.digest]
    assert len(old) == LIMIT  # those that ran already
    assert len(started) == 200 + LIMIT


def test_duplicate_messages_start_no_other_refreshes() -> None:
    flood = Flood(400, deliveries=2)
    flood.serve(FIRST)
    for _ in range(3):
        flood.check_all()
        flood.service.clock.advance(minutes=5)
    started = flood.run_out()
    assert len(started) == 400
    assert flood.states() == {State.FRESH: 400}
    assert flood.refreshes.most == LIMIT
    assert ages(started) == sorted(ages(started))


def test_fresh_mirrors_take_no_slots() -> None:
    flood = Flood(100)
    flood.serve(FIRST)
    flood.check_all()
    flood.run_out()
    flood.service.script.calls.clear()
    flood.check_all()
    assert flood.calls() == {}


@pytest.mark.parametrize("lost_every", [2, 5])
def test_lost_end_events_are_repaired_by_the_schedule(lost_every: int) -> None:
    flood = Flood(200)
    flood.serve(FIRST)
    flood.check_all()
    count = 0
    while flood.service.waiting_refreshes.waiting or flood.refreshes.running():
        for request in flood.refreshes.running():
            count += 1
            deliveries, flood.deliveries = flood.deliveries, 0 if count % lost_every == 0 else 1
            flood.end(request)
            flood.deliveries = deliveries
        flood.service.clock.advance(seconds=timedelta(minutes=5).total_seconds())
        flood.service.handle(StartWaitingRequest())
    assert flood.states() == {State.FRESH: 200}
    assert flood.refreshes.most <= LIMIT


def test_schedule_counts_running_and_waiting_refreshes_of_a_flood() -> None:
    flood = Flood(100)
    flood.serve(FIRST)
    flood.check_all()
    (filled,) = flood.service.handle(StartWaitingRequest())
    assert filled._asdict() == {
        "started": (),
        "dropped": (),
        "freed": (),
        "running": LIMIT,
        "waiting": 80,
        "more": False,
        "error": None,
    }
