"""What `why` says in each state: upstream, ECR, the verdict and what comes next must not contradict each other."""

from datetime import timedelta
from typing import Any

import pytest

from pullahead.checks.schedule import is_due, next_moment
from pullahead.dashboard.explain import Known, explain
from pullahead.errors import AccessDeniedError, RegistryUnavailableError, Side
from pullahead.mirrors.alert import AlertKind, SentAlert
from pullahead.mirrors.judge import Observation
from pullahead.mirrors.record import LastRefresh, MirrorRecord, Published, RefreshFailure, State
from pullahead.rules.model import Mirror
from tests.fakes.memory import FakeClock
from tests.fakes.samples import KEY, UPSTREAM, digest, failed, mirror, root, rule, rules
from tests.fakes.standing import fresh, unfresh

NOW = FakeClock()()
FOLLOWED = mirror()
A, B = digest("a"), digest("b")
ARM = ("linux/arm64",)


def told(record: MirrorRecord | None, *, followed: Mirror | None = FOLLOWED, **known: Any) -> dict[str, str]:
    steps = explain(KEY, Known(followed, record, **known), rules(None, "r", rule("1.0")), NOW)
    assert len({step.about for step in steps}) == len(steps)
    return {step.about: step.text for step in steps}


def stale(state: State = State.STALE, **more: Any) -> MirrorRecord:
    return unfresh(KEY, state, NOW - timedelta(hours=3), **({"upstream_digest": A, "published_digest": B} | more))


def failure(*, blocking: bool, count: int = 1, hours: float = 5) -> RefreshFailure:
    return RefreshFailure(A, "TagImmutableError", "it is immutable", blocking, count, NOW + timedelta(hours=hours))


def test_rule_says_what_it_wishes() -> None:
    followed = mirror(platforms=ARM, immutable=True)
    assert told(stale(), followed=followed)["rule"] == (
        f"app (from file) follows {UPSTREAM}: every 15 min, alert after 1 h, only linux/arm64, immutable"
    )


def test_fresh_mirror() -> None:
    steps = told(fresh(KEY, NOW - timedelta(days=2), upstream_digest=A, published_digest=A))
    assert steps["upstream"] == f"{UPSTREAM} serves {A}"
    assert steps["ECR"] == f"ECR serves {A}, which is the same"
    assert steps["verdict"] == "FRESH since 2026-11-22 09:00 UTC (2 d): ECR serves what upstream serves"
    assert steps["next"].endswith("a refresh as soon as upstream moves")


def test_stale_mirror_whose_refresh_did_not_fail() -> None:
    steps = told(stale())
    assert steps["ECR"] == f"ECR serves {B}, which is another one"
    assert steps["next"].startswith("a refresh is under way, waits for a slot, or starts with the next check")
    assert "failed refresh" not in steps


def test_refresh_that_is_tried_again_later() -> None:
    steps = told(stale(failure=failure(blocking=False, count=3)))
    assert steps["failed refresh"] == "TagImmutableError, 3 in a row: it is immutable"
    assert steps["next"] == (
        "tried again from 2026-11-24 14:00 UTC on, or at once when upstream moves; `pullahead refresh` does not wait"
    )
    assert told(stale(failure=failure(blocking=False, hours=-1)))["next"].startswith("the next check tries again")


def test_blocked_mirror_wants_a_human() -> None:
    record = stale(State.BLOCKED, failure=failure(blocking=True), alerted=(AlertKind.BLOCKED,))
    steps = told(record)
    assert "mend the cause first" in steps["next"]
    assert steps["verdict"].endswith("(3 h): it is immutable")
    assert steps["told"] == "BLOCKED, not yet"


def test_last_alerts_say_when_and_whether_they_are_over() -> None:
    last = (SentAlert(AlertKind.STALE, "i", NOW - timedelta(days=2)), SentAlert(AlertKind.BLOCKED, "i", NOW))
    record = stale(State.BLOCKED, failure=failure(blocking=True), alerted=(AlertKind.BLOCKED,), told=last)
    when = [f"{moment.strftime('%Y-%m-%d %H:%M')} UTC" for moment in (NOW - timedelta(days=2), NOW)]
    assert told(record)["told"] == f"STALE, {when[0]} (over); BLOCKED, {when[1]}"


