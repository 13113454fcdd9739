"""The steps of `pullahead why` in each state, which must not contradict one another."""

from datetime import timedelta
from typing import Any

import pytest

from pullahead.checks.schedule import is_due, next_moment
from pullahead.dashboard.explain import Known, explain
from pullahead.errors import AccessDeniedError, RegistryUnavailableError, Side
from pullahead.messages import ReferrersOutcome, Trouble
from pullahead.mirrors.alert import AlertKind, SentAlert
from pullahead.mirrors.judge import Observation
from pullahead.mirrors.record import LastRefresh, MirrorRecord, Published, RefreshFailure, State
from pullahead.mirrors.referrers import KnownReferrers
from pullahead.oci import Digest
from pullahead.rules.model import NO_REFERRERS, Mirror
from tests.fakes.memory import FakeClock
from tests.fakes.records import fresh, unfresh
from tests.fakes.samples import KEY, UPSTREAM, digest, failed, mirror, root, rule, rules

NOW = FakeClock()()
FOLLOWED = mirror()
A, B = digest("a"), digest("b")
ARM = ("linux/arm64",)


def steps_of(record: MirrorRecord | None, *, followed: Mirror | None = FOLLOWED, **known: Any) -> dict[str, str]:
    steps = explain(KEY, Known(followed, record, **known), rules(None, "r", rule("1.0")), NOW)
    assert len({step.about for step in steps}) == len(steps)
    return {step.about: step.text for step in steps}


def stale(state: State = State.STALE, **more: Any) -> MirrorRecord:
    return unfresh(KEY, state, NOW - timedelta(hours=3), **({"upstream_digest": A, "published_digest": B} | more))


def failure(*, blocking: bool, count: int = 1, hours: float = 5) -> RefreshFailure:
    return RefreshFailure(A, "TagImmutableError", "it is immutable", blocking, count, NOW + timedelta(hours=hours))


def test_rule_step_lists_its_options() -> None:
    followed = mirror(platforms=ARM, immutable=True)
    assert steps_of(stale(), followed=followed)["rule"] == (
        f"app (from file) follows {UPSTREAM}: every 15 min, alert after 1 h, only linux/arm64, immutable"
    )


def test_fresh_mirror_is_explained() -> None:
    steps = steps_of(fresh(KEY, NOW - timedelta(days=2), upstream_digest=A, published_digest=A))
    assert steps["upstream"] == f"{UPSTREAM} serves {A}"
    assert steps["ECR"] == f"ECR serves {A}, which is the same digest"
    assert steps["verdict"] == "FRESH since 2026-11-22 09:00 UTC (2 d): ECR serves what upstream serves"
    assert steps["next"].endswith("a refresh when upstream moves")


def test_stale_mirror_waits_for_its_refresh() -> None:
    steps = steps_of(stale())
    assert steps["ECR"] == f"ECR serves {B}, which is another digest"
    assert steps["next"].startswith("a refresh is running, is waiting, or starts with the next check")
    assert "failed refresh" not in steps


def test_failed_refresh_says_when_it_is_retried() -> None:
    steps = steps_of(stale(failure=failure(blocking=False, count=3)))
    assert steps["failed refresh"] == "TagImmutableError, 3 in a row: it is immutable"
    assert steps["next"] == (
        "retried after 2026-11-24 14:00 UTC, or at once when upstream moves; `pullahead refresh` does not wait"
    )
    assert steps_of(stale(failure=failure(blocking=False, hours=-1)))["next"].startswith("retried at the next check")


def test_blocked_mirror_says_to_fix_the_cause() -> None:
    record = stale(State.BLOCKED, failure=failure(blocking=True), alerted=(AlertKind.BLOCKED,))
    steps = steps_of(record)
    assert "fix the cause first" in steps["next"]
    assert steps["verdict"].endswith("(3 h): it is immutable")
    assert steps["alerts"] == "BLOCKED, not sent yet"


def test_last_alerts_have_their_time_and_whether_they_are_over() -> None:
    last = (SentAlert(AlertKind.STALE, "i", NOW - timedelta(days=2)), SentAlert(AlertKind.BLOCKED, "i", NOW))
    record = stale(State.BLOCKED, failure=failure(blocking=True), alerted=(AlertKind.BLOCKED,), told=last)
    when = [f"{moment.strftime('%Y-%m-%d %H:%M')} UTC" for moment in (NOW - timedelta(days=2), NOW)]
    assert steps_of(record)["alerts"] == f"STALE, {when[0]} (over); BLOCKED, {when[1]}"


def test_expiring_mirror_says_when_its_record_is_deleted() -> None:
    steps = steps_of(stale(expires_at=NOW), followed=None)
    assert f"its record is deleted after {NOW.strftime('%Y-%m-%d %H:%M')} UTC" in steps["next"]


def test_gone_mirror_keeps_its_copy() -> None:
    steps = steps_of(stale(State.GONE, published_digest=A))
    assert steps["upstream"] == f"{UPSTREAM} no longer has the tag; it last served {A}"
    assert "the copy in ECR stays" in steps["next"]


