"""A deployed stack in memory, for the commands that are about one."""

from typing import cast

from pullahead.cli.stack import DeployedStack
from pullahead.rules.model import Rules
from tests.fakes.dead_letters import FakeDeadLetters
from tests.fakes.memory import FakeCheckQueue, FakePauseStore, FakePlanStore, FakeRecords, FakeRefreshExecutions
from tests.fakes.script import Script
from tests.fakes.sources import FakeRulesState


class FakeStack:
    """What commands use of `pullahead.cli.stack.DeployedStack`."""

    def __init__(self, rules: Rules) -> None:
        self.script = Script()
        self.records, self.pauses = FakeRecords(self.script), FakePauseStore(self.script)
        self.queue, self.dead_letters = FakeCheckQueue(self.script), FakeDeadLetters(self.script)
        self.refreshes, self.plans = FakeRefreshExecutions(self.script), FakePlanStore(self.script)
        self.rules_state = FakeRulesState()
        self.home = "123456789012 eu-west-1"
        self.caller = "arn:aws:sts::123456789012:assumed-role/operators/ada"
        self._rules = rules

    def rules(self, file: str) -> Rules:
        """Give the rules, whatever the file."""
        with self.script.call(f"rules {file}"):
            return self._rules

    @property
    def deployed(self) -> DeployedStack:
        """Itself, typed as the stack that it replaces."""
        return cast("DeployedStack", self)
