"""A failed listing changes the record and raises an alert; it never changes the followed tags."""

from datetime import timedelta
from typing import Any

import pytest

from pullahead.errors import (
    AccessDeniedError,
    ConfigError,
    ListingRefusedError,
    NotFoundError,
    PullaheadError,
    RateLimitedError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    ResponseTooLargeError,
)
from pullahead.mirrors.alert import Alert
from pullahead.mirrors.record import RuleRecord, State
from pullahead.mirrors.rule_record import ListingOutcome, judge_listing, needs_listing, rule_key
from pullahead.rules.mirror_key import RuleKey
from pullahead.rules.model import Rule
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock
from tests.fakes.samples import failed, rule

CHOSEN = ("1.1", "1.0")
ANY = TagSelection(patterns=(TagPattern(PatternKind.GLOB, "*"),))
DOWN = failed(RegistryUnavailableError)


class History:
    """One rule's listings, one after the other."""

    def __init__(self, **changes: Any) -> None:
        self.rule: Rule = rule(tags=ANY, alert_after=timedelta(hours=1), **changes)
        self.clock = FakeClock()
        self.record: RuleRecord | None = None
        self.alerts: list[Alert] = []

    def see(self, chosen: tuple[str, ...] | PullaheadError, **later: float) -> list[str]:
        """List again after some time, well or not; name the alerts that this made."""
        return self.find(
            ListingOutcome(None, chosen) if isinstance(chosen, PullaheadError) else ListingOutcome(chosen), **later
        )

    def find(self, listed: ListingOutcome, **later: float) -> list[str]:
        self.clock.advance(**later)
        after = judge_listing(listed, self.record, self.rule, self.clock())
        self.alerts += after.pending
        self.record = after.with_changes(pending=())
        return [alert.kind.value for alert in after.pending]

    @property
    def known(self) -> RuleRecord:
        assert self.record is not None
        return self.record


def test_selected_tags_are_followed_and_written_once() -> None:
    history = History()
    assert history.see(CHOSEN) == []
    once = history.known
    assert (once.key, once.state, once.followed) == (RuleKey("mirror/app", "app"), State.FRESH, CHOSEN)
    history.see(CHOSEN, hours=5)
    assert history.known.says_the_same_as(once)


def test_changed_selection_is_written() -> None:
    history = History()
    history.see(CHOSEN)
    before = history.known
    history.see(("1.2", "1.1"), minutes=5)
    assert not history.known.says_the_same_as(before)
    assert (history.known.followed, history.known.since) == (("1.2", "1.1"), before.since)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DOWN, State.UNKNOWN),
        (failed(RateLimitedError), State.UNKNOWN),
        (failed(AccessDeniedError), State.UNKNOWN),
        (failed(NotFoundError), State.GONE),
        (failed(ListingRefusedError), State.BLOCKED),
    ],
)
def test_failed_listing_keeps_the_followed_tags(error: PullaheadError, state: State) -> None:
    history = History()
    history.see(CHOSEN)
    history.see(error, minutes=5)
    assert (history.known.state, history.known.followed) == (state, CHOSEN)
    assert (history.known.error_kind, history.known.error) == (type(error).__name__, str(error))


def test_long_failing_listing_raises_one_alert_and_one_recovery() -> None:
    history = History()
    assert history.see(CHOSEN) == []
    assert history.see(DOWN, minutes=5) == []
    assert history.see(DOWN, minutes=59, seconds=59) == []
    assert history.see(DOWN, seconds=1) == ["UPSTREAM_UNREACHABLE"]
    assert history.see(DOWN, hours=9) == []
    assert history.see(CHOSEN, minutes=5) == ["RECOVERED"]
    assert history.see(CHOSEN, minutes=5) == []
    assert history.alerts[0].detail == str(DOWN)
    assert history.alerts[0].since == history.alerts[1].since


@pytest.mark.parametrize("error", [failed(NotFoundError), failed(ListingRefusedError)])
def test_blocked_mirror_is_alerted_at_once_and_once(error: PullaheadError) -> None:
    history = History()
    assert history.see(error) == ["UNLISTED"]
    assert history.see(error, hours=9) == []
    assert history.see(DOWN, hours=9) == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DOWN, "UPSTREAM_UNREACHABLE"),
        (failed(RegistryTimeoutError), "UPSTREAM_UNREACHABLE"),
        (failed(RateLimitedError), "RATE_LIMITED"),
        (failed(ResponseTooLargeError), "UNLISTED"),
    ],
)
def test_trouble_of_the_registry_is_alerted_as_that_of_its_mirrors(error: PullaheadError, kind: str) -> None:
    history = History()
    assert history.see(error) == []
    assert history.see(error, hours=1) == [kind]
    assert history.see(error, hours=9) == []


def test_denied_listing_is_alerted_at_once() -> None:
    history = History()
    assert history.see(failed(AccessDeniedError)) == ["ACCESS_DENIED"]
    assert history.see(DOWN, hours=9) == [], "one subject has one open alert"


def test_partly_usable_listing_is_followed_and_alerted() -> None:
    history = History()
    history.see(("1.0",))
    assert history.find(ListingOutcome(CHOSEN, ConfigError("one has no name")), minutes=5) == ["UNLISTED"]
    assert (history.known.state, history.known.followed) == (State.BLOCKED, CHOSEN)


def test_selection_too_large_for_an_item_is_not_stored() -> None:
    history = History()
    history.see(tuple(f"{number:0128}" for number in range(2000)))
    assert history.known.followed == ()


def test_rules_of_one_repository_have_records_of_their_own() -> None:
    keys = {rule_key(rule(tags=ANY, name=name)) for name in ("a", "quay.io:5000/b")}
    assert set(map(str, keys)) == {"mirror/app (a):*", "mirror/app (quay.io:5000/b):*"}


@pytest.mark.parametrize(
    ("made", "needed"),
    [
        (rule("1.0", "1.1"), False),
        (rule(tags=ANY), True),
        (rule(tags=ANY._replace(names=("1.0",))), True),
        (rule("1.0", upstream="quay.io/team/*"), True),
    ],
)
def test_only_rules_that_select_need_a_listing(made: Rule, needed: bool) -> None:
    assert needs_listing(made) is needed


class TestTooMuch:
    def test_names_that_no_record_holds_are_told_at_once_and_nothing_is_cut(self) -> None:
        history = History()
        history.see(CHOSEN)
        assert history.see(tuple(f"{number:0128}" for number in range(1600)), minutes=15) == ["UNLISTED"]
        assert (history.known.followed, history.known.state) == (CHOSEN, State.BLOCKED)
        assert "whose names are too long to be kept" in history.alerts[0].detail

    def test_what_is_new_is_counted_for_a_day(self) -> None:
        history = History()
        history.see(tuple(map(str, range(1000))))
        assert history.see(tuple(map(str, range(600, 1600))), hours=1) == []
        assert history.see(tuple(map(str, range(1100, 2100))), hours=1) == ["UNLISTED"]
        assert history.known.followed == tuple(map(str, range(600, 1600)))
        assert history.see(tuple(map(str, range(1100, 2100))), hours=22, minutes=30) == ["RECOVERED"]
        assert history.known.followed == tuple(map(str, range(1100, 2100)))

    def test_first_listing_is_not_new(self) -> None:
        history = History()
        assert history.see(tuple(map(str, range(1000)))) == []
        assert history.known.new_count == 0

    def test_unchanged_listing_counts_nothing(self) -> None:
        history = History()
        for _ in range(100):
            history.see(CHOSEN, minutes=15)
        assert history.known.new_count == 0
