"""Upstreams that list other tags each time: what they leave is bounded, and expires."""

import pytest

from local.images import make_image
from pullahead.checks.check import CheckMirrors, CheckPorts
from pullahead.checks.listing import ListTags
from pullahead.errors import NotFoundError
from pullahead.messages import CheckRequest, ListRequest
from pullahead.mirrors.record import RuleRecord, State
from pullahead.mirrors.retirement import Need, NeedFinder, retired
from pullahead.mirrors.rule_record import rule_key
from pullahead.rules.mirror_key import MirrorKey, RecordKey
from pullahead.rules.model import Rule, Rules
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords, FakeRefreshExecutions
from tests.fakes.outcomes import FakeOutcomes, announcer
from tests.fakes.samples import failed, rule, rules
from tests.fakes.target import FakeTarget
from tests.fakes.upstream import FakeUpstream

IMAGE = make_image(seed=1)
ANY = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),), max_tags=50)
APP, NAMESPACE = "ghcr.io/team/app", rule(tags=ANY, upstream="quay.io/prom/*", repository="quay/{path}", name="prom")


class Service:
    """Listings, checks and retirement on one store, whose expired records are deleted."""

    def __init__(self, *declared: Rule) -> None:
        self.rules: Rules = rules([], "r", *declared)
        self.clock, self.records, self.queue = FakeClock(), FakeRecords(), FakeCheckQueue()
        self.upstream = FakeUpstream()
        ports = CheckPorts(
            self.upstream,
            FakeTarget().published_digests,
            self.records,
            FakeRefreshExecutions().start,
            announcer(self.records, self.clock, FakeOutcomes()),
            self.clock,
        )
        self.list_tags = ListTags(lambda: self.rules, self.upstream, self.records, self.queue, self.clock)
        self.check = CheckMirrors(lambda: self.rules, ports)

    def round(self, name: str = "app", *, minutes: int = 15) -> None:
        """List, check what follows, and retire what nothing follows."""
        self.clock.advance(minutes=minutes)
        self.list_tags(ListRequest(rule=name, asked_at=self.clock()))
        while self.queue.sent or self.queue.listings:
            checks = [each for each in self.queue.sent if isinstance(each, CheckRequest)]
            listings = list(self.queue.listings)
            self.queue.sent.clear()
            self.queue.listings.clear()
            for check in checks:
                self.check(check)
            for listing in listings:
                self.list_tags(listing)
        now = self.clock()
        active = [record for record in self.records.scan() if record.expires_at is None]
        for record, need in zip(active, NeedFinder(self.rules, self.records.load_listings)(active), strict=True):
            if need is not Need.FOLLOWED:
                self.records.save(retired(record, now, alerted=need is Need.UNNAMED), record.version)
        expired = [each.key for each in self.records.scan() if each.expires_at is not None and each.expires_at <= now]
        for key in expired:
            self._delete(key)

    def _delete(self, key: RecordKey) -> None:
        if isinstance(key, MirrorKey):
            del self.records.stored[key]
        else:
            self.records.of_rules.pop(key)  # type: ignore[call-overload]

    def serve(self, *references: str) -> None:
        """Let upstream have these tags, and no others."""
        self.upstream.remove_all()
        for reference in references:
            self.upstream.serve(IMAGE, reference)

    @property
    def alerts(self) -> list[str]:
        return [alert.kind.value for alert in self.records.decided]


def test_rotating_tags_leave_a_bounded_number_of_records_that_all_expire() -> None:
    service = Service(rule(tags=ANY))
    most = 0
    for number in range(50):
        service.serve(*(f"{APP}:{number}-{each}" for each in range(50)))
        service.round(minutes=4 * 60)
        most = max(most, len(service.records.stored))
    # What it follows, and a hundred for each day until these expire.
    assert 50 < most <= 50 + 9 * 100
    service.serve(f"{APP}:1.0")
    for _ in range(10):
        service.round(minutes=24 * 60)
    assert [str(key) for key in service.records.stored] == ["mirror/app:1.0"]


def test_rotating_tags_are_told_once_and_what_was_followed_stays() -> None:
    service = Service(rule(tags=ANY))
    for number in range(20):
        service.serve(*(f"{APP}:{number}-{each}" for each in range(50)))
        service.round()
    assert service.alerts.count("UNLISTED") == 1
    record = service.records.of_rules[rule_key(service.rules.rules[0])]
    assert isinstance(record, RuleRecord)
    assert record.state is State.BLOCKED
    assert "would be new within a day, and a rule may follow 100 new ones a day" in (record.error or "")
    assert len(record.followed) == 50


def test_listing_that_is_empty_now_and_then_begins_no_new_day() -> None:
    service = Service(rule(tags=ANY))
    for number in range(40):
        service.serve(*(f"{APP}:{number}-{each}" for each in range(50 * (number % 2))))
        service.round()
    assert len(service.records.stored) <= 150


def test_rotating_repositories_of_a_namespace_expire() -> None:
    service = Service(NAMESPACE)
    for number in range(5):
        service.serve(*(f"quay.io/prom/app{number}-{each}:1.0" for each in range(10)))
        service.round("prom")
    following = [record for record in service.records.scan() if record.expires_at is None]
    assert len(following) == 1 + 2 * 10
    service.serve("quay.io/prom/app:1.0")
    for _ in range(10):
        service.round("prom", minutes=24 * 60)
    assert [str(record.key) for record in service.records.scan()] == [
        "quay/prom/app:1.0",
        "quay/{path} (prom):*",
        "quay/prom/app (prom):*",
    ]


def test_named_tags_of_repositories_that_are_no_longer_listed_expire() -> None:
    service = Service(NAMESPACE._replace(tags=TagSelection(names=("1.0",))))
    for name in ("old", "new"):
        service.serve(f"quay.io/prom/{name}:1.0")
        service.round("prom")
    assert [str(each.key) for each in service.records.scan() if each.expires_at is not None] == ["quay/prom/old:1.0"]


def test_listed_tags_that_do_not_exist_leave_no_record() -> None:
    service = Service(rule(tags=ANY))
    service.serve(*(f"{APP}:{each}" for each in range(50)))
    service.upstream.script.fail("head_manifest", failed(NotFoundError), times=50)
    service.round()
    assert service.records.stored == {}


@pytest.mark.parametrize("count", [51, 5000])
def test_list_that_is_too_long_is_told_at_once_and_retires_nothing(count: int) -> None:
    service = Service(rule(tags=ANY))
    service.serve(f"{APP}:1.0")
    service.round()
    service.serve(*(f"{APP}:2.{each}" for each in range(count)))
    service.round()
    (record,) = service.records.stored.values()
    assert (str(record.key), record.expires_at) == ("mirror/app:1.0", None)
    assert "UNLISTED" in service.alerts
    (alert,) = (each for each in service.records.decided if each.kind.value == "UNLISTED")
    assert f"selects {count} of {count} tags, and max_tags is 50" in alert.detail


def test_repositories_of_a_namespace_share_the_tags() -> None:
    service = Service(NAMESPACE._replace(tags=ANY._replace(max_tags=100)))
    service.serve(
        *(f"quay.io/prom/small{each}:1.0" for each in range(4)),
        *(f"quay.io/prom/large:{each}" for each in range(21)),
    )
    service.round("prom")
    assert sum(key.repository == "quay/prom/large" for key in service.records.stored) == 0
    (alert,) = service.records.decided
    assert "selects 21 of 21 tags, and max_tags is 20" in alert.detail
    assert len(service.records.stored) == 4
