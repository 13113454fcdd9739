"""The cooldown, case by case: what upstream did, hour by hour, and what the tag may serve then."""

from datetime import timedelta

import pytest

from pullahead.admission.choose import Choice, choose
from pullahead.admission.seen_digests import SeenDigests, begin
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy, FirstCopy, Serve
from tests.fakes.samples import root
from tests.unit.admission.stories import after, at, name_of, told

DAY = 24
POLICY = AdmissionPolicy(min_age=timedelta(days=3))
CURRENT = POLICY._replace(serve=Serve.CURRENT)
DAILY = ", ".join(f"{number * DAY} {name}" for number, name in enumerate("ABCDEF"))


def shown(decided: Choice) -> str:
    """Write a decision as `serve/cooling@hour`."""
    serve = name_of(decided.serve.digest if decided.serve is not None else None)
    if decided.waiting is None or decided.waiting.hold.until is None:
        return serve
    waiting, hold = decided.waiting
    assert hold.until is not None
    return f"{serve}/{name_of(waiting.digest)}@{(hold.until - at(0)) / timedelta(hours=1):g}"


@pytest.mark.parametrize(
    ("story", "hour", "expected"),
    [
        # A first digest
        ("", 0, "-"),
        ("0 A", 0, "-/A@72"),
        ("0 A", 71.999, "-/A@72"),
        ("0 A", 72, "A"),
        # One that follows an admitted one
        ("0 A, 0 +A", 0, "A"),
        ("0 A, 0 +A, 100 B", 100, "A/B@172"),
        ("0 A, 0 +A, 100 B", 172, "B"),
        ("0 A, 0 +A, 100 B, 172 +B, 500 C", 500, "B/C@572"),
        # A tag that is rebuilt daily: each digest in its turn, three days late
        (DAILY, 71, "-/A@72"),
        (DAILY, 5 * DAY, "C/D@144"),
        (f"{DAILY}, 120 +C", 5 * DAY + 1, "C/D@144"),
        ("0 A, 24 B, 48 C, 68 D, 92 E", 48 + 72, "C/D@140"),  # one of them a little early
        ("0 A, 24 B, 48 P, 59 D, 92 E, 125 -P", 48 + 78, "B/D@131"),  # one that is deleted
        # A-B-A: the bad one is taken back, and the good one was admitted
        ("0 A, 0 +A, 100 P, 105 A", 105, "A"),
        ("0 A, 0 +A, 100 P, 105 A", 1000, "A"),
        # ... and comes back: it starts anew
        ("0 A, 0 +A, 100 P, 105 A, 171 P", 172, "A/P@243"),
        ("0 A, 0 +A, 100 P, 105 A, 171 P", 243, "P"),
        # A-B-A where A is still cooling: the time in which it was gone does not count
        ("0 A, 10 P, 20 A", 72, "-/A@82"),
        ("0 A, 10 P, 20 A", 82, "A"),
        # A flip of a moment, and back days later: the time between does not count
        ("0 A, 0 +A, 100 P, 100.01 A, 173 P", 173, "A/P@245"),
        ("0 A, 0 +A, 100 P, 100.01 N, 171 P", 171, "A/P@242.99"),
        # Replaced by a newer release, and still there: nothing tells it from a rebuild
        ("0 A, 0 +A, 700 P, 705 C", 774, "P/C@777"),
        ("0 A, 0 +A, 700 P, 705 C", 777, "C"),
        # ... and deleted
        ("0 A, 0 +A, 700 P, 705 C, 773 -P", 774, "A/C@777"),
        # Taken back by the registry: the tag, or the digest
        ("0 A, 0 +A, 100 P, 105 gone", 180, "-"),
        ("0 A, 0 +A, 100 P, 105 gone, 110 P", 180, "-/P@182"),
        ("0 A, 0 +A, 100 P, 105 gone, 300 A", 300, "-/A@372"),
        ("0 P, 5 gone", 100, "-"),
        ("0 A, 24 P, 48 C, 72 +A, 96 -P", 97, "A/C@120"),
        # Rolled back to what was admitted before
        ("0 A, 0 +A, 100 B, 172 +B, 200 A", 200, "A"),
        ("0 A, 0 +A, 100 B, 172 +B, 180 C, 200 A", 252, "A"),
        # ... and what was taken back then comes back, though it was admitted once
        ("0 A, 0 +A, 100 P, 172 +P, 200 A, 300 P", 300, "A/P@372"),
        ("0 A, 10 P, 82 +P, 200 A", 200, "-/A@262"),
        # Upstream goes on with something newer before the old one was old enough
        ("0 A, 50 B", 71, "-/A@72"),
        ("0 A, 50 B", 72, "A/B@122"),
        ("0 A, 20 B, 40 C", 80, "A/B@92"),
        ("0 A, 20 B, 40 C", 112, "C"),
    ],
)
def test_newest_eligible_digest_is_served(story: str, hour: float, expected: str) -> None:
    assert shown(choose(after(story), POLICY, at(hour))) == expected


