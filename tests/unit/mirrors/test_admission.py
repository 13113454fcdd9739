"""What a check makes of a rule that demands a minimum age: what the mirror is judged by, and what is remembered."""

from datetime import timedelta

import pytest

from pullahead.admission.seen_digests import SeenDigests
from pullahead.errors import NotFoundError, PullaheadError, RegistryUnavailableError
from pullahead.mirrors.admission import Admission, admit, refusal
from pullahead.mirrors.record import MirrorRecord, Published, State
from pullahead.mirrors.stored_record import decode_record, encode_record
from pullahead.oci import Descriptor, Digest
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy, FirstCopy
from pullahead.rules.model import Mirror
from tests.fakes.samples import KEY, UPSTREAM, digest, failed, mirror, root
from tests.unit.admission.stories import after, at, name_of

POLICY = AdmissionPolicy(min_age=timedelta(days=3))
AGED = after("0 A, 0 +A, 100 B")


def demanding(policy: AdmissionPolicy | None = POLICY, pin: Digest | None = None) -> Mirror:
    made = mirror()
    return made._replace(admit=policy, upstream=made.upstream._replace(digest=pin))


def record(seen: SeenDigests | None = None, published: str | None = None) -> MirrorRecord:
    serves = digest(published) if published is not None else None
    return MirrorRecord(KEY, UPSTREAM, State.FRESH, at(0), published_digest=serves, admission=seen)


def check(
    answer: str | PullaheadError,
    hour: float,
    seen: SeenDigests | None = None,
    published: str | None = "A",
    policy: AdmissionPolicy = POLICY,
    asked_hour: float = 0,
) -> Admission:
    """Check a mirror at an hour; ECR serves what it did."""
    found = root(answer) if isinstance(answer, str) else answer
    serves = digest(published) if published is not None else None
    return admit(found, serves, record(seen, published), demanding(policy), at(hour), at(asked_hour))


def wanted(found: Admission) -> str:
    return name_of(found.wanted.digest) if isinstance(found.wanted, Descriptor) else "-"


def test_rule_that_demands_nothing_takes_upstreams_answer_and_remembers_nothing() -> None:
    assert admit(root("B"), digest("A"), record(AGED), demanding(None), at(101), at(101)) == Admission(root("B"))


def test_pinned_tag_does_not_wait() -> None:
    pinned = demanding(pin=digest("B"))
    assert admit(root("B"), digest("A"), record(AGED), pinned, at(101), at(101)) == Admission(root("B"))


@pytest.mark.parametrize(("hour", "expected"), [(100, "A"), (171.9, "A"), (172, "B"), (500, "B")])
def test_digest_is_wanted_when_it_is_old_enough(hour: float, expected: str) -> None:
    assert wanted(check("B", hour, AGED)) == expected


def test_tag_that_was_never_copied_waits_or_not_as_the_rule_says() -> None:
    assert check("A", 0, None, None).wanted is None
    assert wanted(check("A", 0, None, None, POLICY._replace(first_copy=FirstCopy.ADMIT))) == "A"


@pytest.mark.parametrize("before", [record(None, "A"), None])
def test_first_copy_is_none_where_ecr_serves_something(before: MirrorRecord | None) -> None:
    policy = demanding(POLICY._replace(first_copy=FirstCopy.ADMIT))
    assert admit(root("B"), digest("A"), before, policy, at(0), at(0)).wanted is None


def test_deleted_record_admits_nothing() -> None:
    """ECR goes on serving A, and B waits for its whole time again."""
    found = admit(root("B"), digest("A"), None, demanding(), at(171), at(171))
    assert found.wanted is None
    assert found.waiting is not None
    assert found.waiting.until == at(171 + 72)


def test_what_ecr_serves_when_the_rule_begins_to_demand_is_admitted() -> None:
    begun = check("A", 10, None)
    assert wanted(begun) == "A"
    assert wanted(check("B", 11, begun.seen)) == "A"


def test_what_ecr_serves_of_some_platforms_is_admitted() -> None:
    known = MirrorRecord(
        *(KEY, UPSTREAM, State.FRESH, at(0)),
        filtered=Published(digest("A"), ("linux/amd64",), digest("small")),
        published_digest=digest("small"),
    )
    found = admit(root("A"), digest("small"), known, demanding(), at(1), at(1))
    assert wanted(found) == "A"


def test_error_of_upstream_changes_nothing() -> None:
    error = failed(RegistryUnavailableError)
    assert check(error, 500, AGED) == Admission(error, AGED)


def test_tag_that_is_gone_takes_back_what_was_not_admitted() -> None:
    found = check(failed(NotFoundError), 105, AGED)
    assert isinstance(found.wanted, NotFoundError)
    assert [name_of(each.digest) for each in found.news] == ["B"]


