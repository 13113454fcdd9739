"""What a listing leads to: checks of what was chosen, once listed for all, and nothing lost where it fails."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from local.images import make_image
from pullahead.checks.listing import ListResult, ListTags
from pullahead.checks.upstream_pool import UpstreamPool
from pullahead.errors import (
    ConflictError,
    ListingRefusedError,
    RateLimitedError,
    RegistryUnavailableError,
    StorageError,
)
from pullahead.messages import CheckRequest, ListRequest
from pullahead.mirrors.record import RuleRecord, State
from pullahead.oci import Repository
from pullahead.rules.mirror_key import RuleKey
from pullahead.rules.model import Rule, Rules
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeCheckQueue, FakeClock, FakeRecords
from tests.fakes.samples import REPOSITORY, failed, rule, rules
from tests.fakes.script import Killed, Script
from tests.fakes.upstream import FakeUpstream

IMAGE = make_image(seed=1)
SEMVER = TagPattern(PatternKind.SEMVER, ">=1")
NEWEST = TagSelection(patterns=(SEMVER,), newest=2)
KEY = RuleKey("mirror/app", "app")


class Listing:
    """A service with rules that choose from `ghcr.io/team/app`, by default the two newest of four tags."""

    def __init__(self, *declared: Rule) -> None:
        self.script = Script()
        self.rules: Rules = rules([], "r", *(declared or (rule(tags=NEWEST),)))
        self.upstream, self.records = FakeUpstream(self.script), FakeRecords(self.script)
        self.queue, self.clock = FakeCheckQueue(self.script), FakeClock()
        self.serve("1.0", "1.1", "1.2", "latest")
        self.list_tags = ListTags(lambda: self.rules, self.upstream, self.records, self.queue, self.clock)

    def serve(self, *tags: str, path: str = "ghcr.io/team/app") -> None:
        for tag in tags:
            self.upstream.serve(IMAGE, f"{path}:{tag}")

    def follow(self, request: ListRequest) -> ListResult | None:
        """List, without any time for what a rate makes wait."""
        return self.list_tags(request, UpstreamPool(self.clock, wait=lambda _seconds: None))

    def ask(self, name: str = "app", upstream: str | None = None, **later: float) -> ListResult:
        self.clock.advance(**later)
        self.queue.sent.clear()
        self.queue.listings.clear()
        result = self.follow(ListRequest(rule=name, asked_at=self.clock(), upstream=upstream))
        assert result is not None
        return result

    @property
    def tags(self) -> list[str]:
        return [tag for request in self.queue.sent for tag in request.tags]

    @property
    def record(self) -> RuleRecord:
        record = self.records.of_rules[KEY]
        assert isinstance(record, RuleRecord)
        return record

    @property
    def alerts(self) -> list[str]:
        return [alert.kind.value for alert in self.records.decided]


def test_selected_tags_are_checked() -> None:
    listing = Listing()
    assert listing.ask() == ListResult(KEY, State.FRESH, "listed", 2, changed=True)
    now = listing.clock()
    assert listing.queue.sent == [CheckRequest("schedule", REPOSITORY, ("1.2", "1.1"), now)]
    assert listing.queue.listings == []


class CountingRules(tuple[Rule, ...]):
    """Rules that count how often all of them are looked at."""

    times = 0

    def __iter__(self) -> Iterator[Rule]:
        self.times += 1
        return super().__iter__()


def test_listing_looks_at_no_other_rule() -> None:
    """With 100,000 rules, a look at all of them takes more time than the rest of a listing."""
    listing = Listing()
    listing.rules = replace(listing.rules, rules=CountingRules(listing.rules.rules))
    listing.ask()  # which makes the index by name
    counting = listing.rules.rules
    assert isinstance(counting, CountingRules)
    before = counting.times
    listing.ask(minutes=15)
    assert counting.times == before


def test_unchanged_selection_costs_one_listing_and_no_write() -> None:
    listing = Listing()
    listing.ask()
    listing.script.resume()
    assert not listing.ask(minutes=15).changed
    assert listing.tags == ["1.2", "1.1"]
    assert (listing.script.count("list_tags"), listing.records.writes) == (1, 0)


def test_unselected_tag_is_not_checked() -> None:
    listing = Listing()
    listing.ask()
    listing.serve("1.3")
    assert listing.ask(minutes=15).changed
    assert listing.tags == ["1.3", "1.2"]


def test_named_tags_are_not_checked_by_the_listing() -> None:
    listing = Listing(rule(tags=NEWEST._replace(names=("latest",))))
    listing.ask()
    assert listing.tags == ["1.2", "1.1"]


def test_many_tags_are_queued_in_hundreds() -> None:
    listing = Listing(rule(tags=TagSelection(patterns=(SEMVER,))))
    listing.serve(*(f"2.{n}" for n in range(250)))
    assert listing.ask().queued == 253
    assert [len(request.tags) for request in listing.queue.sent] == [100, 100, 53]
    assert len(set(listing.tags)) == 253


def test_rules_of_one_repository_share_a_listing_for_a_minute() -> None:
    other = rule(tags=TagSelection(patterns=(SEMVER,)), name="all", repository="mirror/all")
    listing = Listing(rule(tags=NEWEST), other)
    listing.ask()
    listing.ask("all", seconds=59)
    assert (listing.script.count("list_tags"), len(listing.tags)) == (1, 3)
    listing.ask("all", seconds=1)
    assert listing.script.count("list_tags") == 2


def test_other_repositories_are_listed_by_themselves() -> None:
    listing = Listing(rule(tags=NEWEST), rule(tags=NEWEST, name="b", repository="mirror/b", upstream="ghcr.io/team/b"))
    listing.serve("7.0", path="ghcr.io/team/b")
    listing.ask()
    listing.ask("b")
    assert (listing.script.count("list_tags"), listing.tags) == (2, ["7.0"])


def test_removed_rule_causes_no_request() -> None:
    listing = Listing()
    assert listing.follow(ListRequest(rule="gone", asked_at=listing.clock())) is None
    assert listing.script.calls == []


class TestFailing:
    def test_last_selection_is_checked_where_listing_fails(self) -> None:
        listing = Listing()
        listing.ask()
        listing.script.fail("list_tags", failed(RateLimitedError), times=3)
        result = listing.ask(minutes=15)
        assert (result.state, result.queued, result.changed) == (State.UNKNOWN, 2, True)
        assert listing.tags == ["1.2", "1.1"]
        listing.script.resume()
        listing.ask(minutes=15)
        assert listing.tags == ["1.2", "1.1"]
        assert listing.records.writes == 0
        assert listing.alerts == []

    def test_shrunk_listing_is_an_error(self) -> None:
        listing = Listing(rule(tags=TagSelection(patterns=(SEMVER,), min_tags=3)))
        listing.ask()
        for tag in ("1.0", "1.1"):
            listing.upstream.remove(f"ghcr.io/team/app:{tag}")
        assert listing.ask(minutes=15).state is State.UNKNOWN
        assert sorted(listing.tags) == ["1.0", "1.1", "1.2"]
        assert listing.record.error_kind == "ListingShrunkError"
        assert listing.alerts == []
        listing.ask(minutes=60)
        listing.ask(minutes=15)
        assert listing.alerts == ["UNLISTED"]
        listing.serve("1.3", "1.4")
        listing.ask(minutes=15)
        assert listing.alerts == ["UNLISTED", "RECOVERED"]
        assert sorted(listing.tags) == ["1.2", "1.3", "1.4"]

    def test_first_listing_that_fails_checks_nothing(self) -> None:
        listing = Listing()
        listing.script.fail("list_tags", failed(RateLimitedError))
        assert listing.ask().queued == 0
        assert (listing.queue.sent, listing.record.state) == ([], State.UNKNOWN)

    def test_failure_is_not_shared_with_the_next_listing(self) -> None:
        listing = Listing()
        listing.script.fail("list_tags", failed(RateLimitedError))
        listing.ask()
        assert listing.ask().state is State.FRESH

    @pytest.mark.parametrize(
        ("operation", "error"), [("load", StorageError), ("save", StorageError), ("send", StorageError)]
    )
    def test_storage_error_retries_the_message(self, operation: str, error: type[Exception]) -> None:
        listing = Listing()
        listing.script.fail(operation, error("no"))
        with pytest.raises(error):
            listing.ask()
        assert listing.ask().queued == 2

    def test_concurrent_listings_agree(self) -> None:
        listing = Listing()
        listing.script.fail("save", ConflictError("no"))
        assert listing.ask().queued == 2
        assert listing.record.followed == ("1.2", "1.1")

    def test_kill_at_any_call_loses_neither_checks_nor_the_alert(self) -> None:
        def refused() -> Listing:
            listing = Listing()
            listing.script.fail("list_tags", failed(ListingRefusedError), times=9)
            return listing

        whole = refused()
        whole.ask()
        for call in range(len(whole.script.calls)):
            listing = refused()
            listing.script.kill_at = call
            with pytest.raises(Killed):
                listing.ask()
            listing.script.resume()
            listing.ask(minutes=5)
            assert listing.alerts == ["UNLISTED"]
            assert listing.record.pending == tuple(listing.records.decided)


class TestNamespace:
    NAMESPACE = rule("1.0", upstream="quay.io/prom/*", repository="quay/{name}", name="prom")
    CHOOSING = NAMESPACE._replace(tags=NEWEST)

    def listing(self, declared: Rule) -> Listing:
        made = Listing(declared)
        made.serve("1.0", "2.0", "3.0", path="quay.io/prom/node")
        made.serve("1.0", path="quay.io/prom/deep/alert")
        made.serve("1.0", path="quay.io/other/app")
        return made

    def test_each_repository_of_a_namespace_is_listed(self) -> None:
        listing = self.listing(self.CHOOSING)
        result = listing.ask("prom")
        assert (result.listing, result.queued) == (RuleKey("quay/{name}", "prom"), 2)
        assert [request.upstream for request in listing.queue.listings] == [
            "quay.io/prom/node",
            "quay.io/prom/deep/alert",
        ]
        assert {request.rule for request in listing.queue.listings} == {"prom"}
        assert listing.script.count("list_tags") == 0

    def test_repository_of_a_namespace_is_published_under_its_name(self) -> None:
        listing = self.listing(self.CHOOSING)
        assert listing.ask("prom", "quay.io/prom/node").listing == RuleKey("quay/node", "prom")
        (request,) = listing.queue.sent
        assert (request.repository, request.tags) == ("quay/node", ("3.0", "2.0"))
        assert (request.rule, request.upstream) == ("prom", "quay.io/prom/node")

    def test_named_tags_are_checked_in_each_repository(self) -> None:
        listing = self.listing(self.NAMESPACE)
        listing.ask("prom", "quay.io/prom/deep/alert")
        (request,) = listing.queue.sent
        assert (request.repository, request.tags) == ("quay/alert", ("1.0",))
        assert listing.script.calls == ["load", "send"]  # nothing is listed, so nothing is remembered

    def test_named_and_selected_tags_are_checked_once(self) -> None:
        listing = self.listing(self.NAMESPACE._replace(tags=NEWEST._replace(names=("1.0", "3.0"))))
        listing.ask("prom", "quay.io/prom/node")
        assert listing.tags == ["1.0", "3.0", "2.0"]

    def test_registry_without_a_catalog_is_alerted_once(self) -> None:
        listing = self.listing(self.CHOOSING)
        listing.script.fail("list_repositories", failed(ListingRefusedError, "name them"), times=9)
        for _ in range(3):
            assert listing.ask("prom", minutes=15).state is State.BLOCKED
        assert listing.alerts == ["UNLISTED"]
        assert "name them" in listing.records.decided[0].detail

    def test_known_repositories_are_followed_where_the_catalog_fails(self) -> None:
        listing = self.listing(self.CHOOSING)
        listing.ask("prom")
        listing.script.fail("list_repositories", failed(RateLimitedError))
        assert listing.ask("prom", minutes=15).queued == 2
        assert len(listing.queue.listings) == 2

    def test_repository_with_an_invalid_name_is_alerted_and_the_others_followed(self) -> None:
        listing = self.listing(self.CHOOSING._replace(repository="x" * 241 + "/{path}"))
        result = listing.ask("prom")
        assert (result.state, result.queued) == (State.BLOCKED, 1)
        assert [request.upstream for request in listing.queue.listings] == ["quay.io/prom/node"]
        assert "not a valid ECR repository name" in result.reason
        assert listing.alerts == ["UNLISTED"]

    def test_message_for_a_repository_without_a_valid_name_is_ignored(self) -> None:
        listing = self.listing(self.CHOOSING._replace(repository="x" * 241 + "/{path}"))
        asked = ListRequest(rule="prom", asked_at=listing.clock(), upstream="quay.io/prom/deep/alert")
        assert listing.follow(asked) is None
        assert listing.script.calls == []

    def test_too_many_repositories_are_refused(self) -> None:
        listing = self.listing(self.CHOOSING)
        for number in range(1000):
            listing.serve("1.0", path=f"quay.io/prom/app{number}")
        result = listing.ask("prom")
        assert (result.state, result.queued) == (State.BLOCKED, 0)
        assert listing.alerts == ["UNLISTED"]
        assert "1002 repositories" in result.reason
        assert "Name the repositories" in result.reason


def test_upstream_of_a_message_is_ignored_for_a_rule_of_one_repository() -> None:
    """It was a namespace when the message was sent."""
    listing = Listing()
    listing.ask("app", "ghcr.io/else/where")
    (request,) = listing.queue.sent
    assert (request.tags, request.rule, request.upstream) == (("1.2", "1.1"), None, None)
    assert str(Repository("ghcr.io", "team/app")) == listing.record.upstream


def test_rule_that_names_only_queues_nothing() -> None:
    listing = Listing(rule("1.0", check_every=timedelta(minutes=5)))
    assert listing.ask().queued == 0
    assert listing.script.count("list_tags") == 0


class TestRequests:
    """Listings that a person or a webhook asks for."""

    def test_person_is_told_of_the_listing_and_of_the_checks(self) -> None:
        listing = Listing()
        asked_at = listing.clock()
        listing.clock.advance(seconds=5)
        listing.follow(ListRequest(rule="app", asked_at=asked_at, manual=True))
        note = listing.record.manual
        assert note is not None
        assert (note.asked_at, note.at, note.result) == (asked_at, listing.clock(), "listed")
        (request,) = listing.queue.sent
        assert (request.reason, request.tags, request.asked_at) == ("manual", ("1.2", "1.1"), asked_at)

    def test_person_is_told_why_it_failed(self) -> None:
        listing = Listing()
        listing.script.fail("list_tags", failed(RegistryUnavailableError, "it is down"))
        listing.follow(ListRequest(rule="app", asked_at=listing.clock(), manual=True))
        note = listing.record.manual
        assert note is not None
        assert "it is down" in note.result

    def test_credential_and_listings_are_forgotten_for_a_person(self) -> None:
        listing, forgotten = Listing(), list[Repository]()
        listing.list_tags = ListTags(
            lambda: listing.rules,
            listing.upstream,
            listing.records,
            listing.queue,
            listing.clock,
            forget_access=forgotten.append,
        )
        listing.ask()
        assert forgotten == []
        listing.follow(ListRequest(rule="app", asked_at=listing.clock(), manual=True))
        assert forgotten == [Repository("ghcr.io", "team/app")]
        assert listing.script.count("list_tags") == 2

    def test_checks_name_the_sender_of_the_webhook(self) -> None:
        listing = Listing()
        listing.follow(ListRequest(rule="app", asked_at=listing.clock(), sender="quay"))
        (request,) = listing.queue.sent
        assert (request.reason, request.sender) == ("schedule", "quay")

    def test_repositories_of_a_namespace_are_listed_for_the_same_reason(self) -> None:
        listing = Listing(rule(upstream="ghcr.io/team/*", repository="mirror/{path}", tags=NEWEST))
        listing.follow(ListRequest(rule="app", asked_at=listing.clock(), sender="quay", manual=True))
        (request,) = listing.queue.listings
        assert (request.upstream, request.sender, request.manual) == ("ghcr.io/team/app", "quay", True)


def test_checks_name_the_tags_as_they_are_in_ecr_and_the_record_keeps_upstreams_names() -> None:
    listing = Listing(rule(tags=NEWEST._replace(template="{tag}-mirror")))
    listing.ask()
    assert listing.tags == ["1.2-mirror", "1.1-mirror"]
    assert listing.record.followed == ("1.2", "1.1")


def test_tag_that_is_too_long_under_its_name_in_ecr_is_left_out_and_reported() -> None:
    listing = Listing(
        rule(tags=NEWEST._replace(template="{tag}-mirror", patterns=(TagPattern(PatternKind.GLOB, "*"),)))
    )
    longest = "9" * 125
    listing.serve(longest)
    result = listing.ask()
    assert listing.tags == ["1.2-mirror"]
    assert result.state is State.BLOCKED
    assert f"publishes ghcr.io/team/app:{longest} as {longest}-mirror" in result.reason
