"""How long after the later of cooldown and proof a tag moves: by events, or by the check that the review queues.

Time is injected; `pytest -s` prints the table.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from local.images import make_image
from pullahead.mirrors.record import State
from pullahead.refresh.record_outcome import SCAN_LOOK_SECONDS
from pullahead.rules.admission_policy import AdmissionPolicy, ScanPolicy
from tests.fakes.samples import REPOSITORY
from tests.unit.admission.held_service import HeldService
from tests.unit.admission.test_scanned_tags import after_event, following

LIMIT = timedelta(seconds=60)
EVENT_SECONDS, CHECK_EVERY = 5.0, timedelta(minutes=15)
DIGESTS = 50


def lag_of(service: HeldService, seed: int, scan_seconds: float, min_age: timedelta) -> timedelta:
    """Let upstream move, and the scan end so many seconds after the copy; say how late the tag moves."""
    image = make_image(seed=1000 + seed)
    service.target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})
    service.queue.sent.clear()
    service.visit(image, hours=2)  # oftener, and refreshes are paced
    seen = service.clock()
    scanned = seen + timedelta(seconds=scan_seconds)
    may_move = max(scanned, seen + min_age)
    for moment in sorted(moments(seen, scanned, may_move)):
        service.clock.now = moment
        if scanned <= moment:
            service.scans.found(image.digest, at=scanned)
        if moment == scanned + timedelta(seconds=EVENT_SECONDS):
            after_event(service, image.digest)
        else:
            service.check_one()
            service.carry_out()
        if service.target.published_digests(REPOSITORY, ["1.0"])["1.0"] == image.digest:
            assert service.known.state is State.FRESH
            return moment - may_move
    raise AssertionError("the tag was never moved")


def moments(seen: datetime, scanned: datetime, may_move: datetime) -> Iterator[datetime]:
    """List when something makes a check: the look after the copy, the event of the scan, the review's, the schedule."""
    yield seen + timedelta(seconds=SCAN_LOOK_SECONDS)
    yield scanned + timedelta(seconds=EVENT_SECONDS)
    yield may_move + timedelta(seconds=1)
    yield from (start + CHECK_EVERY * number for start in (seen, may_move) for number in range(1, 9))


@pytest.mark.parametrize("min_age", [timedelta(), timedelta(hours=1), timedelta(days=3)])
def test_tag_moves_within_a_minute_of_cooldown_and_proof(min_age: timedelta) -> None:
    service, chance = following(AdmissionPolicy(min_age=min_age, scan=ScanPolicy())), random.Random(18)  # noqa: S311 - repeatable
    lags = sorted(
        lag_of(service, seed, chance.choice((0.5, 20.0, 300.0, 5000.0)) * chance.random(), min_age)
        for seed in range(DIGESTS)
    )
    print(f"min_age {min_age}: {DIGESTS} digests, median {lags[DIGESTS // 2]}, worst {lags[-1]}")
    assert lags[0] >= timedelta()
    assert lags[-1] <= LIMIT
