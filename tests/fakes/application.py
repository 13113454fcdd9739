"""The application of `pullahead.app` with every adapter in memory."""

from pullahead.app import Application
from pullahead.checks.handle_message import MessageResult
from pullahead.dead_letters import DeadLetterPolicy
from pullahead.messages import Message
from pullahead.refresh.copy_unit import CopyUnit
from pullahead.rules.active import CurrentRules
from pullahead.rules.model import Rules
from pullahead.rules.sources.combine import Gathered
from pullahead.settings import Settings
from tests.fakes.alerts import FakeAlerts, FakeIncidents
from tests.fakes.dead_letters import FakeDeadLetters
from tests.fakes.demands import FakeDemands
from tests.fakes.event_windows import FakeEventWindows
from tests.fakes.memory import (
    FakeCheckQueue,
    FakeClock,
    FakePauseStore,
    FakePlanStore,
    FakeReceivedMessages,
    FakeRecords,
    FakeRefreshExecutions,
    FakeReplications,
)
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.refresh_slots import FakeRefreshSlots, FakeWaitingRefreshes
from tests.fakes.scans import FakeImageScans
from tests.fakes.script import Script
from tests.fakes.sources import FakeRulesState
from tests.fakes.tags import FakeTags
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

MAX_RECEIVE_COUNT = 5


class InMemoryService:
    """One service: its world, and the application that works on it."""

    def __init__(self, rules: Rules, *, part_size: int = 10, max_refreshes: int = 20) -> None:
        self.script = Script()
        self.clock = FakeClock()
        self.seconds_left = 120.0
        self.upstream, self.target = FakeUpstream(self.script), FakeTarget(self.script, part_size=part_size)
        self.records, self.plans = FakeRecords(self.script), FakePlanStore(self.script)
        self.queue, self.refreshes = FakeCheckQueue(self.script), FakeRefreshExecutions(self.script)
        self.alerts, self.chat = FakeAlerts(self.script), FakeAlerts(self.script, "publish_chat")
        self.pauses, self.incidents = FakePauseStore(self.script), FakeIncidents(self.script)
        self.rules_state, self.dead_letters = FakeRulesState(), FakeDeadLetters(self.script)
        self.outcomes, self.demands = FakeOutcomes(self.script), FakeDemands(self.script)
        self.replications, self.tags = FakeReplications(self.script), FakeTags(self.script)
        self.received = FakeReceivedMessages(self.script)
        self.scans = FakeImageScans(self.script, self.clock)
        self.slots, self.waiting_refreshes = FakeRefreshSlots(self.script), FakeWaitingRefreshes(self.script)
        environment = {
            "MAX_CONCURRENT_REFRESHES": str(max_refreshes),
            "SILENCE_SECONDS": "1800",
            "REFRESH_STATE_MACHINE_ARN": "arn:aws:states:eu-west-1:123456789012:stateMachine:refresh",
        }
        self.app = Application(Settings(environment), self.clock)
        # What is a cached property there is an attribute as soon as it is set: nothing of AWS is ever made.
        vars(self.app).update(
            _current_rules=CurrentRules(lambda: rules, self.rules_state, self.clock),
            _gather_rules=lambda: Gathered(rules),
            _upstream=self.upstream,
            _target=self.target,
            _tags=self.tags,
            _image_scans=self.scans,
            _records=self.records,
            _plans=self.plans,
            _queue=self.queue,
            _received_messages=self.received,
            _refreshes=self.refreshes,
            _slots=self.slots,
            _waiting_refreshes=self.waiting_refreshes,
            _rules_state=self.rules_state,
            _demands=self.demands,
            _alerts=self.alerts,
            _chat_alerts=self.chat,
            _incidents=self.incidents,
            _pauses=self.pauses,
            _replications=self.replications,
            _event_windows=FakeEventWindows(self.script),
            _outbox_sender=announcer(self.records, self.clock, self.outcomes),
            _dead_letter_policy=DeadLetterPolicy(self.dead_letters.send, MAX_RECEIVE_COUNT, self.clock),
            _find_mounts=None,
            _copy_unit=CopyUnit(self.upstream, self.target, self.plans, lambda _breaks: None, min_bytes_per_second=0),
        )

    def remaining_seconds(self) -> float:
        """Tell how much time the function has left: as much as it begins with, unless a test sets less."""
        return self.seconds_left

    def handle(self, message: Message) -> list[MessageResult]:
        """Handle one message that comes alone. Raises the error for which it would be retried."""
        (outcome,) = self.app.handle_messages([message.to_json()], self.remaining_seconds)
        if outcome.error is not None:
            raise outcome.error
        return list(outcome.results)