def test_mirror_that_is_to_be_forgotten_says_when() -> None:
    steps = told(stale(expires_at=NOW), followed=None)
    assert f"it is forgotten from {NOW.strftime('%Y-%m-%d %H:%M')} UTC on" in steps["next"]


def test_gone_mirror_keeps_its_copy() -> None:
    steps = told(stale(State.GONE, published_digest=A))
    assert steps["upstream"] == f"{UPSTREAM} no longer has the tag; before, it served {A}"
    assert "the copy in ECR stays" in steps["next"]


def test_upstream_that_does_not_answer() -> None:
    steps = told(stale(State.UNKNOWN, error="no answer.", error_kind="RegistryTimeoutError"))
    assert steps["upstream"] == f"no answer; before, it served {A}"
    assert steps["verdict"].endswith("upstream could not be asked")


def test_never_checked_never_answered_never_published() -> None:
    assert told(None)["next"].endswith(", the first one")
    assert set(told(None)) == {"rule", "next"}
    steps = told(stale(State.MISSING, upstream_digest=None, published_digest=None))
    assert steps["upstream"] == f"{UPSTREAM} has not answered yet"
    assert steps["ECR"] == "ECR does not have the tag"


def test_chosen_platforms_have_a_digest_of_their_own() -> None:
    record = fresh(KEY, NOW, upstream_digest=A, published_digest=B, platforms=ARM, filtered=Published(A, ARM, B))
    assert told(record)["ECR"] == f"ECR serves {B}, made of upstream's for linux/arm64"


def test_last_refresh() -> None:
    last = LastRefresh(NOW - timedelta(days=1), 42.5, 312.0, 123_456, "arn:1")
    assert told(fresh(KEY, NOW, last_refresh=last))["last refresh"] == (
        "2026-11-23 09:00 UTC, 123,456 bytes in 42 s, 5 min after it was seen to be late; arn:1"
    )


def test_paused_rule_promises_nothing() -> None:
    steps = told(stale(), is_paused=True)
    assert steps["rule"].endswith("; it is paused")
    assert steps["next"].startswith("nothing until `pullahead resume app`")
    assert told(None, is_paused=True)["next"] == "nothing until the rule is resumed"


def test_mirror_that_no_rule_follows_any_more() -> None:
    steps = told(stale(), followed=None)
    assert steps["rule"] == f"no rule follows {KEY}"
    assert steps["next"].startswith("nothing: no rule follows it any more")
    assert told(None, followed=None)["next"].startswith("nothing: name the tag in the rules")


def test_what_was_seen_just_now_counts_for_more_than_what_is_remembered() -> None:
    known = fresh(KEY, NOW - timedelta(days=1), upstream_digest=A, published_digest=A)
    steps = told(known, seen=Observation(root("b"), A))
    assert steps["upstream"] == f"{UPSTREAM} serves {B}"
    assert steps["verdict"] == "STALE since 2026-11-24 09:00 UTC (0 s): upstream moved"
    refused = told(known, seen=Observation(root("a"), failed(AccessDeniedError, "no", Side.TARGET)))
    assert refused["verdict"].startswith("BLOCKED")
    silent = told(known, seen=Observation(failed(RegistryUnavailableError, "down"), A))
    assert "down" in silent["upstream"]


@pytest.mark.parametrize("minutes", [0, 7, 14.5, 60])
def test_next_moment_is_the_first_at_which_a_check_is_due(minutes: float) -> None:
    at = NOW + timedelta(minutes=minutes)
    moment = next_moment(mirror(), at)
    assert at < moment <= at + timedelta(minutes=15)
    assert is_due(mirror(), at, moment)
    assert not is_due(mirror(), at, moment - timedelta(seconds=1))
