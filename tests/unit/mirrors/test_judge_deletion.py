"""A tag that is deleted from ECR is restored, or left deleted until upstream moves."""

from datetime import UTC, datetime, timedelta

import pytest

from pullahead.errors import AccessDeniedError, RegistryUnavailableError
from pullahead.mirrors.alert import AlertKind
from pullahead.mirrors.judge import Observation, Verdict, judge
from pullahead.mirrors.record import MirrorRecord, State
from pullahead.rules.model import Mirror
from tests.fakes.samples import KEY, UPSTREAM, failed, mirror, root

T0 = datetime(2026, 11, 24, 9, tzinfo=UTC)
OLD, NEW = root("old"), root("new")
LEAVING = mirror()._replace(restored=False)
GONE_FROM_ECR = Observation(OLD, None)


class Story:
    """A mirror that was fresh, and what checks conclude one after another."""

    def __init__(self, followed: Mirror = LEAVING) -> None:
        self.followed, self.minutes = followed, 0
        self.record = MirrorRecord(
            KEY, UPSTREAM, State.FRESH, T0, None, upstream_digest=OLD.digest, published_digest=OLD.digest, episode=4
        )

    def observe(self, observed: Observation, followed: Mirror | None = None, hours: int = 1) -> Verdict:
        self.minutes += 60 * hours
        verdict = judge(observed, self.record, followed or self.followed, T0 + timedelta(minutes=self.minutes))
        self.record = verdict.record
        return verdict


def test_deleted_tag_is_restored_by_default() -> None:
    verdict = Story(mirror()).observe(GONE_FROM_ECR)
    assert (verdict.record.state, verdict.refresh) == (State.MISSING, True)


def test_deleted_tag_that_is_not_restored_is_neither_late_nor_alerted() -> None:
    story = Story()
    for _ in range(100):
        assert not story.observe(GONE_FROM_ECR).refresh
    assert (story.record.state, story.record.unfresh_since) == (State.DELETED, None)
    assert (story.record.alerted, story.record.pending) == ((), ())


def test_repeated_check_of_a_deleted_tag_changes_nothing() -> None:
    story = Story()
    before = story.observe(GONE_FROM_ECR).record
    assert story.observe(GONE_FROM_ECR).record.says_the_same_as(before)


def test_deleted_tag_is_restored_when_upstream_moves() -> None:
    story = Story()
    story.observe(GONE_FROM_ECR)
    verdict = story.observe(Observation(NEW, None))
    assert (verdict.record.state, verdict.refresh, verdict.record.left_at) == (State.MISSING, True, None)
    assert verdict.record.episode > 5  # one was used up by the deletion


def test_deletion_and_move_at_once_restore_the_tag() -> None:
    assert Story().observe(Observation(NEW, None)).refresh


@pytest.mark.parametrize(
    "between",
    [
        Observation(failed(RegistryUnavailableError), None),
        Observation(OLD, failed(AccessDeniedError)),
    ],
)
def test_deleted_tag_stays_deleted_after_an_outage(between: Observation) -> None:
    story = Story()
    story.observe(GONE_FROM_ECR)
    assert not story.observe(between).refresh
    assert not story.observe(GONE_FROM_ECR).refresh
    assert story.record.state is State.DELETED


def test_tag_deleted_during_an_outage_of_upstream_stays_deleted() -> None:
    story = Story()
    assert story.observe(Observation(failed(RegistryUnavailableError), None)).record.state is State.UNKNOWN
    assert not story.observe(GONE_FROM_ECR).refresh
    assert story.record.state is State.DELETED


def test_deleted_tag_is_restored_when_its_rule_says_so_again() -> None:
    story = Story()
    story.observe(GONE_FROM_ECR)
    verdict = story.observe(GONE_FROM_ECR, mirror())
    assert (verdict.record.state, verdict.refresh, verdict.record.left_at) == (State.MISSING, True, None)


def test_restored_tag_is_fresh_and_can_be_deleted_again() -> None:
    story = Story()
    story.observe(GONE_FROM_ECR)
    assert story.observe(Observation(OLD, OLD.digest)).record.state is State.FRESH
    assert story.record.left_at is None
    story.observe(GONE_FROM_ECR)
    assert story.record.state is State.DELETED


class TestReplication:
    """ECR's replication writes the repository, and may have deleted the tag."""

    REPLICATED = mirror()._replace(replicated_from="111122223333 in us-west-2")

    def test_deleted_tag_stays_deleted_and_says_why(self) -> None:
        story = Story(self.REPLICATED)
        verdict = story.observe(GONE_FROM_ECR)
        assert (verdict.record.state, verdict.refresh) == (State.DELETED, False)
        assert "ECR's replication from 111122223333 in us-west-2 writes and deletes there" in verdict.reason
        assert verdict.record.cause == verdict.reason
        assert (verdict.record.alerted, verdict.record.pending) == ((), ())

    def test_tag_is_restored_when_upstream_moves_or_when_it_is_asked_for(self) -> None:
        for observed, followed in ((Observation(NEW, None), self.REPLICATED), (GONE_FROM_ECR, mirror())):
            story = Story(self.REPLICATED)
            story.observe(GONE_FROM_ECR)
            verdict = story.observe(observed, followed)
            assert (verdict.record.state, verdict.refresh) == (State.MISSING, True)
            assert (verdict.record.left_at, verdict.record.replicated_from) == (None, None)

    def test_tag_deleted_during_an_outage_of_upstream_stays_deleted(self) -> None:
        story = Story(self.REPLICATED)
        story.observe(Observation(failed(RegistryUnavailableError), None))
        assert story.record.replicated_from == "111122223333 in us-west-2"
        assert story.observe(GONE_FROM_ECR).record.state is State.DELETED

    def test_overwritten_tag_is_refreshed_and_the_alert_names_the_replication(self) -> None:
        story = Story(self.REPLICATED)
        verdict = story.observe(Observation(OLD, NEW.digest))
        assert verdict.refresh
        (alert,) = verdict.record.pending
        assert alert.kind is AlertKind.DRIFT
        assert alert.detail.endswith("; ECR's replication from 111122223333 in us-west-2 writes this repository")
        assert verdict.record.replicated_from is None


def test_tag_that_never_existed_in_ecr_is_refreshed() -> None:
    assert judge(GONE_FROM_ECR, None, LEAVING, T0).refresh


def test_tag_that_was_not_published_yet_is_refreshed() -> None:
    story = Story()
    story.record = story.record.with_changes(state=State.MISSING, published_digest=None, unfresh_since=T0)
    assert story.observe(GONE_FROM_ECR).refresh
