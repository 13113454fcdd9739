"""What is put back into the queue, and when: bounded, and never beside what the schedule queues again."""

from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.checks.put_back import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Postponed,
    PutBack,
    put_back_checks,
    put_back_listing,
)
from pullahead.checks.timetable import next_check, next_listing
from pullahead.messages import CheckRequest, ListRequest
from pullahead.rules.model import Mirror, Rules
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.memory import FakeClock
from tests.fakes.samples import REPOSITORY, mirror, rule, rules

NOW = FakeClock()()
CHOOSING = rule(tags=TagSelection(names=("named",), patterns=(TagPattern(PatternKind.GLOB, "*"),)))
intervals = st.integers(60, 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))


def request(asked_at: datetime, *tags: str, **more: Any) -> CheckRequest:
    values: dict[str, Any] = {"reason": "schedule", "repository": REPOSITORY, "asked_at": asked_at}
    return CheckRequest(tags=tags or ("1.0",), **(values | more))


def put_back(
    asked: CheckRequest, seconds: float | None, now: datetime, known: Rules | None = None, *mirrors: Mirror
) -> list[PutBack]:
    """Put all tags of a request back."""
    known = known or rules()
    postponed = [Postponed(each, seconds) for each in mirrors or known.mirrors]
    return list(put_back_checks(asked, postponed, known, now))


def daily(tag: str = "1.0") -> Mirror:
    return mirror(tag, check_every=timedelta(days=1))


def after_its_time(followed: Mirror) -> datetime:
    """Return a moment at which the mirror's next time is a whole interval away."""
    return next_check(followed, NOW)


class TestDelay:
    @given(st.floats(0, 10_000), st.integers(0, 1000))
    def test_delay_is_as_long_as_the_registry_asks_and_doubles_each_time(self, seconds: float, times: int) -> None:
        now = after_its_time(daily()) + timedelta(seconds=1)
        asked = request(now, postponed=times)
        (found,) = put_back(asked, seconds, now, rules([daily()]))
        assert found.request == request(now, postponed=times + 1)
        wanted = max(min(10 * 2**times, LONGEST_SECONDS), seconds)
        assert min(wanted, LONGEST_SECONDS) <= found.delay_seconds <= min(1.5 * wanted + 1, LONGEST_SECONDS)

    @given(st.integers(0, 900))
    def test_delay_with_which_the_schedule_queues_a_message_does_not_count(self, delay: int) -> None:
        now = after_its_time(daily()) + timedelta(seconds=delay)
        (found,) = put_back(request(after_its_time(daily())), 0, now, rules([daily()]))
        assert found.delay_seconds <= 15

    @pytest.mark.parametrize("reason", ["manual", "push", "webhook"])
    def test_event_that_a_rate_holds_up_comes_again_several_times_in_the_first_minute(self, reason: str) -> None:
        now = asked_at = after_its_time(daily())
        asked: Any = request(asked_at, reason=reason)
        for _ in range(3):
            (found,) = put_back(asked, 1, now, rules([daily()]))
            asked, now = found.request, now + timedelta(seconds=found.delay_seconds)
        assert now - asked_at <= timedelta(seconds=60)

    def test_messages_that_were_put_back_together_come_apart(self) -> None:
        now = after_its_time(daily())
        delays = {
            each.delay_seconds
            for number in range(50)
            for name in [f"mirror/{number}"]
            for each in put_back(request(now, repository=name), 100, now, rules([daily()._replace(repository=name)]))
        }
        assert len(delays) > 20

    def test_what_there_was_no_time_for_comes_again_at_once(self) -> None:
        now = after_its_time(mirror())
        assert put_back(request(now), None, now) == [PutBack(request(now), 0)]

    def test_tags_that_were_not_asked_for_other_reasons_come_apart(self) -> None:
        now = after_its_time(daily())
        known = rules([daily("a"), daily("b"), daily("c")])
        postponed = [Postponed(daily("a"), 100), Postponed(daily("b"), None), Postponed(daily("c"), 100)]
        found = list(put_back_checks(request(now, "a", "b", "c", "d"), postponed, known, now))
        tags = {each.request.tags: each.checks for each in found if isinstance(each.request, CheckRequest)}
        assert tags == {("a", "c"): 2, ("b",): 1}


