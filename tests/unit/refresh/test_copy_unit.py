"""One unit of a copy: rounds, time, kills, and how little is sent twice."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.errors import AccessDeniedError, RegistryUnavailableError, Side, StorageError, TransferStalledError
from pullahead.messages import UnitRequest
from pullahead.refresh.copy_unit import MAX_ROUNDS, TimeBudget
from pullahead.refresh.plan import unit_key
from pullahead.refresh.progress import UnitProgress
from tests.fakes.copies import Countdown, UnitOfCopy
from tests.fakes.samples import REPOSITORY, failed
from tests.fakes.script import Killed

BLOBS = (bytes(range(35)), b"small", bytes(range(60, 81)))
TOTAL = sum(map(len, BLOBS))


def calls_of_one_run() -> int:
    unit = UnitOfCopy(*BLOBS)
    unit.run()
    return len(unit.script.calls)


def test_unit_is_copied_in_one_round_when_there_is_time() -> None:
    unit = UnitOfCopy(*BLOBS)
    done = unit.run()
    assert (done.done, done.rounds, done.bytes_copied) == (True, 1, TOTAL)
    assert unit.is_copied()
    assert unit.upstream.bytes_sent == TOTAL


def test_blob_that_the_target_has_is_not_read() -> None:
    unit = UnitOfCopy(*BLOBS)
    unit.run()
    unit.script.resume()
    again = unit.run()
    assert (again.done, again.bytes_copied) == (True, 0)
    assert unit.script.calls == ["read", "present_blobs"]


class TestKill:
    @pytest.mark.parametrize("call", range(calls_of_one_run()))
    def test_kill_before_any_call_ends_with_the_right_bytes_and_at_most_one_part_sent_twice(self, call: int) -> None:
        unit = UnitOfCopy(*BLOBS)
        unit.script.kill_at = call
        with pytest.raises(Killed):
            unit.run()
        unit.script.resume()
        assert unit.run().done
        assert unit.is_copied()
        assert unit.target.bytes_received - TOTAL <= unit.target.part_size

    @given(st.lists(st.integers(2, 9), max_size=12))
    def test_repeated_kills_end_with_the_right_bytes_and_one_part_sent_twice_for_each(self, calls: list[int]) -> None:
        unit = UnitOfCopy(*BLOBS)
        kills = 0
        for call in calls:
            unit.script.resume()
            unit.script.kill_at = call
            try:
                unit.run()
            except Killed:
                kills += 1
        unit.script.resume()
        assert unit.run().done
        assert unit.is_copied()
        assert unit.target.bytes_received - TOTAL <= kills * unit.target.part_size

    def test_kill_after_a_part_was_stored_sends_nothing_twice(self) -> None:
        unit = UnitOfCopy(*BLOBS)
        unit.script.fail("upload_part", Killed(), after=True, passing=1)
        with pytest.raises(Killed):
            unit.run()
        unit.script.resume()
        unit.run()
        assert unit.is_copied()
        assert unit.target.bytes_received == TOTAL


class TestRounds:
    def test_time_that_runs_out_ends_the_round_and_the_next_goes_on(self) -> None:
        unit = UnitOfCopy(*BLOBS)
        request, rounds = unit.request, 0
        while not request.done:
            request = unit.run(UnitRequest.from_event(request.to_event()), Countdown([100, 90, 10]))
            rounds += 1
            assert rounds < 20
        assert (request.rounds, request.bytes_copied, request.stalled_rounds) == (rounds, TOTAL, 0)
        assert rounds > 3
        assert unit.is_copied()
        assert unit.target.bytes_received == TOTAL

    def test_saved_upload_is_resumed_for_its_own_blob_only(self) -> None:
        unit = UnitOfCopy(*BLOBS)
        again = unit.run(remaining_seconds=Countdown([100, 10]))
        unit.script.resume()
        assert unit.run(again).done
        assert (unit.script.count("received_bytes"), unit.script.count("begin_upload")) == (0, 2)

    def test_last_blob_that_ends_with_the_time_is_done(self) -> None:
        unit = UnitOfCopy(b"small")
        assert unit.run(remaining_seconds=Countdown([100, 0])).done

    def test_third_round_without_a_byte_ends_the_unit(self) -> None:
        unit = UnitOfCopy(BLOBS[0])
        request = unit.request
        for stalled in (1, 2):
            unit.upstream.cut(0)
            request = unit.run(request, Countdown([100, 1]))
            assert (request.done, request.stalled_rounds) == (False, stalled)
        unit.upstream.cut(0)
        with pytest.raises(TransferStalledError, match=r"sent 0 bytes \(0.0 kB/s\) in its last round"):
            unit.run(request, Countdown([100, 1]))

    def test_round_that_sends_bytes_resets_the_count(self) -> None:
        unit = UnitOfCopy(BLOBS[0])
        unit.upstream.cut(0)
        request = unit.run(remaining_seconds=Countdown([100, 1]))
        assert request.stalled_rounds == 1
        assert unit.run(request, Countdown([100, 1])).stalled_rounds == 0

    def test_third_round_in_a_row_that_trickles_ends_the_unit(self) -> None:
        unit = UnitOfCopy(BLOBS[0])
        unit.min_bytes_per_second = 50_000
        request = unit.request
        for stalled in (1, 2):
            request = unit.run(request, Countdown([800, 400, 10]))
            assert (request.done, request.stalled_rounds) == (False, stalled)
            assert request.bytes_copied > 0
        with pytest.raises(TransferStalledError, match=r"too slow: at least 50 kB/s are required"):
            unit.run(request, Countdown([800, 400, 10]))

    def test_round_at_the_required_rate_resets_the_count(self) -> None:
        unit = UnitOfCopy(BLOBS[0])
        unit.min_bytes_per_second = unit.target.part_size / 400
        request = msgspec.structs.replace(unit.request, stalled_rounds=2)
        assert unit.run(request, Countdown([800, 401, 400, 10])).stalled_rounds == 0

    @pytest.mark.parametrize("size", [100, 250])
    def test_part_that_drips_for_longer_than_a_round_ends_the_unit(self, size: int) -> None:
        """Without an end of each round the function would be killed, and its try count for nothing."""
        unit = UnitOfCopy(bytes(size), part_size=100, piece_bytes=1)
        request = unit.request
        for stalled in (1, 2, 3):
            received = unit.upstream.bytes_sent

            def remaining_seconds(before: int = received) -> float:
                return 900.0 if unit.upstream.bytes_sent < before + 40 else 30.0

            if stalled == 3:
                with pytest.raises(TransferStalledError, match="sent 0 bytes"):
                    unit.run(request, remaining_seconds)
            else:
                request = unit.run(request, remaining_seconds)
                assert (request.done, request.stalled_rounds, request.bytes_copied) == (False, stalled, 0)
            assert unit.upstream.bytes_sent < received + 60
        assert unit.script.count("upload_part") == 0
        assert unit.run(request).done
        assert unit.is_copied()

    def test_number_of_rounds_is_bounded(self) -> None:
        unit = UnitOfCopy(BLOBS[0])
        request = UnitRequest.from_event({**unit.request.to_event(), "rounds": MAX_ROUNDS})
        with pytest.raises(TransferStalledError, match=f"after {MAX_ROUNDS} rounds"):
            unit.run(request)
        assert unit.script.calls == []

    def test_failed_round_is_retried_with_the_same_request(self) -> None:
        """Step Functions retries with the same input; the target knows how far it is."""
        unit = UnitOfCopy(*BLOBS)
        unit.script.fail("upload_part", failed(RegistryUnavailableError, side=Side.TARGET), passing=2)
        unit.script.fail("received_bytes", failed(RegistryUnavailableError, side=Side.TARGET))
        with pytest.raises(RegistryUnavailableError):
            unit.run()
        assert unit.run().done
        assert unit.is_copied()
        assert unit.target.bytes_received <= TOTAL + unit.target.part_size


class TestSeveralAtOnce:
    def test_every_upload_is_saved(self) -> None:
        unit = UnitOfCopy(*BLOBS, threads=3)
        assert unit.run().done
        assert unit.is_copied()
        saved = msgspec.json.decode(unit.plans.objects[unit_key("refresh-1", 0)], type=UnitProgress)
        assert {upload.digest for upload in saved.uploads} == {unit.blobs[0].digest, unit.blobs[2].digest}

    @pytest.mark.parametrize("call", range(calls_of_one_run()))
    def test_kill_anywhere_ends_with_the_right_bytes_and_at_most_one_part_sent_twice_for_each(self, call: int) -> None:
        unit = UnitOfCopy(*BLOBS, threads=3)
        unit.script.kill_at = call
        with pytest.raises(Killed):
            unit.run()
        unit.script.resume()
        assert unit.run().done
        assert unit.is_copied()
        assert unit.target.bytes_received - TOTAL <= unit.threads * unit.target.part_size

    def test_first_failure_stops_the_blobs_that_were_not_begun(self) -> None:
        unit = UnitOfCopy(*[bytes([n]) * 20 for n in range(30)], threads=2)
        unit.script.fail("begin_upload", failed(AccessDeniedError), times=30)
        with pytest.raises(AccessDeniedError):
            unit.run()
        assert unit.script.count("begin_upload") <= 2

    def test_two_slow_parts_of_each_thread_must_fit(self) -> None:
        budget = TimeBudget(Countdown([100.0, 95.0, 45.0, 39.0]), threads=4)
        assert [budget.is_up(), budget.is_up()] == [False, True]


def test_progress_that_cannot_be_read_is_a_storage_error() -> None:
    unit = UnitOfCopy(b"small")
    unit.plans.objects[unit_key("refresh-1", 0)] = b"{"
    with pytest.raises(StorageError, match=r"units/000\.json"):
        unit.run()
    assert unit.target.blobs(REPOSITORY) == {}


class TestTimeBudget:
    def test_time_is_not_up_before_the_reserve(self) -> None:
        budget = TimeBudget(Countdown([100, 99, 98, 20, 19.9]))
        assert [budget.is_up() for _ in range(2)] == [False, False]

    @pytest.mark.parametrize(
        ("remaining", "up"),
        [
            ([100, 90, 80, 70, 60, 50, 40, 30, 21], False),
            ([100, 90, 80, 70, 60, 50, 40, 30, 19], True),
            ([900, 890, 61], True),  # the step from 890 to 61 was one part; another would not fit
            ([900, *range(899, 60, -1)], False),
            ([900, *range(899, 58, -1)], True),  # never more than a minute is kept
            ([100, 60, 81], False),
            ([100, 60], True),  # a part of 40 s: two of them do not fit into 60 s
        ],
    )
    def test_time_is_up_at_the_reserve_or_where_two_slow_parts_do_not_fit(
        self, remaining: list[float], up: bool
    ) -> None:
        budget = TimeBudget(Countdown(remaining))
        answers = [budget.is_up() for _ in remaining[1:]]
        assert answers[-1] is up

    def test_time_that_is_up_stays_up(self) -> None:
        budget = TimeBudget(Countdown([100, 50, 49, 48]))
        assert [budget.is_up() for _ in range(3)] == [True, True, True]
