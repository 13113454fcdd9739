"""What is remembered of the digests of a tag: which writes there are, what is told, and what is forgotten."""

import msgspec
import pytest

from pullahead.admission.seen_digests import (
    MAX_BEFORE_ADMITTED,
    MAX_DECISIONS,
    MAX_EARLIER,
    MAX_SEEN,
    MAX_TAKEN_BACK,
    Decision,
    SeenDigests,
    after_admitted,
    after_decision,
    after_gone,
    after_missing,
    after_served,
)
from tests.fakes.samples import digest, root
from tests.unit.admission.stories import after, at, name_of, told


def names(seen: SeenDigests) -> str:
    """Name the digests that are remembered, in their order."""
    return "".join(name_of(each.digest) for each in seen.seen)


@pytest.mark.parametrize("story", ["0 A", "0 A, 5 B", "0 A, 5 B, 6 A", "0 A, 0 +A, 3 B, 4 gone, 5 C"])
def test_digest_that_upstream_goes_on_serving_changes_nothing(story: str) -> None:
    seen = after(story)
    assert seen.current is not None
    assert after_served(seen, seen.current.root, at(1000)).after is seen


def test_tag_that_stays_gone_changes_nothing() -> None:
    seen = after("0 A, 0 +A, 3 B, 4 gone")
    assert after_gone(seen, at(9)) == (seen, ())


@pytest.mark.parametrize(
    ("story", "remembered", "taken_back"),
    [
        ("0 A, 1 B, 2 C", "ABC", ""),
        ("0 A, 1 B, 2 A", "A", "B"),
        ("0 A, 1 B, 2 C, 3 B", "AB", "C"),
        ("0 A, 1 B, 2 C, 3 A", "A", "BC"),
        ("0 A, 1 B, 1 +B, 2 C, 3 A", "A", "C"),  # what was admitted is no news
        ("0 A, 1 B, 2 gone", "", "AB"),
        ("0 A, 0 +A, 1 B, 2 gone", "", "B"),
        ("0 A, 1 B, 2 -A", "B", "A"),
        ("0 A, 0 +A, 1 B, 2 -A", "B", ""),
        ("0 A, 1 B, 2 A, 3 B, 4 A, 5 B, 6 A", "A", "B"),  # told once, though it is taken back again and again
        ("0 A, 1 P, 2 A, 3 N, 4 A, 5 P, 6 A", "A", "PN"),
    ],
)
def test_what_upstream_takes_back_is_forgotten_and_told_once(story: str, remembered: str, taken_back: str) -> None:
    seen, news = told(story)
    assert names(seen) == remembered
    assert "".join(name_of(each.digest) for each in news) == taken_back


def test_what_was_taken_back_is_remembered_with_its_times() -> None:
    _, (news,) = told("0 A, 0 +A, 10 P, 15 A")
    assert (news.digest, news.first_at, news.at) == (digest("P"), at(10), at(15))


def test_published_digest_that_was_not_seen_is_older_than_all_others() -> None:
    seen = after_admitted(after("0 B, 1 C"), root("A"), at(5))
    assert names(seen) == "ABC"
    assert seen.last_admitted == 0
    assert seen.current is not None
    assert seen.current.digest == digest("C")


def test_published_digest_of_a_tag_of_which_nothing_is_known_is_its_current_one() -> None:
    seen = after_admitted(SeenDigests(), root("A"), at(5))
    assert seen.current is not None
    assert seen.current.admitted


def test_digest_that_is_missing_and_unknown_changes_nothing() -> None:
    seen = after("0 A")
    assert after_missing(seen, digest("X"), at(1)) == (seen, ())


def test_memory_has_a_limit_and_keeps_what_is_decided_by() -> None:
    seen = after("0 A, 0 +A")
    for hour in range(1, 500):
        seen, _ = told(f"{hour} {hour}", seen)
        assert len(seen.seen) <= MAX_SEEN
    first, *others, last = (each.digest for each in seen.seen)
    assert (first, others[0], last) == (digest("A"), digest("1"), digest("499"))
    gaps = [(later.first_at - each.first_at) for each, later in zip(seen.seen[1:], seen.seen[2:], strict=False)]
    assert max(gaps) <= 4 * min(gaps[:-1])  # digests of all ages are left


def test_few_digests_before_the_admitted_one_are_remembered() -> None:
    seen = SeenDigests()
    for hour in range(100):
        seen, _ = told(f"{hour} {hour}, {hour} +{hour}", seen)
    assert len(seen.seen) == MAX_BEFORE_ADMITTED + 1


def test_upstream_that_goes_back_to_a_digest_that_was_forgotten_takes_back_what_came_after_it() -> None:
    seen = SeenDigests()
    for hour in range(100):
        seen, _ = told(f"{hour} {hour}, {hour} +{hour}", seen)
    seen, _ = told("100 P, 101 N", seen)
    seen, news = told("102 5", seen)
    assert [name_of(each.digest) for each in news] == ["P", "N"]
    assert [each.digest for each in seen.seen] == [digest("5")]
    assert not seen.seen[0].admitted


def test_little_of_what_is_forgotten_is_remembered() -> None:
    seen = SeenDigests()
    for hour in range(MAX_EARLIER + 50):
        seen, _ = told(f"{hour} {hour}, {hour} +{hour}", seen)
    assert len(seen.earlier) == MAX_EARLIER
    assert all(len(each) == 8 for each in seen.earlier)


def test_few_digests_that_were_taken_back_are_remembered() -> None:
    seen = after("0 A, 0 +A")
    for hour in range(1, 100):
        seen, _ = told(f"{hour} {hour}, {hour}.5 A", seen)
    assert [each.digest for each in seen.taken_back] == [digest(str(hour)) for hour in range(100)[-MAX_TAKEN_BACK:]]


def test_full_memory_is_small_when_it_is_stored() -> None:
    seen = after("0 A, 0 +A")
    for hour in range(1, 200):
        seen, _ = told(f"{hour} {hour}, {hour}.5 A, {hour + 0.6} {hour}", seen)
    for hour in range(200, 400):
        seen, _ = told(f"{hour} {hour}", seen)
    stored = msgspec.json.encode(seen)
    assert len(seen.seen) == MAX_SEEN
    assert len(stored) < 12_000
    assert msgspec.json.decode(stored, type=SeenDigests) == seen


def test_rejection_is_remembered_whatever_is_admitted_later() -> None:
    seen = after_decision(SeenDigests(), Decision(digest("bad"), False, "ada", at(0)))
    for number in range(2 * MAX_DECISIONS):
        seen = after_decision(seen, Decision(digest(str(number)), True, "ada", at(number)))
    rejected, newest = seen.decision_of(digest("bad")), seen.decision_of(digest(str(2 * MAX_DECISIONS - 1)))
    assert rejected is not None
    assert newest is not None
    assert (rejected.admits, newest.admits, len(seen.decisions)) == (False, True, MAX_DECISIONS)


def test_number_of_rejections_is_bounded() -> None:
    seen = SeenDigests()
    for number in range(MAX_DECISIONS + 1):
        seen = after_decision(seen, Decision(digest(str(number)), False, "ada", at(number)))
    assert len(seen.decisions) == MAX_DECISIONS
    assert seen.decision_of(digest(str(MAX_DECISIONS))) is not None