class TestSchedule:
    @given(intervals, st.integers(0, 10**6), st.none() | st.floats(0, 1000))
    def test_nothing_comes_again_once_the_schedule_has_queued_it_anew(
        self, every: timedelta, ago: int, seconds: float | None
    ) -> None:
        followed = mirror(check_every=every)
        asked = request(NOW - timedelta(seconds=ago))
        for each in put_back(asked, seconds, NOW, rules([followed])):
            assert NOW + timedelta(seconds=each.delay_seconds) < next_check(followed, asked.asked_at)

    @pytest.mark.parametrize(("every", "most"), [(timedelta(minutes=15), 6), (timedelta(days=1), 110)])
    def test_message_that_is_never_let_through_comes_again_a_bounded_number_of_times(
        self, every: timedelta, most: int
    ) -> None:
        followed = mirror(check_every=every)
        known, asked_at = rules([followed]), after_its_time(followed)
        now, times, asked = asked_at, 0, request(asked_at)
        while found := put_back(asked, 0, now, known):
            now += timedelta(seconds=found[0].delay_seconds)
            assert isinstance(found[0].request, CheckRequest)
            asked, times = found[0].request, times + 1
        assert 3 <= times <= most
        assert every / 3 < now - asked_at < every

    def test_tag_that_a_listing_selects_comes_again_until_the_next_listing(self) -> None:
        known = rules([], "r", CHOOSING._replace(check_every=timedelta(days=1)))
        selected, listed_at = known.rules[0].mirror("chosen"), next_listing(known.rules[0], NOW)
        (found,) = put_back(request(listed_at, "chosen"), 60, listed_at, known, selected)
        assert found.delay_seconds >= 60
        late = listed_at + timedelta(days=1, seconds=-30)
        assert put_back(request(listed_at, "chosen"), 60, late, known, selected) == []

    @pytest.mark.parametrize("reason", ["push", "delete", "cache", "webhook", "pull"])
    def test_event_is_put_back_as_settled(self, reason: Literal["push", "delete", "cache", "webhook", "pull"]) -> None:
        now = after_its_time(mirror())
        (found,) = put_back(request(now, reason=reason), 1, now)
        assert found.request == request(now, reason=reason, settled=True, postponed=1)

    @pytest.mark.parametrize("reason", ["schedule", "manual"])
    def test_check_without_an_event_is_put_back_as_it_is(self, reason: Literal["schedule", "manual"]) -> None:
        now = after_its_time(mirror())
        (found,) = put_back(request(now, reason=reason), 1, now)
        assert found.request == request(now, reason=reason, postponed=1)


class TestListing:
    KNOWN = rules([], "r", CHOOSING)
    LISTED_AT = next_listing(CHOOSING, NOW)

    def listing(self, seconds: float | None, waited: timedelta) -> PutBack | None:
        asked = ListRequest(rule="app", asked_at=self.LISTED_AT)
        return put_back_listing(asked, seconds, self.KNOWN, self.LISTED_AT + waited)

    def test_listing_is_put_back_until_the_next_one(self) -> None:
        found = self.listing(20, timedelta())
        assert found is not None
        assert (found.request, found.checks) == (ListRequest(rule="app", asked_at=self.LISTED_AT), 1)
        assert SHORTEST_SECONDS <= found.delay_seconds <= 1.5 * SHORTEST_SECONDS
        assert self.listing(20, timedelta(minutes=14)) is None
        assert self.listing(2000, timedelta()) is None

    def test_listing_without_time_comes_again_at_once(self) -> None:
        found = self.listing(None, timedelta(minutes=14))
        assert found is not None
        assert found.delay_seconds == 0
        assert self.listing(None, timedelta(minutes=15)) is None

    def test_listing_of_a_removed_rule_is_not_put_back(self) -> None:
        assert put_back_listing(ListRequest(rule="gone", asked_at=NOW), 20, self.KNOWN, NOW) is None
