"""Counts of a copy that is told about from several threads, in any order, and more than once."""

import concurrent.futures

from pullahead.cli.tally import Tally
from pullahead.oci import Descriptor, digest_of
from pullahead.oci.registries import Offered


def blob(seed: str, size: int = 100) -> Descriptor:
    return Descriptor("application/octet-stream", digest_of(seed.encode()), size)


def test_nothing_planned_is_an_error() -> None:
    assert Tally().snapshot() == ((), 0, 0, 0, 0, 0)


def test_bytes_and_blobs_are_miscounted() -> None:
    tally = Tally()
    large, small, present = blob("large", 1000), blob("small"), blob("present", 50)
    tally.planned([large, small, present])
    tally.sent(large, 300)
    tally.sent(large, 200)
    tally.sent(small, 100)
    tally.offered(small, Offered.COPIED)
    tally.offered(present, Offered.PRESENT)
    snapshot = tally.snapshot()
    assert snapshot.blobs == ((large, 500, None), (small, 100, Offered.COPIED), (present, 50, Offered.PRESENT))
    assert (snapshot.blobs_planned, snapshot.blobs_done) == (3, 2)
    assert (snapshot.bytes_planned, snapshot.bytes_done, snapshot.bytes_sent) == (1150, 650, 600)


def test_blob_that_is_sent_again_counts_for_more_than_it_has() -> None:
    tally = Tally()
    tally.planned([blob("a")])
    tally.sent(blob("a"), 90)
    tally.sent(blob("a"), 90)
    snapshot = tally.snapshot()
    assert (snapshot.bytes_done, snapshot.bytes_sent) == (100, 180)


def test_threads_lose_counts() -> None:
    tally = Tally()
    blobs = [blob(str(number), 10_000) for number in range(8)]
    tally.planned(blobs)

    def send(one: Descriptor) -> None:
        for _ in range(1000):
            tally.sent(one, 10)
        tally.offered(one, Offered.COPIED)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(send, blobs))
    assert tally.snapshot()[1:] == (8, 8, 80_000, 80_000, 80_000)
