"""Every kind of item, damaged in every way, costs its own subject alone, in every function that reads the table.

The functions run on their real adapters and a table of moto; registries, queue, topics and executions are in memory.
"""

import json
import re
from argparse import Namespace
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, cast

import pytest
from aws_lambda_powertools import Metrics

from functions.check_freshness import app as check_freshness
from functions.notice_pulls import app as notice_pulls
from functions.receive_webhook import app as receive_webhook
from functions.record_outcome import app as record_outcome
from functions.review_records import app as review_records
from functions.schedule_checks import app as schedule_checks
from functions.show_mirrors import app as show_mirrors
from local.images import make_image
from pullahead.aws.demands import DynamoDemands
from pullahead.aws.event_windows import DynamoCheckBudget, DynamoEventWindows, DynamoReplayGuard
from pullahead.aws.incidents import DynamoIncidents
from pullahead.aws.newer_items import NewerItems
from pullahead.aws.pauses import DynamoPauses
from pullahead.aws.records import DynamoRecords
from pullahead.aws.refresh_queue import DynamoRefreshSlots, DynamoWaitingRefreshes
from pullahead.aws.replications import DynamoReplications
from pullahead.cli.main import parse_arguments
from pullahead.cli.stack import DeployedStack
from pullahead.cli.status import read_status, status_document
from pullahead.messages import CheckRequest, StartWaitingRequest
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.outbox import OutboxSender
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.refresh.ports import StartResult
from pullahead.rules.load import load_rules
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Rules
from pullahead.webhooks.receive import SecretCache
from tests.contract.local_services import client, moto_in_process, new_table
from tests.fakes.application import InMemoryService
from tests.fakes.lambda_context import lambda_context
from tests.fakes.outcomes import FakeOutcomes
from tests.fakes.refreshes import outcome
from tests.fakes.webhooks import FakeWebhookSecrets, generic_event
from tests.unit.functions.test_notice_pulls import sample

RULES: Final = """\
version: 1
mirrors:
  - name: app
    upstream: docker.io/team/app
    repository: mirror/app
    tags: ["1.0", "2.0", "3.0"]
  - name: listed
    upstream: docker.io/team/listed
    repository: mirror/listed
    tags: ["1.*"]
  - name: paused
    upstream: docker.io/team/paused
    repository: mirror/paused
    tags: ["1.0"]
on_demand:
  - name: hub
    upstream: docker.io/*
    repository: "mirror/hub/{path}"
    allow: ["grafana/*"]
    daily_limit: 20
"""
OLD, NEW = make_image(seed=1), make_image(seed=2)
DAMAGED, NEIGHBOUR, GONE = (MirrorKey("mirror/app", tag) for tag in ("1.0", "2.0", "3.0"))
Item = dict[str, dict[str, Any]]


class Kind(NamedTuple):
    """A kind of item, by how the key begins of the one that is damaged, and the attribute that says what it means."""

    prefix: str
    attribute: str
    counts: bool = False  # its value is a number


KINDS: Final = (
    Kind(f"mirror#{DAMAGED}", "record"),
    Kind("mirror#mirror/listed (listed):*", "record"),
    Kind("incident#GONE#", "incident"),
    Kind("service#heartbeat", "at"),
    Kind("service#pauses", "rules"),
    Kind("service#telling", "turn_ends"),
    Kind("service#scan", "scan"),
    Kind("service#slot-counts", "held", counts=True),
    Kind("service#slot-counts", "hosts"),
    Kind("service#waiting-hosts", "hosts"),
    Kind("slot#", "host"),
    Kind("waiting#", "request"),
    Kind("window#", "events", counts=True),
    Kind("demand#", "asked_at"),
    Kind("demand#", "kept"),
    Kind("demanded#", "count", counts=True),
    Kind("budget#", "checks", counts=True),
    Kind("seen#", "expires_at", counts=True),
    Kind("replication#", "source"),
)


def _texts(change: Callable[[str], str]) -> Callable[[Any], Any]:
    """Change a text; other values become a text that means nothing."""
    return lambda value: {"S": change(value["S"]) if "S" in value else change("{")}


