"""Alerts are raised once, after the rule's `alert_after`, and closed once."""

from datetime import timedelta

import pytest

from pullahead.errors import AccessDeniedError, NotFoundError, RateLimitedError, RegistryUnavailableError, Side
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.judge import Observation, judge, with_alerts
from pullahead.mirrors.record import MirrorRecord, RefreshFailure, State
from pullahead.mirrors.refresh_outcome import after_failure
from tests.fakes.memory import FakeClock
from tests.fakes.samples import failed, mirror, root

NEW, OLD, OTHER = root("new"), root("old"), root("other")
FRESH, STALE = Observation(OLD, OLD.digest), Observation(NEW, OLD.digest)
GONE = Observation(failed(NotFoundError), OLD.digest)
UNREACHABLE = Observation(failed(RegistryUnavailableError, "it is down"), OLD.digest)
DENIED = Observation(NEW, failed(AccessDeniedError, "not allowed"))
ALERT_AFTER = timedelta(hours=1)


class History:
    """One mirror's checks, one after the other."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.record: MirrorRecord | None = None
        self.alerts: list[Alert] = []

    def observe(self, observed: Observation, **later: float) -> list[str]:
        """Check again after some time; name the alerts that this made."""
        self.clock.advance(**later)
        after = judge(observed, self.record, mirror(alert_after=ALERT_AFTER), self.clock()).record
        self.alerts += after.pending
        self.record = after.with_changes(pending=())
        return [alert.kind.value for alert in after.pending]


@pytest.mark.parametrize(("observed", "kind"), [(STALE, "STALE"), (UNREACHABLE, "UPSTREAM_UNREACHABLE")])
def test_alert_is_raised_once_exactly_after_alert_after(observed: Observation, kind: str) -> None:
    history = History()
    assert history.observe(FRESH) == []
    assert history.observe(observed, minutes=5) == []
    assert history.observe(observed, minutes=59, seconds=59.999999) == []
    assert history.observe(observed, microseconds=1) == [kind]
    assert history.observe(observed, hours=100) == []


@pytest.mark.parametrize(("observed", "kind"), [(GONE, "GONE"), (DENIED, "BLOCKED")])
def test_blocked_mirror_is_alerted_at_once_and_once(observed: Observation, kind: str) -> None:
    history = History()
    assert history.observe(observed) == [kind]
    assert history.observe(observed, hours=100) == []


REFUSED = failed(AccessDeniedError, "access denied", status=401)
REFUSED.sent = "sent as user robot of the secret pullahead/ghcr"


def test_denied_upstream_is_alerted_at_once_with_the_credential() -> None:
    history = History()
    assert history.observe(Observation(REFUSED, OLD.digest)) == ["ACCESS_DENIED"]
    assert history.observe(Observation(REFUSED, OLD.digest), hours=100) == []
    assert REFUSED.sent in history.alerts[0].detail
    assert history.record is not None
    assert (history.record.state, history.record.denied) == (State.UNKNOWN, REFUSED.sent)
    assert history.observe(FRESH, minutes=5) == ["RECOVERED"]
    assert history.record.denied == ""


def test_another_credential_that_is_denied_is_written_and_another_request_id_is_not() -> None:
    first, same, other = (failed(AccessDeniedError, cause, status=401) for cause in ("no (1)", "no (2)", "no (3)"))
    first.sent = same.sent = "sent without a credential"
    other.sent = REFUSED.sent
    history = History()
    history.observe(Observation(first, OLD.digest))
    before = history.record
    history.observe(Observation(same, OLD.digest), minutes=5)
    assert history.record is not None
    assert history.record.says_the_same_as(before)
    history.observe(Observation(other, OLD.digest), minutes=5)
    assert not history.record.says_the_same_as(before)


@pytest.mark.parametrize(("side", "kind"), [(Side.UPSTREAM, "ACCESS_DENIED"), (Side.TARGET, "BLOCKED")])
def test_refresh_that_was_denied_is_alerted_by_the_side_that_denied_it(side: Side, kind: str) -> None:
    history = History()
    history.observe(STALE)
    assert history.record is not None
    error = failed(AccessDeniedError, "no: at the upstream failed: nothing", side)
    after = after_failure(history.record, NEW.digest, "AccessDeniedError", str(error), history.clock())
    alerted = with_alerts(history.record, after, ALERT_AFTER, history.clock())
    assert [alert.kind.value for alert in alerted.pending] == [kind]


def test_tag_that_was_never_found_is_no_lost_tag() -> None:
    history = History()
    never = Observation(failed(NotFoundError, "not found"), None)
    assert history.observe(never) == ["NOT_FOUND"]
    assert history.alerts[0].detail.startswith("upstream has no tag `1.0`; check its spelling (test of ghcr.io")
    assert history.observe(never, hours=100) == []
    assert history.observe(FRESH, minutes=5) == ["RECOVERED"]
    assert history.observe(GONE, minutes=5) == ["GONE"]


def test_absence_that_an_older_version_reported_as_gone_is_not_reported_again() -> None:
    history = History()
    never = Observation(failed(NotFoundError), None)
    history.observe(never)
    assert history.record is not None
    history.record = history.record.with_changes(alerted=(AlertKind.GONE,))
    assert history.observe(never, hours=1) == []


def test_recovery_is_reported_once_for_each_open_alert() -> None:
    history = History()
    history.observe(UNREACHABLE)
    assert history.observe(UNREACHABLE, hours=2) == ["UPSTREAM_UNREACHABLE"]
    assert history.observe(STALE, minutes=5) == []
    assert history.observe(STALE, hours=1) == ["STALE"]
    assert history.observe(FRESH, minutes=5) == ["RECOVERED", "RECOVERED"]
    assert [alert.of for alert in history.alerts[-2:]] == [AlertKind.UPSTREAM_UNREACHABLE, AlertKind.STALE]
    assert history.observe(FRESH, minutes=5) == []


def test_recovery_names_when_the_mirror_stopped_being_fresh() -> None:
    history = History()
    history.observe(STALE)
    began = history.clock()
    history.observe(STALE, hours=2)
    history.observe(FRESH, hours=1)
    recovered = history.alerts[-1]
    assert (recovered.kind, recovered.since, recovered.at) == (AlertKind.RECOVERED, began, history.clock())


def test_short_trouble_raises_neither_alert_nor_recovery() -> None:
    history = History()
    assert history.observe(UNREACHABLE) == []
    assert history.observe(FRESH, minutes=30) == []


def test_trouble_after_a_recovery_is_alerted_again() -> None:
    history = History()
    assert history.observe(GONE) == ["GONE"]
    assert history.observe(FRESH, minutes=5) == ["RECOVERED"]
    assert history.observe(GONE, minutes=5) == ["GONE"]


def test_changing_states_do_not_restart_alert_after() -> None:
    history = History()
    history.observe(STALE)
    for _ in range(5):
        assert history.observe(UNREACHABLE, minutes=5) == []
        assert history.observe(STALE, minutes=5) == []
    assert history.observe(UNREACHABLE, minutes=10) == ["UPSTREAM_UNREACHABLE"]


def test_alternating_states_do_not_repeat_an_alert() -> None:
    history = History()
    history.observe(STALE)
    told = [kind for _ in range(5) for kind in history.observe(UNREACHABLE, hours=2) + history.observe(STALE, hours=2)]
    assert told == ["UPSTREAM_UNREACHABLE"]


def test_failed_request_for_a_long_stale_mirror_raises_no_other_alert() -> None:
    history = History()
    history.observe(STALE)
    assert history.observe(STALE, hours=5) == ["STALE"]
    assert history.observe(UNREACHABLE, minutes=5) == []
    began = history.clock()
    assert history.observe(UNREACHABLE, hours=1) == ["UPSTREAM_UNREACHABLE"]
    assert history.alerts[-1].since == began


def test_first_refresh_after_an_outage_is_awaited_before_an_alert() -> None:
    history = History()
    history.observe(UNREACHABLE)
    history.observe(UNREACHABLE, hours=5)
    assert history.observe(STALE, minutes=5) == []
    assert history.observe(STALE, minutes=59) == []
    assert history.observe(STALE, minutes=1) == ["STALE"]


def test_refresh_that_failed_before_an_outage_is_alerted_after_it() -> None:
    history = History()
    history.observe(STALE)
    assert history.record is not None
    failure = RefreshFailure(NEW.digest, "StorageError", "no", False, 1, history.clock())
    history.record = history.record.with_changes(failure=failure)
    history.observe(UNREACHABLE, hours=2)
    assert history.observe(STALE, minutes=5) == ["STALE"]
    assert history.alerts[-1].detail == "no"


def test_alert_names_its_start_and_its_cause() -> None:
    history = History()
    began = history.clock()
    history.observe(UNREACHABLE)
    history.observe(UNREACHABLE, hours=3)
    alert = history.alerts[0]
    assert (alert.since, alert.at) == (began, history.clock())
    assert "it is down" in alert.detail


LIMITED = Observation(failed(RateLimitedError, "too many requests", status=429), OLD.digest)


class LiedAbout(History):
    """A mirror whose upstream sends wrong bytes."""

    def fail(self, kind: str = "DigestMismatchError", **later: float) -> list[str]:
        """Let a refresh fail after some time; name the alerts that this made."""
        self.clock.advance(**later)
        assert self.record is not None
        wanted = self.record.upstream_digest
        assert wanted is not None
        after = after_failure(self.record, wanted, kind, "it fails", self.clock())
        after = with_alerts(self.record, after, ALERT_AFTER, self.clock())
        self.alerts += after.pending[len(self.record.pending) :]
        self.record = after
        return [alert.kind.value for alert in after.pending]

    def send(self) -> None:
        """Let the review send what is pending."""
        assert self.record is not None
        self.record = self.record.with_changes(pending=())


def test_upstream_that_sends_wrong_bytes_again_and_again_is_one_alert_and_one_recovery() -> None:
    history = LiedAbout()
    history.observe(FRESH)
    history.observe(STALE, minutes=10)
    assert history.fail() == ["BLOCKED"]
    history.send()
    for number in range(20):
        moved = Observation(root(f"lie {number}"), OLD.digest)
        assert history.observe(moved, minutes=10) == []
        assert history.fail(seconds=5) == []
    assert history.observe(Observation(OLD, OLD.digest), minutes=10) == ["RECOVERED"]


def test_mirror_that_waits_after_wrong_bytes_of_several_digests_is_one_alert() -> None:
    history = LiedAbout()
    history.observe(STALE)
    for number in range(4):
        history.observe(Observation(root(f"lie {number}"), OLD.digest), minutes=10)
        history.fail()
        history.send()
    waits = Observation(root("another"), OLD.digest)
    assert [kind for _ in range(24) for kind in history.observe(waits, hours=1)] == []
    assert [alert.kind for alert in history.alerts] == [AlertKind.BLOCKED]


def test_mirror_that_stays_stale_for_another_reason_after_it_was_blocked_is_told() -> None:
    history = LiedAbout()
    history.observe(STALE)
    history.fail()
    history.send()
    history.observe(Observation(OTHER, OLD.digest), hours=1)
    assert history.fail("StorageError") == []
    assert history.observe(Observation(OTHER, OLD.digest), minutes=59) == []
    assert history.observe(Observation(OTHER, OLD.digest), minutes=1) == ["STALE"]
    assert history.alerts[-1].detail == "it fails"


def test_mirror_that_was_told_to_be_stale_and_is_blocked_is_told_since_a_person_must_act() -> None:
    history = LiedAbout()
    history.observe(STALE)
    assert history.observe(STALE, hours=1) == ["STALE"]
    assert history.fail() == ["BLOCKED"]


def test_rate_limit_is_alerted_as_rate_limited() -> None:
    history = History()
    history.observe(FRESH)
    assert history.observe(LIMITED, minutes=5) == []
    assert history.observe(LIMITED, hours=1) == ["RATE_LIMITED"]
    assert (history.alerts[-1].error_kind, history.observe(FRESH, minutes=5)) == ("RateLimitedError", ["RECOVERED"])


@pytest.mark.parametrize("kind", ["DeferredError", "RateLimitedError"])
def test_long_deferred_refresh_is_alerted_as_rate_limited(kind: str) -> None:
    history = History()
    history.observe(STALE)
    assert history.record is not None
    failure = RefreshFailure(NEW.digest, kind, "the limit is reached", False, 0, history.clock())
    history.record = history.record.with_changes(failure=failure)
    assert history.observe(STALE, hours=2) == ["RATE_LIMITED"]
    assert history.alerts[-1].detail == "the limit is reached"


def test_overwritten_tag_is_alerted_at_once_with_both_digests() -> None:
    history = History()
    history.observe(FRESH)
    assert history.observe(Observation(OLD, OTHER.digest), minutes=5) == ["DRIFT"]
    assert history.alerts[-1].detail == f"ECR serves {OTHER.digest}, where {OLD.digest} was published"
    assert history.observe(Observation(OLD, OTHER.digest), minutes=5) == []


def test_old_digest_published_by_a_slow_refresh_is_no_drift() -> None:
    history = History()
    history.observe(FRESH)
    assert history.record is not None
    history.record = history.record.with_changes(published_digest=OTHER.digest)  # as the refresh recorded it
    assert history.observe(Observation(OLD, OTHER.digest), minutes=5) == []


def test_change_of_platforms_is_no_drift() -> None:
    history = History()
    history.observe(FRESH)
    assert history.record is not None
    history.record = history.record.with_changes(platforms=("linux/arm64",))
    assert history.observe(Observation(OLD, OTHER.digest), minutes=5) == []
