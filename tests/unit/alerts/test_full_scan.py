"""The full scan: in segments, by rules that may change meanwhile, and as a check of the index of reviews."""

from collections.abc import Callable, Iterator
from datetime import timedelta

from pullahead.alerts import full_scan
from pullahead.alerts.full_scan import MAX_SEGMENT, Segment
from pullahead.alerts.review import Limit
from pullahead.errors import ConflictError, StorageError
from pullahead.mirrors.alert import Alert, AlertKind
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.mirrors.rule_record import rule_key
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.tag_patterns import PatternKind, TagPattern, TagSelection
from tests.fakes.records import fresh, listing_record, unfresh
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, mirror, rule, rules
from tests.unit.alerts.test_review import KnownRules

LATE = timedelta(hours=2)


def stale(known: KnownRules, key: MirrorKey | str = KEY) -> MirrorRecord:
    """Make the record of a mirror that is stale, and that has an alert to send."""
    since = known.clock() - LATE
    record = unfresh(key, State.STALE, since, alerted=(AlertKind.STALE,))
    return record.with_changes(pending=(Alert(AlertKind.STALE, record.key, UPSTREAM, since, known.clock()),))


def time_for(calls: int) -> Callable[[], float]:
    """Have time until it was asked for so many times."""
    left: Iterator[float] = iter([300.0] * calls)
    return lambda: next(left, 0.0)


def with_more_than_a_segment() -> KnownRules:
    """Have records for a segment and two more, by rules that may retire nothing."""
    known = KnownRules()
    known.keep(*(fresh(f"{REPOSITORY}:3.{number:05}", known.clock()) for number in range(MAX_SEGMENT)))
    known.rules_state.content = None
    return known


def test_records_of_an_older_version_are_found_by_the_first_review_and_told_by_the_next() -> None:
    """They have no attributes for the index, which the update of the stack has made empty."""
    known = KnownRules()
    known.keep(stale(known))
    known.records.unindexed = {*known.records.stored}
    first = known.review()
    assert (first.lateness, first.scan.repaired, known.alerts.kinds) == ((0, 0.0), 1, [])
    assert known.records.writes == 1  # a mirror that is fresh needs no entry
    second = known.review()
    assert (second.lateness, second.scan.repaired, known.alerts.kinds) == ((1, 7200.0), 0, ["STALE"])


def test_record_that_fell_out_of_the_index_is_found_within_a_day() -> None:
    known = KnownRules()
    known.keep(stale(known))
    known.review()
    known.records.unindexed = {KEY}
    known.beat(hours=23, minutes=59)
    assert known.review().scan == Segment(known.records.scan_state)
    known.beat(minutes=1)
    assert known.review().scan.repaired == 1
    assert known.review().records == 1


def test_record_that_was_written_meanwhile_needs_no_repair() -> None:
    known = KnownRules()
    known.keep(stale(known))
    known.records.unindexed = {KEY}
    known.script.fail("save", ConflictError("changed"))
    reviewed = known.review()
    assert (reviewed.scan.repaired, reviewed.errors) == (0, ())


def test_failed_repair_is_an_error_and_is_tried_again_after_an_hour() -> None:
    known = KnownRules()
    known.keep(stale(known))
    known.records.unindexed = {KEY}
    error = StorageError("throttled")
    known.script.fail("save", error)
    assert known.review().errors == (error,)
    assert known.review(minutes=59).scan.records == 0
    assert known.review(minutes=1).scan.repaired == 1