DAMAGES: Final[dict[str, Callable[[Any], Any]]] = {
    "missing": lambda _: None,
    "null": lambda _: {"NULL": True},
    "a set of bytes": lambda _: {"BS": [b"\xff"]},
    "another type": lambda value: {"S": "x"} if "N" in value else {"N": "7"},
    "an empty text": lambda _: {"S": ""},
    "cut off": _texts(lambda text: text[: len(text) // 2]),
    "no JSON object": _texts(lambda _: "[]"),
    "nested too deeply": _texts(lambda _: "[" * 100_000),
    "enormous": _texts(lambda text: text.replace("}", f', "error": "{"x" * 391_000}"}}', 1)),
    "without time zones": _texts(lambda text: re.sub(r"(\d\d:\d\d:\d\d(\.\d+)?)(Z|\+00:00)", r"\1", text)),
    "of another key": _texts(
        lambda text: text.replace("1.0", "9.9").replace("GONE", "STALE").replace("listed", "other")
    ),
}


class Stack(NamedTuple):
    """What `status` reads."""

    records: DynamoRecords
    pauses: DynamoPauses
    current: Rules
    newer_items: NewerItems

    def rules(self, _file: str) -> Rules:
        """Give the rules."""
        return self.current


class Service:
    """The functions on a table, and mirrors of which each item has been written by the functions themselves."""

    def __init__(self, dynamodb: Any) -> None:
        self.dynamodb, self.table, self.newer = dynamodb, new_table(dynamodb), NewerItems()
        self.memory = InMemoryService(load_rules(RULES, source="rules.yaml"), max_refreshes=1)
        self.rules = load_rules(RULES, source="rules.yaml")
        self.clock, self.upstream, self.alerts = self.memory.clock, self.memory.upstream, self.memory.alerts
        self.records = DynamoRecords(dynamodb, self.table, self.newer)
        self.pauses = DynamoPauses(dynamodb, self.table, self.newer)
        self.demands = DynamoDemands(dynamodb, self.table, self.newer)
        self.slots = DynamoRefreshSlots(dynamodb, self.table, newer=self.newer)
        self.waiting = DynamoWaitingRefreshes(dynamodb, self.table, self.newer)
        vars(self.memory.app).update(
            _newer_items=self.newer,
            _records=self.records,
            _pauses=self.pauses,
            _demands=self.demands,
            _slots=self.slots,
            _waiting_refreshes=self.waiting,
            _incidents=DynamoIncidents(dynamodb, self.table, self.newer),
            _replications=DynamoReplications(dynamodb, self.table, self.newer),
            _outbox_sender=OutboxSender(self.records, FakeOutcomes(self.memory.script), self.clock),
            _webhook_secrets=SecretCache(FakeWebhookSecrets(), self.clock),
            take_damaged_items=self._take_damaged,
        )
        self.noted = set[str]()
        self.new_process()
        self.deliveries = 0
        for tag in ("1.0", "2.0", "3.0"):
            self.upstream.serve(OLD, f"docker.io/team/app:{tag}")
        self.upstream.serve(OLD, "docker.io/team/listed:1.0")
        self.upstream.serve(OLD, "docker.io/team/paused:1.0")
        self.upstream.serve(OLD, "docker.io/grafana/grafana:11.3.0")
        self.pauses.pause("paused")

    @property
    def app(self) -> Any:
        """The application."""
        return self.memory.app

    def new_process(self) -> None:
        """Forget what only a process knows: the table has to say it."""
        guard = DynamoReplayGuard(self.dynamodb, self.table, self.newer)
        budget = DynamoCheckBudget(self.dynamodb, self.table, 600, self.newer)
        windows = DynamoEventWindows(self.dynamodb, self.table, self.newer)
        vars(self.app).update(_replay_guard=guard, _check_budget=budget, _event_windows=windows)
        for name in ("_handle_messages", "_check_mirrors", "_receive_webhook", "_notice_pulls", "_cached_pauses"):
            vars(self.app).pop(name, None)

    def round(self) -> dict[str, Any]:
        """Run every function that reads the table; return what each of them came to."""
        self.new_process()
        Metrics().clear_metrics()
        done: dict[str, Any] = {"outcomes": [self._end(name) for name in list(self.memory.refreshes.requests)]}
        done["schedule"] = schedule_checks.handle(self.app)
        pushed = CheckRequest("push", *_tags("1.0", "2.0"), self.clock(), replicated_from="210987654321 in eu-west-1")
        asked = [pushed, *self.memory.queue.sent, *self.memory.queue.listings, StartWaitingRequest()]
        self.memory.queue.sent.clear()
        self.memory.queue.listings.clear()
        done["check"] = self._check([message.to_json() for message in asked])
        done["webhook"] = self._webhook()["statusCode"]
        done["pulls"] = notice_pulls.handle(sample("first_pull"), self.app)["batchItemFailures"]
        done["queued"] = [*self.memory.queue.sent, *self.memory.queue.listings]
        self.memory.queue.sent.clear()
        self.memory.queue.listings.clear()
        done["check what is queued"] = self._check([message.to_json() for message in done.pop("queued")])
        done["fill"] = self._check([StartWaitingRequest().to_json()])
        done["review"] = review_records.handle(lambda_context(), self.app)["records"]
        done["page"] = show_mirrors.handle({}, lambda_context_of_the_page(), self.app)
        done["status"] = self._status()
        self._take_damaged()
        return done

    def _check(self, bodies: list[str]) -> list[str]:
        records = [
            {"messageId": body, "body": body, "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"}
            for body in bodies
        ]
        answer = check_freshness.handle({"Records": records}, lambda_context(), self.app)
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def _webhook(self) -> dict[str, Any]:
        self.deliveries += 1
        named = {"repository": "docker.io/team/app", "tags": ["1.0"], "id": f"delivery-{self.deliveries}"}
        return receive_webhook.handle(generic_event(named, self.clock()), self.app)

    def _end(self, name: str) -> str:
        """Publish what a refresh was to copy, and record that."""
        request = self.memory.refreshes.requests.pop(name)
        self.memory.refreshes.statuses[name] = StartResult.SUCCEEDED
        self.memory.target.move_tag(request.repository, request.tag, request.root.digest)
        ended = outcome(request).to_event()
        state = record_outcome.handle(ended, self.app)["state"]
        return f"{state} {self._check([StartWaitingRequest(ended['execution'].rpartition(':')[2]).to_json()])}"

    def _status(self) -> dict[str, Any]:
        stack = Stack(self.records, self.pauses, self.rules, self.newer)
        for options in (["--stale"], []):  # by the index, and by all records
            arguments = parse_arguments(["status", "--rules", "rules.yaml", *options])
            status = status_document(read_status(arguments, cast("DeployedStack", stack)))
        return status

    def _take_damaged(self) -> None:
        """Keep the keys that a function would count."""
        taken = self.newer.take_damaged()
        self.noted.update(taken.keys if taken is not None else ())

    def items(self) -> dict[str, Item]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=self.table)
        return {item["pk"]["S"]: item for page in pages for item in page["Items"]}

    def put(self, item: Item) -> None:
        self.dynamodb.put_item(TableName=self.table, Item=item)


def _tags(*tags: str) -> tuple[str, tuple[str, ...]]:
    return "mirror/app", tags


def lambda_context_of_the_page() -> Any:
    """The context of the function that draws the page, whose own address is in its links."""
    return Namespace(invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:show")


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with moto_in_process():
        yield client(None, "dynamodb")


@pytest.fixture
def service(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "pullahead")
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Pullahead")
    made = Service(dynamodb)
    made.round()
    made.upstream.remove("docker.io/team/app:3.0")
    made.clock.advance(minutes=20)
    made.round()
    made.upstream.serve(NEW, "docker.io/team/app:1.0")
    made.upstream.serve(NEW, "docker.io/team/app:2.0")
    return made


def damage(service: Service, change: Callable[[Any], Any]) -> set[str]:
    """Damage one item of each kind; return their keys."""
    items, damaged = service.items(), set()
    for kind in KINDS:
        key = max((key for key in items if key.startswith(kind.prefix)), default="")
        assert key, kind
        value = change(items[key][kind.attribute]) if kind.attribute in items[key] else None
        item = {name: old for name, old in items[key].items() if name != kind.attribute}
        items[key] = {**item, **({kind.attribute: value} if value is not None else {})}
        damaged.add(key)
    for key in damaged:
        service.put(items[key])
    return damaged


def assert_all_went_well(done: dict[str, Any]) -> None:
    """No function has failed, no message is retried, and none is lost."""
    assert (done["check"], done["check what is queued"], done["fill"], done["pulls"]) == ([], [], [], [])
    assert done["webhook"] in (200, 202)  # merged with another event, or queued
    assert all(each.endswith("[]") for each in done["outcomes"])
    assert "Not fresh, last 7 days" in done["page"]  # no page of an error
    assert str(NEIGHBOUR) in {mirror["mirror"] for mirror in done["status"]["mirrors"]}


def rounds(service: Service, count: int) -> None:
    """Run rounds, twenty minutes apart."""
    for _ in range(count):
        assert_all_went_well(service.round())
        service.clock.advance(minutes=20)


def told(service: Service, kind: AlertKind) -> list[str]:
    return [str(each.mirror) for notice in service.alerts.published if notice.kind is kind for each in notice.members]


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_damaged_items_cost_their_own_subjects_alone_and_are_written_anew(
    service: Service, change: Callable[[Any], Any]
) -> None:
    damaged = damage(service, change)
    rounds(service, 5)
    for key in (DAMAGED, NEIGHBOUR):
        record = service.records.load_one(key)
        assert isinstance(record, MirrorRecord)
        assert (record.state, record.published_digest) == (State.FRESH, NEW.digest), key
    assert {f"mirror#{DAMAGED}", "mirror#mirror/listed (listed):*"} <= service.noted <= damaged
    assert sorted(told(service, AlertKind.RECORD_DAMAGED)) == [str(DAMAGED), "mirror/listed (listed):*"]
    assert told(service, AlertKind.GONE) in ([str(GONE)], [str(GONE)] * 2)  # twice where what was sent is not known
    service.noted.clear()
    rounds(service, 1)
    assert service.noted <= {"service#pauses"}  # which a person writes anew, by pausing or resuming a rule
    service.pauses.pause("paused")
    assert service.pauses.paused_rules() == {"paused"}
    service.pauses.resume("paused")
    assert service.pauses.paused_rules() == set()


NEWER: Final[dict[str, Callable[[Item], Item]]] = {
    f"mirror#{DAMAGED}": lambda item: _with_field(item, "record", "gate"),
    "mirror#mirror/listed (listed):*": lambda item: _with_field(item, "record", "gate"),
    "incident#GONE#docker.io#NotFoundError": lambda item: _with_field(item, "incident", "gate"),
    "waiting#mirror/listed:1.0": lambda item: _with_field(item, "request", "gate"),
    "demand#mirror/hub/grafana/grafana:11.3.0": lambda item: {**item, "gate": {"S": "age"}},
    "service#heartbeat": lambda item: {**item, "at": {"N": "7"}, "gate": {"S": "age"}},
    "service#pauses": lambda item: {**item, "rules": {"M": {"paused": {"S": "age"}}}},
}


def _with_field(item: Item, attribute: str, name: str) -> Item:
    return {**item, attribute: {"S": json.dumps({**json.loads(item[attribute]["S"]), name: "age"})}}


def test_items_of_a_newer_version_are_left_alone_by_every_function(service: Service) -> None:
    newer = {key: change(service.items()[key]) for key, change in NEWER.items()}
    for item in newer.values():
        service.put(item)
    rounds(service, 3)
    left = service.items()
    assert {key: left[key] for key in newer} == newer
    neighbour = service.records.load_one(NEIGHBOUR)
    assert isinstance(neighbour, MirrorRecord)
    assert (neighbour.state, neighbour.published_digest) == (State.FRESH, NEW.digest)
    assert (told(service, AlertKind.RECORD_DAMAGED), service.noted) == ([], set())


@pytest.mark.parametrize("version", [None, {"N": "99"}])
def test_record_whose_version_is_not_that_of_its_item_keeps_its_history(
    service: Service, version: dict[str, str] | None
) -> None:
    key = f"mirror#{DAMAGED}"
    item = {name: value for name, value in service.items()[key].items() if name != "version"}
    service.put({**item, **({"version": version} if version is not None else {})})
    before = service.records.load_one(DAMAGED)
    rounds(service, 5)
    after = service.records.load_one(DAMAGED)
    assert isinstance(before, MirrorRecord)
    assert isinstance(after, MirrorRecord)
    assert (after.state, after.published_digest, after.past[: len(before.past)]) == (
        State.FRESH,
        NEW.digest,
        before.past,
    )
    assert (service.noted, told(service, AlertKind.RECORD_DAMAGED)) == ({key}, [])