@pytest.mark.parametrize(
    ("story", "hour", "expected"),
    [
        ("0 A", 72, "A"),
        (DAILY, 5 * DAY, "-/F@192"),
        ("0 A, 0 +A, 24 B, 48 C", 98, "A/C@120"),
        ("0 A, 0 +A, 24 B, 48 C", 120, "C"),
        ("0 A, 0 +A, 24 B, 96 +B, 97 A", 97, "A"),
    ],
)
def test_replaced_digest_is_not_served_where_only_the_current_may_be(story: str, hour: float, expected: str) -> None:
    assert shown(choose(after(story), CURRENT, at(hour))) == expected


@pytest.mark.parametrize(
    ("story", "never_copied", "expected"),
    [
        ("0 A", True, "A"),
        ("0 A, 1 B", True, "B"),
        ("0 A", False, "-/A@72"),  # ECR has the tag already, or had it
        ("0 A, 0 +A, 1 B", True, "A/B@73"),
        ("0 A, 0.5 gone", True, "-"),
        ("", True, "-"),
    ],
)
def test_first_copy_need_not_wait_where_the_rule_says_so(story: str, never_copied: bool, expected: str) -> None:
    seen, policy = after(story), POLICY._replace(first_copy=FirstCopy.ADMIT)
    assert shown(choose(seen, policy, at(1), never_copied=never_copied)) == expected


def test_first_copy_waits_by_default() -> None:
    assert shown(choose(after("0 A"), POLICY, at(1), never_copied=True)) == "-/A@72"


def test_mirror_that_was_fresh_before_its_rule_demanded_anything_goes_on_serving() -> None:
    seen, _ = told("800 B", begin(root("A"), at(0)))
    assert shown(choose(seen, POLICY, at(801))) == "A/B@872"


def test_lost_record_makes_a_digest_wait_again() -> None:
    assert shown(choose(after("0 A"), POLICY, at(72))) == "A"
    assert shown(choose(SeenDigests(), POLICY, at(72))) == "-"
    assert shown(choose(after("72 A"), POLICY, at(72))) == "-/A@144"


def test_without_a_cooldown_the_current_digest_is_served() -> None:
    assert shown(choose(after("0 A, 1 B"), AdmissionPolicy(), at(1))) == "B"


def test_report_decides_as_enforcement_does() -> None:
    seen = after("0 A, 0 +A, 100 B")
    assert choose(seen, POLICY, at(101)) == choose(seen, POLICY._replace(mode=AdmissionMode.REPORT), at(101))


def test_longer_cooldown_takes_nothing_back_that_was_admitted() -> None:
    seen = after("0 A, 0 +A, 10 B, 82 +B, 90 C")
    assert shown(choose(seen, POLICY._replace(min_age=timedelta(days=30)), at(90))) == "B/C@810"


@pytest.mark.parametrize("hours", [1, 24, 200])
def test_clock_that_jumped_ahead_when_a_digest_was_seen_does_not_starve_it(hours: int) -> None:
    """It was seen at hour 10, by a clock that said more; from hour 11 on clocks are right."""
    seen = after(f"0 A, 0 +A, {10 + hours} B, 11 B")
    assert shown(choose(seen, POLICY, at(11))) == f"A/B@{min(10 + hours, 11) + 72}"
    for hour in range(12, 11 + 72):
        seen, _ = told(f"{hour} B", seen)
        assert shown(choose(seen, POLICY, at(hour))).startswith("A")
    seen, _ = told(f"{10 + hours + 72} B", seen)
    assert shown(choose(seen, POLICY, at(10 + hours + 72))) == "B"


def test_clock_that_is_behind_twice_makes_a_digest_no_older() -> None:
    """It is noticed at hour 2, and not remembered at hour 99 that this was long ago."""
    seen = after("0 A, 0 +A, 90 B, 2 B, 91 B, 89 B")
    (_, known) = seen.seen
    assert known.age(at(89.5)) == timedelta(hours=0.5)


def test_clock_that_was_behind_for_a_check_admits_nothing_early() -> None:
    """At hour 100 a clock says 2."""
    seen = after("0 A, 0 +A, 90 B, 2 B")
    assert shown(choose(seen, POLICY, at(2))) == "A/B@74"
    seen, _ = told("101 B", seen)
    assert shown(choose(seen, POLICY, at(101))) == "A/B@162"
    assert shown(choose(seen, POLICY, at(161))) == "A/B@162"