class TestSegments:
    def test_scan_goes_on_in_the_next_review_and_counts_all(self) -> None:
        known = with_more_than_a_segment()
        assert known.review().scan.records == MAX_SEGMENT
        (second, third) = (known.review(), known.review())
        assert (second.scan.records, third.scan.records) == (2, 0)
        last = known.records.scan_state.last
        assert last is not None
        assert (last.records, last.fresh, last.ended_at) == (MAX_SEGMENT + 2, MAX_SEGMENT + 2, known.clock())

    def test_segment_ends_when_time_runs_short_and_nothing_is_left_out(self) -> None:
        known = KnownRules()
        known.keep(*(fresh(f"{REPOSITORY}:3.{number}", known.clock()) for number in range(1500)))
        known.follow("1.0")
        retired = 0
        for _ in range(12):
            reviewed = known.use_case(time_for(300))
            retired += reviewed.scan.retired
        assert retired == 1501
        assert known.leaving()[0] == f"{REPOSITORY}:2.0"

    def test_error_keeps_what_was_done_and_the_next_review_goes_on(self) -> None:
        known = KnownRules()
        known.script.fail("scan_after", StorageError("throttled"))
        assert [str(error) for error in known.review().errors] == ["throttled"]
        assert known.review().scan.records == 2

    def test_state_that_cannot_be_stored_is_an_error(self) -> None:
        known = KnownRules()
        known.script.fail("save_scan_state", StorageError("throttled"))
        assert [str(error) for error in known.review().errors] == ["throttled"]
        assert known.review().scan.records == 2

    def test_scan_of_more_than_a_day_is_a_limit_that_is_reported(self) -> None:
        known = with_more_than_a_segment()
        assert known.review().limits == ()
        known.clock.advance(hours=24)
        known.script.fail("scan_after", StorageError("throttled"))
        assert known.review().limits == (Limit.SCAN,)

    def test_scan_for_which_no_review_has_time_is_a_limit_that_is_reported(self) -> None:
        known = KnownRules()
        known.review()
        known.beat(hours=47, minutes=59)
        assert known.use_case(lambda: 59.0).limits == ()
        known.beat(minutes=1)
        assert known.use_case(lambda: 59.0).limits == (Limit.SCAN,)
        assert known.review().limits == ()

    def test_scan_is_not_repeated_before_a_day_is_over_unless_rules_change(self) -> None:
        known = KnownRules()
        scanned = [known.review(minutes=5).scan.records for _ in range(3)]
        known.follow("1.0", "2.0", digest="other")
        assert [*scanned, known.review().scan.records] == [2, 0, 0, 2]


class TestRetirement:
    def test_rules_that_change_during_a_scan_retire_nothing_more_in_it(self) -> None:
        known = KnownRules()
        known.keep(*(fresh(f"{REPOSITORY}:3.{number:05}", known.clock()) for number in range(MAX_SEGMENT)))
        known.rules = rules([mirror(tag) for tag in ("1.0", "2.0", *(f"3.{n:05}" for n in range(MAX_SEGMENT)))])
        known.beat()
        known.review()
        known.follow(digest="a mistake")
        assert known.review().scan.retired == 0
        assert known.records.scan_state.current is None
        known.follow("1.0", digest="good")
        assert known.review().scan.retired == full_scan.MAX_RETIRED

    def test_what_comes_before_the_first_followed_record_is_retired_by_a_second_scan(self) -> None:
        known = KnownRules()
        known.keep(*(fresh(f"{REPOSITORY}:0.{number:05}", known.clock()) for number in range(600)))
        known.follow("2.0")
        assert (known.review().scan.retired, known.leaving()) == (
            101,
            [f"{REPOSITORY}:0.{n:05}" for n in range(500, 600)] + [KEY_1],
        )
        assert known.review().scan.retired == 500
        assert known.review().scan.records == 0

    def test_failed_retirement_is_an_error_and_is_tried_again_after_an_hour(self) -> None:
        known = KnownRules()
        known.follow("1.0")
        known.script.fail("save", StorageError("throttled"))
        reviewed = known.review()
        assert (reviewed.scan.retired, [str(error) for error in reviewed.errors]) == (0, ["throttled"])
        known.beat(hours=1)
        assert known.review().scan.retired == 1

    def test_each_tag_is_looked_up_once_and_not_in_a_list(self) -> None:
        number = 1000
        choosing = rule("1.0", tags=TagSelection(names=("1.0",), patterns=(TagPattern(PatternKind.GLOB, "*"),)))
        tags = [CountedTag(f"3.{at}") for at in range(number)]
        known = KnownRules(rules([mirror("1.0")], "rules-1", choosing))
        listing = listing_record(rule_key(choosing), known.clock(), followed=tuple(tags[: number // 2]))
        known.keep(listing, *(fresh(MirrorKey(REPOSITORY, tag), known.clock()) for tag in tags))
        CountedTag.comparisons = 0
        assert known.review().scan.retired == number // 2 + 1
        assert CountedTag.comparisons < 20 * number
        assert known.script.count("load_listings") == 1


class CountedTag(str):
    """A tag that counts how often tags are compared."""

    comparisons = 0
    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        CountedTag.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


KEY_1 = f"{REPOSITORY}:1.0"
