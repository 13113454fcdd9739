"""Tags that name another digest at every request: they start no refreshes without end, and honest tags do not wait."""

from datetime import timedelta
from itertools import count

import pytest

from local.images import make_image
from pullahead.checks.check import CheckResult
from pullahead.dashboard.explain import MirrorFacts, explain
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import LastRefresh, Published, State
from pullahead.mirrors.refresh_outcome import after_failure, after_success
from pullahead.mirrors.refresh_pace import BURST
from pullahead.refresh.ports import StartResult
from tests.fakes.checks import CheckingService
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, mirror


class FlappingTag:
    """A mirror whose upstream serves another digest at each check."""

    def __init__(self) -> None:
        self.service, self.seeds, self.starts = CheckingService(), count(100), 0

    def move(self) -> None:
        self.service.upstream.serve(make_image(seed=next(self.seeds)), UPSTREAM)

    def check(self, *, minutes: int = 15) -> CheckResult:
        """Check after a while; count the refreshes that start."""
        self.service.clock.advance(minutes=minutes)
        result = self.service.check_one()
        self.starts += result.started is StartResult.STARTED
        return result

    def fail(self, kind: str = "TransferStalledError") -> None:
        """Let the refresh fail that was started last."""
        record = self.service.record()
        assert record.upstream_digest is not None
        failed = after_failure(record, record.upstream_digest, kind, "scripted", self.service.clock())
        self.service.records.save(failed, record.version)

    def succeed(self) -> None:
        """Let the refresh publish that was started last."""
        record = self.service.record()
        assert record.upstream_digest is not None
        digest = record.upstream_digest
        done = after_success(record, Published(digest, (), digest), LastRefresh(self.service.clock(), 1.0, 1.0, 9, "a"))
        self.service.records.save(done, record.version)
        self.service.target.move_tag(REPOSITORY, "1.0", digest)

    def why(self) -> str:
        known = MirrorFacts(mirror(), self.service.record())
        return explain(KEY, known, self.service.rules, self.service.clock())[-1].text


@pytest.mark.parametrize("kind", ["TransferStalledError", "ImageTooLargeError"])
def test_digest_that_changes_at_every_request_is_backed_off_where_refreshes_fail(kind: str) -> None:
    tag = FlappingTag()
    for _ in range(4 * 24):
        tag.move()
        if tag.check().started is StartResult.STARTED:
            tag.fail(kind)
    assert 4 <= tag.starts <= 12
    assert "even if upstream moves again: refreshes to" in tag.why()
    assert tag.why().endswith("`pullahead refresh` does not wait")


def test_digest_that_changes_at_every_request_is_paced_where_refreshes_succeed() -> None:
    tag = FlappingTag()
    for _ in range(12 * 24):  # a day
        tag.move()
        if tag.check(minutes=5).started is StartResult.STARTED:
            tag.succeed()
    assert BURST < tag.starts <= BURST + 24
    assert "upstream moves too often: after 24 refreshes one an hour starts, the next after" in tag.why()
    assert len(tag.service.refreshes.requests) == tag.starts


def test_digests_that_alternate_are_paced() -> None:
    tag = FlappingTag()
    images = [make_image(seed=1), make_image(seed=2)]
    for number in range(12 * 24):
        tag.service.upstream.serve(images[number % 2], UPSTREAM)
        if tag.check(minutes=5).started is StartResult.STARTED:
            tag.succeed()
    assert tag.starts <= BURST + 24


def test_paced_refresh_starts_when_its_time_has_come() -> None:
    tag = FlappingTag()
    while True:
        tag.move()
        result = tag.check(minutes=1)
        if result.started is None:
            break
        tag.succeed()
    assert (tag.starts, result.state) == (BURST, State.STALE)
    assert "one an hour starts" in result.reason
    assert tag.check(minutes=5).started is None
    assert tag.check(minutes=60).started is StartResult.STARTED


def test_manual_refresh_does_not_wait_for_the_pace() -> None:
    tag = FlappingTag()
    for _ in range(BURST + 1):
        tag.move()
        tag.check(minutes=1)
    request = CheckRequest(reason="manual", repository=REPOSITORY, tags=("1.0",), asked_at=tag.service.clock())
    (result,) = tag.service.use_case(request)
    assert result.started is StartResult.STARTED


def test_tag_that_moves_every_hour_is_never_held_up() -> None:
    tag = FlappingTag()
    for _ in range(100):
        tag.move()
        assert tag.check(minutes=60).started is StartResult.STARTED
        tag.succeed()


def test_correction_upstream_is_copied_at_once_after_many_failures_of_one_digest() -> None:
    tag = FlappingTag()
    tag.move()
    tag.check()
    for _ in range(8):
        tag.fail("ManifestRefusedError")
        tag.service.clock.advance(hours=6)
        tag.check()
    tag.fail("ManifestRefusedError")
    tag.move()
    assert tag.check(minutes=1).started is StartResult.STARTED


def test_success_forgets_failures_to_other_digests() -> None:
    tag = FlappingTag()
    for _ in range(2):
        tag.move()
        tag.check(minutes=1)
        tag.fail()
    tag.move()
    tag.check(minutes=1)
    tag.succeed()
    assert tag.service.record().failure is None
    tag.service.clock.advance(minutes=int(timedelta(hours=1).total_seconds() // 60))
    tag.move()
    assert tag.check(minutes=1).started is StartResult.STARTED
