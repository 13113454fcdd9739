"""Which events follow from which change of a record, what they say, and how long they are kept."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.outbox import UNSENT_AFTER, outcome_events_between, with_outcome_events, without_sent
from pullahead.mirrors.outcome_event import OutcomeEvent, OutcomeKind, OutcomeReason, Scan
from pullahead.mirrors.record import LastRefresh, MirrorRecord, Past, Published, State
from pullahead.mirrors.stored_record import decode_record, encode_record
from tests.fakes.samples import KEY, UPSTREAM, digest

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
A, B, C = digest("a"), digest("b"), digest("c")
LATER = NOW + timedelta(minutes=10)
FRESH = MirrorRecord(KEY, UPSTREAM, State.FRESH, NOW, None, upstream_digest=A, published_digest=A)
STALE = FRESH.with_changes(state=State.STALE, since=NOW, unfresh_since=NOW, upstream_digest=B)
LEFT_DELETED = FRESH.with_changes(state=State.DELETED, published_digest=None)  # as its rule says
NEVER_COPIED = MirrorRecord(KEY, UPSTREAM, State.MISSING, NOW, NOW, upstream_digest=A)


def refreshed_to(made: str, *, execution: str = "arn:1", at: datetime = LATER) -> LastRefresh:
    return LastRefresh(at, 30.5, 600.0, 1000, execution, digest(made))


def events(before: MirrorRecord | None, after: MirrorRecord) -> list[OutcomeEvent]:
    return list(with_outcome_events(before, after, "app", LATER).outbox)


def only(before: MirrorRecord | None, after: MirrorRecord) -> OutcomeEvent:
    (event,) = events(before, after)
    return event


def new_events(before: MirrorRecord | None, after: MirrorRecord) -> list[tuple[str, str]]:
    return [(event.kind.name, event.detail.reason.name) for event in events(before, after)]


def left(record: MirrorRecord, state: State, **more: object) -> MirrorRecord:
    """Let a mirror enter a state."""
    return record.with_changes(state=state, since=LATER, unfresh_since=record.unfresh_since or LATER, **more)


class TestStale:
    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            (FRESH, left(FRESH, State.STALE, upstream_digest=B), "UPSTREAM_MOVED"),
            (FRESH, left(FRESH, State.STALE, published_digest=C), "OVERWRITTEN"),
            (FRESH, left(FRESH, State.STALE, platforms=("linux/arm64",)), "PLATFORMS_CHANGED"),
            (FRESH, left(FRESH, State.MISSING, published_digest=None), "DELETED"),
            (LEFT_DELETED, left(LEFT_DELETED, State.MISSING, upstream_digest=B), "UPSTREAM_MOVED"),
            (None, STALE, "UPSTREAM_MOVED"),
            (NEVER_COPIED, left(NEVER_COPIED, State.STALE, published_digest=C), "UPSTREAM_MOVED"),
            (left(FRESH, State.GONE), left(left(FRESH, State.GONE), State.STALE, upstream_digest=B), "UPSTREAM_MOVED"),
            (
                left(FRESH, State.UNKNOWN),
                left(left(FRESH, State.UNKNOWN), State.STALE, published_digest=C),
                "OVERWRITTEN",
            ),
            (
                left(FRESH, State.BLOCKED),
                left(left(FRESH, State.BLOCKED), State.STALE, upstream_digest=B),
                "UPSTREAM_MOVED",
            ),
        ],
    )
    def test_event_is_due_when_a_mirror_falls_behind(
        self, before: MirrorRecord | None, after: MirrorRecord, reason: str
    ) -> None:
        assert new_events(before, after) == [("STALE", reason)]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (FRESH, FRESH),
            (STALE, STALE.with_changes(upstream_digest=C, episode=5)),  # upstream moves on
            (None, NEVER_COPIED),
            (NEVER_COPIED, NEVER_COPIED),
            (STALE, left(STALE, State.MISSING, published_digest=None)),
            (STALE, left(STALE, State.UNKNOWN)),
            (FRESH, LEFT_DELETED),
            (LEFT_DELETED, LEFT_DELETED),
            (STALE, left(STALE, State.BLOCKED)),
            (FRESH, left(FRESH, State.UNKNOWN)),
            (left(STALE, State.UNKNOWN), left(left(STALE, State.UNKNOWN), State.STALE)),
            (left(STALE, State.BLOCKED), left(left(STALE, State.BLOCKED), State.STALE, upstream_digest=C)),
        ],
    )
    def test_no_event_is_due_where_nothing_fell_behind(self, before: MirrorRecord | None, after: MirrorRecord) -> None:
        assert events(before, after) == []

    def test_deleted_then_overwritten_tag_is_reported_once(self) -> None:
        deleted = left(FRESH, State.MISSING, published_digest=None)
        assert new_events(FRESH, deleted) == [("STALE", "DELETED")]
        assert events(deleted, left(deleted, State.STALE, published_digest=C)) == []

    def test_event_names_what_ecr_serves_and_since_when(self) -> None:
        detail = only(FRESH, left(FRESH, State.STALE, upstream_digest=B)).detail
        assert (detail.digest, detail.upstream_digest, detail.since) == (A, B, LATER)
        assert (detail.mirror, detail.repository, detail.tag) == (str(KEY), "mirror/app", "1.0")
        assert (detail.upstream, detail.rule, detail.version) == (UPSTREAM, "app", "1")
        assert b"previous-digest" not in msgspec.json.encode(detail)

    def test_event_of_a_deleted_tag_has_a_previous_digest_alone(self) -> None:
        detail = only(FRESH, left(FRESH, State.MISSING, published_digest=None)).detail
        assert (detail.digest, detail.previous_digest) == (msgspec.UNSET, A)


class TestGone:
    @pytest.mark.parametrize("before", [None, FRESH, STALE, NEVER_COPIED, left(FRESH, State.UNKNOWN)])
    def test_gone_upstream_is_reported_once(self, before: MirrorRecord | None) -> None:
        gone = left(before or FRESH, State.GONE)
        assert new_events(before, gone) == [("GONE", "GONE_UPSTREAM")]
        assert events(gone, gone) == []
        unknown = left(gone, State.UNKNOWN)
        assert events(gone, unknown) == []
        assert events(unknown, left(unknown, State.GONE)) == []

    def test_tag_that_was_never_found_is_no_lost_tag(self) -> None:
        never = MirrorRecord(KEY, UPSTREAM, State.GONE, LATER)
        assert new_events(None, never) == [("GONE", "NEVER_FOUND")]
        assert new_events(None, never.with_changes(published_digest=A)) == [("GONE", "GONE_UPSTREAM")]

    def test_tag_that_came_back_can_be_reported_gone_again(self) -> None:
        back = left(left(FRESH, State.GONE), State.FRESH)
        assert new_events(back, left(back, State.GONE)) == [("GONE", "GONE_UPSTREAM")]

    def test_event_names_when_the_tag_was_gone(self) -> None:
        assert only(STALE, left(STALE, State.GONE)).detail.since == LATER


class TestRecovered:
    def test_recovery_is_reported_where_an_alert_was_open(self) -> None:
        alerted = left(FRESH, State.GONE, alerted=(AlertKind.GONE,)).with_changes(unfresh_since=NOW)
        event = only(alerted, alerted.with_changes(state=State.FRESH, unfresh_since=None, alerted=()))
        assert (event.kind, event.detail.reason) == (OutcomeKind.RECOVERED, OutcomeReason.FRESH_AGAIN)
        assert (event.detail.since, event.detail.lag_seconds) == (NOW, 600.0)

    def test_recovery_is_not_reported_without_an_alert(self) -> None:
        assert events(left(FRESH, State.UNKNOWN), FRESH) == []

    def test_recovery_is_not_reported_before_the_mirror_is_fresh(self) -> None:
        alerted = STALE.with_changes(alerted=(AlertKind.STALE,))
        assert events(alerted, left(alerted, State.UNKNOWN)) == []


class TestRefreshed:
    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            (NEVER_COPIED, {"published_digest": A}, "FIRST_COPY"),
            (STALE, {"published_digest": B}, "UPSTREAM_MOVED"),
            (STALE.with_changes(last_refresh=refreshed_to("a", execution="arn:0")), {}, "UPSTREAM_MOVED"),
            (
                FRESH.with_changes(last_refresh=refreshed_to("a", execution="arn:0"), published_digest=C),
                {"published_digest": A},
                "RESTORED",
            ),
            (
                STALE.with_changes(
                    filtered=Published(B, ("linux/amd64",), C), last_refresh=refreshed_to("c", execution="arn:0")
                ),
                {"published_digest": B},
                "PLATFORMS_CHANGED",
            ),
        ],
    )
    def test_every_publishing_refresh_is_reported(
        self, before: MirrorRecord, after: dict[str, str], reason: str
    ) -> None:
        changed = before.with_changes(**{"published_digest": B, **after, "last_refresh": refreshed_to("x")})
        assert new_events(before, changed) == [("REFRESHED", reason)]

    def test_event_describes_the_refresh(self) -> None:
        scan = Scan(B, {"HIGH": 2}, NOW)
        before = STALE.with_changes(platforms=("linux/amd64",), scan=scan)
        after = before.with_changes(published_digest=B, state=State.FRESH, last_refresh=refreshed_to("b"))
        event = only(before, after)
        assert (event.kind, event.at, event.held) == (OutcomeKind.REFRESHED, LATER, False)
        assert msgspec.json.decode(msgspec.json.encode(event.detail)) == {
            "version": "1",
            "id": event.detail.id,
            "mirror": str(KEY),
            "repository": "mirror/app",
            "tag": "1.0",
            "upstream": UPSTREAM,
            "reason": "upstream-moved",
            "rule": "app",
            "digest": B,
            "previous-digest": A,
            "upstream-digest": B,
            "platforms": ["linux/amd64"],
            "since": "2026-11-24T09:00:00Z",
            "lag-seconds": 600.0,
            "duration-seconds": 30.5,
            "bytes-copied": 1000,
            "execution": "arn:1",
            "scan-findings": {"HIGH": 2},
        }

    def test_event_has_no_scan_of_another_digest(self) -> None:
        before = STALE.with_changes(scan=Scan(A, {"HIGH": 2}, NOW))
        after = before.with_changes(published_digest=B, last_refresh=refreshed_to("b"))
        assert only(before, after).detail.scan_findings is msgspec.UNSET

    def test_outcome_recorded_twice_is_reported_once(self) -> None:
        after = STALE.with_changes(published_digest=B, last_refresh=refreshed_to("b"))
        again = after.with_changes(last_refresh=refreshed_to("b", at=LATER + timedelta(seconds=1)))
        assert events(after, again) == []

    def test_refresh_that_ends_an_alert_reports_both(self) -> None:
        alerted = STALE.with_changes(alerted=(AlertKind.STALE,))
        after = alerted.with_changes(
            published_digest=B, state=State.FRESH, unfresh_since=None, last_refresh=refreshed_to("b"), alerted=()
        )
        assert [kind for kind, _ in new_events(alerted, after)] == ["REFRESHED", "RECOVERED"]

    def test_two_refreshes_are_two_events(self) -> None:
        after = STALE.with_changes(published_digest=B, last_refresh=refreshed_to("b"))
        back = after.with_changes(published_digest=A, last_refresh=refreshed_to("a", execution="arn:2"))
        first, second = only(STALE, after), only(after, back)
        assert first.detail.id != second.detail.id
        assert (second.detail.digest, second.detail.previous_digest) == (A, B)


class TestFoundPublished:
    found = STALE.with_changes(published_digest=B, state=State.FRESH, unfresh_since=None)

    def test_digest_found_published_is_held_back(self) -> None:
        event = only(STALE, self.found)
        assert (event.kind, event.detail.reason) == (OutcomeKind.REFRESHED, OutcomeReason.FOUND_PUBLISHED)
        assert (event.detail.digest, event.detail.previous_digest) == (B, A)
        assert event.held

    def test_outcome_of_the_refresh_replaces_the_held_event(self) -> None:
        with_held_event = with_outcome_events(STALE, self.found, "app", NOW)
        recorded = with_outcome_events(
            with_held_event, with_held_event.with_changes(last_refresh=refreshed_to("b")), "app", LATER
        )
        (event,) = recorded.outbox
        assert (event.detail.execution, event.detail.previous_digest, event.held) == ("arn:1", A, False)

    def test_outcome_of_another_refresh_keeps_the_held_event(self) -> None:
        with_held_event = with_outcome_events(STALE, self.found, "app", NOW)
        changed = with_held_event.with_changes(published_digest=C, last_refresh=refreshed_to("c"))
        assert len(with_outcome_events(with_held_event, changed, "app", LATER).outbox) == 2

    def test_held_event_is_sent_after_five_minutes(self) -> None:
        with_held_event = with_outcome_events(STALE, self.found, "app", NOW)
        assert outcome_events_between(STALE, with_held_event, NOW) == ()
        assert outcome_events_between(with_held_event, with_held_event, NOW + UNSENT_AFTER - timedelta(seconds=1)) == ()
        assert outcome_events_between(with_held_event, with_held_event, NOW + UNSENT_AFTER) == with_held_event.outbox

    @pytest.mark.parametrize("before", [None, FRESH])
    def test_published_digest_of_a_new_record_is_not_reported(self, before: MirrorRecord | None) -> None:
        assert events(before, FRESH) == []

    def test_digest_moved_by_ecr_s_cache_is_reported(self) -> None:
        assert new_events(FRESH, FRESH.with_changes(published_digest=B, upstream_digest=B)) == [
            ("REFRESHED", "FOUND_PUBLISHED")
        ]


class TestOutbox:
    def test_added_events_are_due(self) -> None:
        first = with_outcome_events(FRESH, left(FRESH, State.STALE, upstream_digest=B), "app", LATER)
        second = with_outcome_events(first, left(first, State.GONE), "app", LATER)
        assert [event.kind for event in outcome_events_between(first, second, LATER)] == [OutcomeKind.GONE]
        assert outcome_events_between(second, second, LATER) == ()

    def test_unsent_events_are_due_after_five_minutes(self) -> None:
        record = with_outcome_events(FRESH, left(FRESH, State.GONE), "app", LATER)
        assert outcome_events_between(record, record, LATER + UNSENT_AFTER - timedelta(seconds=1)) == ()
        assert outcome_events_between(record, record, LATER + UNSENT_AFTER) == record.outbox

    def test_only_sent_events_are_removed(self) -> None:
        first = with_outcome_events(FRESH, left(FRESH, State.GONE), "app", NOW)
        second = with_outcome_events(first, left(first, State.STALE, upstream_digest=B), "app", LATER)
        assert [event.kind for event in without_sent(second, first.outbox).outbox] == [OutcomeKind.STALE]

    def test_outbox_is_bounded_during_an_outage_of_the_bus(self) -> None:
        record = FRESH
        for number in range(50):
            after = record.with_changes(last_refresh=refreshed_to("b", execution=f"arn:{number}"))
            record = with_outcome_events(record, after, "app", NOW + timedelta(minutes=number))
        assert len(record.outbox) == 20
        assert record.outbox[0].detail.events_given_up == 30
        assert [event.detail.events_given_up for event in record.outbox[1:]] == [msgspec.UNSET] * 19
        assert record.outbox[-1].detail.execution == "arn:49"

    def test_record_with_events_is_read_as_it_was_written(self) -> None:
        record = with_outcome_events(FRESH, left(FRESH, State.GONE), "app", LATER).with_changes(
            scan=Scan(A, {"LOW": 3}, NOW)
        )
        assert decode_record(encode_record(record)) == record

    def test_record_without_events_is_read(self) -> None:
        old = json.loads(encode_record(FRESH))
        for name in ("outbox", "scan", "previous_digest"):
            del old[name]
        assert decode_record(json.dumps(old)) == FRESH


def test_previous_digest_is_the_one_that_ecr_stopped_serving() -> None:
    gone = FRESH.with_changes(published_digest=None)
    assert (FRESH.previous_digest, gone.previous_digest) == (None, A)
    assert gone.with_changes(published_digest=B).previous_digest == A
    assert FRESH.with_changes(published_digest=A, state=State.STALE).previous_digest is None


def test_copy_state_is_found_in_the_past_through_many_failures() -> None:
    long_unknown = left(STALE, State.UNKNOWN).with_changes(
        past=(Past(NOW, State.STALE), Past(NOW, State.UNKNOWN), Past(NOW, State.BLOCKED))
    )
    assert events(long_unknown, left(long_unknown, State.STALE)) == []
