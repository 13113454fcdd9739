"""What is remembered of referrers, when late ones are looked for, and when people are told of failures."""

from datetime import UTC, datetime, timedelta

import pytest

from pullahead.messages import ReferrersOutcome, Trouble
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.mirrors.referrers import (
    KnownReferrers,
    after_referrers,
    after_trouble,
    due_alert,
    is_look_due,
    is_retry_due,
)
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.rules.model import NO_REFERRERS, ReferrersPolicy
from tests.fakes.samples import KEY, UPSTREAM, digest

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
GOOD = ReferrersOutcome("f1", 2, 500)
DOWN = Trouble("RegistryUnavailableError", "upstream is down")
REFUSED = Trouble("ManifestRefusedError", "ECR refuses it")
ALL, EVERY = ReferrersPolicy(), timedelta(minutes=15)
ALERT_AFTER = timedelta(hours=1)


def failing(*troubles: Trouble) -> ReferrersOutcome:
    return ReferrersOutcome("f1", 1, 300, failed=len(troubles), troubles=troubles)


def known(outcome: ReferrersOutcome = GOOD, at: datetime = NOW, execution: str = "run-1") -> KnownReferrers:
    return after_referrers(None, digest("new"), outcome, execution, at)


def alerts_of(each: KnownReferrers, at: datetime) -> list[AlertKind]:
    alert = due_alert(each, KEY, UPSTREAM, ALERT_AFTER, at)
    return [alert.about] if alert is not None else []


class TestRemembering:
    def test_good_outcome_is_not_retried(self) -> None:
        assert (known().tries, known().retry_at, known().failing_since) == (0, None, None)
        assert not is_retry_due(known(), NOW + timedelta(days=9))

    def test_failure_is_retried_after_a_longer_time_each_time(self) -> None:
        waits = []
        each, now = known(failing(DOWN)), NOW
        for number in range(10):
            assert each.retry_at is not None
            assert each.failing_since == NOW
            waits.append(each.retry_at - now)
            now = each.retry_at
            each = after_referrers(each, digest("new"), failing(DOWN), f"again-{number}", now)
        minutes = [wait / timedelta(minutes=1) for wait in waits]
        assert minutes == [5, 10, 20, 40, 80, 160, 320, 360, 360, 360]

    def test_same_outcome_recorded_twice_counts_once(self) -> None:
        once = known(failing(DOWN))
        assert after_referrers(once, digest("new"), failing(DOWN), "run-1", NOW + timedelta(hours=1)) == once

    def test_age_of_a_digest_begins_when_it_was_first_published(self) -> None:
        later = after_referrers(known(), digest("new"), GOOD, "run-2", NOW + timedelta(hours=5))
        assert later.since == NOW
        other = after_referrers(later, digest("newer"), GOOD, "run-3", NOW + timedelta(hours=6))
        assert other.since == NOW + timedelta(hours=6)

    def test_copy_that_fails_as_a_whole_keeps_what_was_copied(self) -> None:
        after = after_trouble(known(), digest("new"), DOWN, "run-2", NOW)
        assert (after.outcome.copied, after.outcome.failed, after.outcome.troubles) == (2, 1, (DOWN,))
        assert after.outcome.fingerprint == "f1"

    def test_record_is_stored_and_read_again(self) -> None:
        record = MirrorRecord(KEY, UPSTREAM, State.FRESH, NOW, referrers=known(failing(REFUSED)))
        assert decode_record(encode_record(record)) == record

    def test_record_of_an_older_version_knows_none(self) -> None:
        text = encode_record(MirrorRecord(KEY, UPSTREAM, State.FRESH, NOW)).replace(',"referrers":null', "")
        assert "referrers" not in text
        record = decode_record(text)
        assert isinstance(record, MirrorRecord)
        assert record.referrers is None


class TestAlerts:
    def test_no_alert_where_all_are_copied(self) -> None:
        assert alerts_of(known(), NOW + timedelta(days=1)) == []

    def test_what_hardly_passes_is_alerted_at_once(self) -> None:
        assert alerts_of(known(failing(DOWN, REFUSED)), NOW) == [AlertKind.REFERRERS_FAILED]

    def test_what_may_pass_is_alerted_after_alert_after(self) -> None:
        each = known(failing(DOWN))
        assert alerts_of(each, NOW + ALERT_AFTER - timedelta(seconds=1)) == []
        assert alerts_of(each, NOW + ALERT_AFTER) == [AlertKind.REFERRERS_FAILED]

    def test_alert_says_since_when_and_why(self) -> None:
        alert = due_alert(known(failing(REFUSED)), KEY, UPSTREAM, ALERT_AFTER, NOW + timedelta(minutes=3))
        assert alert is not None
        assert (alert.since, alert.detail, alert.error_kind) == (NOW, REFUSED.text, REFUSED.kind)

    def test_record_has_the_alert_open_until_all_are_copied(self) -> None:
        record = MirrorRecord(KEY, UPSTREAM, State.FRESH, NOW)
        assert record.open_alerts == ()
        each = KnownReferrers(digest("new"), NOW, failing(REFUSED), alerted=True)
        assert record.with_changes(referrers=each).open_alerts == (AlertKind.REFERRERS_FAILED,)


class TestLooks:
    """Checks come every 15 minutes; which of them look for late referrers?"""

    def looks(self, policy: ReferrersPolicy, each: KnownReferrers | None, *, after: timedelta, until: timedelta) -> int:
        at, count = NOW + after, 0
        while at <= NOW + until:
            count += is_look_due(each, policy, (at - EVERY, at), 0.3)
            at += EVERY
        return count

    def test_with_each_check_for_an_hour_then_hourly_for_a_day_then_daily(self) -> None:
        hour, day = timedelta(hours=1), timedelta(days=1)
        assert self.looks(ALL, known(), after=EVERY, until=hour) == 4
        assert self.looks(ALL, known(), after=hour + EVERY, until=day) == 23
        assert self.looks(ALL, known(), after=day + EVERY, until=10 * day) == 9

    @pytest.mark.parametrize("shift", [0, 1, 7, 14])
    def test_no_look_is_missed_or_made_twice_wherever_checks_are(self, shift: int) -> None:
        moved = timedelta(minutes=shift)
        assert self.looks(ALL, known(), after=timedelta(days=2) + moved, until=timedelta(days=12) + moved) in (10, 11)

    def test_mirror_that_was_never_looked_at_is_looked_at_once_a_day(self) -> None:
        assert self.looks(ALL, None, after=timedelta(), until=timedelta(days=1) - EVERY) == 1

    def test_late_ends_the_looks(self) -> None:
        policy = ReferrersPolicy(late=timedelta(hours=3))
        assert self.looks(policy, known(), after=EVERY, until=timedelta(days=5)) == 4 + 2

    @pytest.mark.parametrize("policy", [NO_REFERRERS, ReferrersPolicy(late=timedelta())])
    def test_never_is_never(self, policy: ReferrersPolicy) -> None:
        assert self.looks(policy, known(), after=EVERY, until=timedelta(days=2)) == 0
        assert self.looks(policy, None, after=EVERY, until=timedelta(days=2)) == 0