def test_unknown_state_shows_the_error_of_upstream() -> None:
    steps = steps_of(stale(State.UNKNOWN, error="no answer.", error_kind="RegistryTimeoutError"))
    assert steps["upstream"] == f"no answer; it last served {A}"
    assert steps["verdict"].endswith("upstream could not be checked")


def test_mirror_without_a_record_has_its_first_check_next() -> None:
    assert steps_of(None)["next"].endswith(", the first one")
    assert set(steps_of(None)) == {"rule", "next"}
    steps = steps_of(stale(State.MISSING, upstream_digest=None, published_digest=None))
    assert steps["upstream"] == f"{UPSTREAM} has not been checked yet"
    assert steps["ECR"] == "ECR does not have the tag"


def test_selected_platforms_have_their_own_digest() -> None:
    record = fresh(KEY, NOW, upstream_digest=A, published_digest=B, platforms=ARM, filtered=Published(A, ARM, B))
    assert steps_of(record)["ECR"] == f"ECR serves {B}, upstream's index filtered to linux/arm64"


def test_last_refresh_is_explained() -> None:
    last = LastRefresh(NOW - timedelta(days=1), 42.5, 312.0, 123_456, "arn:1")
    assert steps_of(fresh(KEY, NOW, last_refresh=last))["last refresh"] == (
        "2026-11-23 09:00 UTC, 123,456 bytes in 42 s, 5 min after it became stale; arn:1"
    )


def test_paused_rule_does_nothing_next() -> None:
    steps = steps_of(stale(), is_paused=True)
    assert steps["rule"].endswith("; paused")
    assert steps["next"].startswith("nothing until `pullahead resume app`")
    assert steps_of(None, is_paused=True)["next"] == "nothing until the rule is resumed"


def test_mirror_without_a_rule_keeps_its_copy() -> None:
    steps = steps_of(stale(), followed=None)
    assert steps["rule"] == f"no rule follows {KEY}"
    assert steps["next"].startswith("nothing: no rule follows it any more")
    assert steps_of(None, followed=None)["next"].startswith("nothing: add the tag to the rules")


def test_observation_wins_over_the_record() -> None:
    known = fresh(KEY, NOW - timedelta(days=1), upstream_digest=A, published_digest=A)
    steps = steps_of(known, seen=Observation(root("b"), A))
    assert steps["upstream"] == f"{UPSTREAM} serves {B}"
    assert steps["verdict"] == "STALE since 2026-11-24 09:00 UTC (0 s): upstream moved"
    refused = steps_of(known, seen=Observation(root("a"), failed(AccessDeniedError, "no", Side.TARGET)))
    assert refused["verdict"].startswith("BLOCKED")
    silent = steps_of(known, seen=Observation(failed(RegistryUnavailableError, "down"), A))
    assert "down" in silent["upstream"]


@pytest.mark.parametrize("minutes", [0, 7, 14.5, 60])
def test_next_check_is_the_first_one_due(minutes: float) -> None:
    at = NOW + timedelta(minutes=minutes)
    moment = next_moment(mirror(), at)
    assert at < moment <= at + timedelta(minutes=15)
    assert is_due(mirror(), at, moment)
    assert not is_due(mirror(), at, moment - timedelta(seconds=1))


class TestReferrers:
    def steps(self, outcome: ReferrersOutcome | None, *, of: Digest = A, **more: Any) -> dict[str, str]:
        known = None if outcome is None else KnownReferrers(of, NOW, outcome, **more)
        record = fresh(KEY, NOW, upstream_digest=A, published_digest=A, referrers=known)
        return steps_of(record, followed=more.pop("followed", FOLLOWED))

    def test_they_are_counted(self) -> None:
        outcome = ReferrersOutcome("f", 3, 20_480, 1, 2, limits=("it has more than 1000 referrers",))
        assert self.steps(outcome)["referrers"] == (
            "3 in ECR (20.0 KiB), 1 left out by type, 2 of upstream's whole index, not applicable to the platforms; "
            "it has more than 1000 referrers"
        )

    def test_failures_say_why_and_when_they_are_retried(self) -> None:
        trouble = Trouble("ManifestRefusedError", "ECR refuses it.")
        outcome = ReferrersOutcome("f", 1, 500, failed=1, troubles=(trouble,))
        steps = self.steps(outcome, retry_at=NOW + timedelta(hours=5), alerted=True)
        assert steps["referrers"] == "1 in ECR (500 B), 1 failed"
        assert steps["failed referrers"] == ("ManifestRefusedError: ECR refuses it; retried after 2026-11-24 14:00 UTC")
        assert steps["alerts"] == "REFERRERS_FAILED, not sent yet"

    def test_what_is_not_known_is_said(self) -> None:
        assert self.steps(None)["referrers"] == "not looked for yet"
        assert self.steps(ReferrersOutcome("f", 3), of=B)["referrers"] == (
            "those of upstream's new digest are copied with it"
        )

    def test_rule_that_copies_none_is_said(self) -> None:
        record = fresh(KEY, NOW, upstream_digest=A, published_digest=A)
        steps = steps_of(record, followed=mirror()._replace(referrers=NO_REFERRERS))
        assert steps["referrers"] == "not copied: the rule says so"