def test_digest_that_is_taken_back_is_news() -> None:
    found = check("A", 105, AGED)
    assert wanted(found) == "A"
    assert [name_of(each.digest) for each in found.news] == ["B"]


def test_unchanged_answer_changes_no_memory() -> None:
    found = check("B", 120, AGED)
    assert found.seen is AGED


@pytest.mark.parametrize(("hour", "asked_hour"), [(2, 200), (200, 2)])
def test_digest_is_seen_at_the_later_of_two_moments(hour: float, asked_hour: float) -> None:
    found = check("C", hour, AGED, asked_hour=asked_hour)
    assert found.seen is not None
    assert found.seen.seen[-1].first_at == at(200)


def test_report_publishes_as_ever_and_decides_as_if_it_waited() -> None:
    policy = POLICY._replace(mode=AdmissionMode.REPORT)
    first = check("A", 0, None, None, policy)
    assert wanted(first) == "A"
    assert first.waiting is not None
    assert (first.waiting.until, first.waiting.reported) == (at(72), True)
    second = check("A", 72, first.seen, "A", policy)
    moved = check("B", 100, second.seen, "A", policy)
    assert wanted(moved) == "B"
    assert moved.waiting is not None
    assert (name_of(moved.waiting.digest), moved.waiting.until, moved.ahead) == ("B", at(172), None)


def test_enforcement_after_report_does_not_take_back_what_ecr_serves() -> None:
    reported = check("B", 100, after("0 A, 0 +A"), "A", POLICY._replace(mode=AdmissionMode.REPORT))
    known = record(reported.seen, "B").with_changes(waiting=reported.waiting)
    for answer, hour in (("B", 101), ("C", 102)):
        assert wanted(admit(root(answer), digest("B"), known, demanding(), at(hour), at(hour))) == "B"


def test_digest_that_somebody_pushed_under_the_tag_is_not_admitted_by_that() -> None:
    assert wanted(check("B", 120, AGED, "B")) == "A"


@pytest.mark.parametrize(
    ("story", "name", "hour", "expected"),
    [
        ("0 A, 0 +A, 100 B", "B", 172, None),
        ("0 A, 0 +A, 100 B", "A", 171, None),
        ("0 A, 0 +A, 100 B", "B", 171, "first seen at 2026-03-05 04:00"),
        ("0 A, 0 +A, 100 B, 105 A", "B", 172, "upstream has taken it back"),
        ("0 A, 0 +A, 100 B", "C", 500, "was not seen under the tag"),
        ("", "A", 500, "was not seen under the tag"),
        ("0 A, 0 +A, 100 B, 105 C", "B", 178, "the tag may serve"),
        ("0 A, 0 +A, 100 B, 172 +B", "A", 180, "the tag may serve"),
    ],
)
def test_publish_is_told_why_a_tag_may_not_move(story: str, name: str, hour: float, expected: str | None) -> None:
    told = refusal(record(after(story), "A"), demanding(), digest(name), at(hour), published=digest("A"))
    assert (told is None) == (expected is None)
    assert (expected or "") in (told or "")


def test_publish_without_a_record_moves_no_tag() -> None:
    for policy in (POLICY, POLICY._replace(first_copy=FirstCopy.ADMIT)):
        assert refusal(None, demanding(policy), digest("A"), at(500), published=None) is not None


@pytest.mark.parametrize("mode", list(AdmissionMode))
def test_publish_moves_the_tag_at_once_only_where_the_rule_reports(mode: AdmissionMode) -> None:
    told = refusal(None, demanding(POLICY._replace(mode=mode)), digest("A"), at(0), published=None)
    assert (told is None) == (mode is AdmissionMode.REPORT)


def test_publish_moves_a_pinned_tag_and_one_of_a_rule_that_demands_nothing() -> None:
    assert refusal(None, demanding(pin=digest("A")), digest("A"), at(0), published=None) is None
    assert refusal(None, demanding(None), digest("A"), at(0), published=None) is None


def test_first_copy_is_published_only_where_ecr_has_no_tag() -> None:
    mirror_ = demanding(POLICY._replace(first_copy=FirstCopy.ADMIT))
    assert refusal(record(after("0 A")), mirror_, digest("A"), at(1), published=None) is None
    assert refusal(record(after("0 A")), mirror_, digest("A"), at(1), published=digest("X")) is not None


def test_memory_is_stored_with_the_record() -> None:
    known = record(AGED, "A")
    assert decode_record(encode_record(known)) == known
    assert "admission" not in encode_record(record(None, "A"))
