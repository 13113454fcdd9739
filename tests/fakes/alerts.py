"""Published alerts and stored incidents in memory, and a service that reviews records."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

from pullahead.alerts.incidents import Incident
from pullahead.alerts.notify import LEAST_RECORDS, NotificationSender
from pullahead.alerts.review import Reviewed, ReviewRecords
from pullahead.alerts.text import Notice, subject_of
from pullahead.errors import PullaheadError
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import Record
from pullahead.mirrors.stored_form import Loaded
from pullahead.rules.model import Rules
from tests.fakes.memory import FakeClock, FakeRecords
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.script import Script
from tests.fakes.sources import FakeRulesState

ADDRESS = "s3://team-rules/rules.yaml"


class FakeAlerts:
    """Implements `pullahead.alerts.ports.AlertPublisher`."""

    def __init__(self, script: Script | None = None, operation: str = "publish") -> None:
        self.script, self.operation = script or Script(), operation
        self.published: list[Notice] = []

    @property
    def kinds(self) -> list[str]:
        """List the kinds of the published alerts, in order."""
        return [notice.kind.value for notice in self.published]

    @property
    def subjects(self) -> list[str]:
        """List the subjects of the published alerts, in order, without the details after the second colon."""
        return [subject_of(notice).removeprefix("Pullahead: ").partition(": ")[0] for notice in self.published]

    def publish(self, notice: Notice) -> None:
        with self.script.call(self.operation):
            self.published.append(notice)


class FakeIncidents:
    """Implements `pullahead.alerts.ports.IncidentStore`."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.stored: dict[str, Incident] = {}
        self.saved_at: dict[str, datetime] = {}
        self.turn: tuple[datetime, datetime] | None = None
        self.newer: set[str] = set()  # the keys of incidents that only a newer version can read

    def load(self, keys: Collection[str]) -> Mapping[str, Incident]:
        with self.script.call("load_incidents"):
            found = ((key, self.stored[key]) for key in keys if key in self.stored and key not in self.newer)
            return Loaded(found, self.newer & set(keys))

    def save(self, incident: Incident, now: datetime) -> None:
        with self.script.call("save_incident"):
            self.stored[incident.key], self.saved_at[incident.key] = incident, now

    def lock_sending(self, now: datetime, until: datetime) -> bool:
        with self.script.call("lock_sending"):
            if self.turn is not None and self.turn[1] > now:
                return False
            self.turn = (now, until)
            return True

    def unlock_sending(self, now: datetime) -> None:
        with self.script.call("unlock_sending"):
            if self.turn is not None and self.turn[0] == now:
                self.turn = (now, now)


class ReviewedService:
    """The review of records with its ports in memory."""

    def __init__(self, rules: Callable[[], Rules], *, least_records: int = LEAST_RECORDS) -> None:
        self.script = Script()
        self.clock, self.records = FakeClock(), FakeRecords(self.script)
        self.incidents, self.rules_state = FakeIncidents(self.script), FakeRulesState(self.script)
        self.alerts, self.chat = FakeAlerts(self.script), FakeAlerts(self.script, "publish_chat")
        self.outcomes, self.woken = FakeOutcomes(self.script), list[tuple[CheckRequest, int]]()
        tell = NotificationSender(self.records, self.incidents, self.alerts, self.chat, least_records=least_records)
        self.use_case = ReviewRecords(
            rules,
            self.rules_state,
            self.records,
            self.incidents,
            tell,
            announcer(self.records, self.clock, self.outcomes),
            self.clock,
            timedelta(minutes=30),
            ADDRESS,
            queue_checks=lambda requests, delay: self.woken.extend((request, delay) for request in requests),
        )

    def keep(self, *records: Record) -> None:
        """Store records as they are."""
        for record in records:
            self.records.put(record)

    def review(self, left: float = 300.0, **later: float) -> Reviewed:
        """Advance the clock, and review with so many seconds left to the function."""
        self.clock.advance(**later)
        return self.use_case(lambda: left)

    def sent_alerts(self, **later: float) -> list[str]:
        """Review, and return the subjects of the alerts that it sent."""
        before = len(self.alerts.published)
        self.review(**later)
        return self.alerts.subjects[before:]

    def errors(self, **later: float) -> list[PullaheadError]:
        """Review, and return what went wrong."""
        return list(self.review(**later).errors)
