"""Streams and parts: a whole blob in one stream where it surely fits, parts for all else and after a kill."""

import msgspec
import pytest

from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    Side,
    UploadLostError,
)
from pullahead.messages import UnitRequest
from pullahead.refresh.copy_unit import CopyUnit
from pullahead.refresh.plan import unit_key
from pullahead.refresh.progress import BegunUpload, UnitProgress
from tests.fakes.copies import Countdown, UnitOfCopy
from tests.fakes.samples import REPOSITORY, failed
from tests.fakes.script import Killed
from tests.fakes.streaming import StreamingFakeTarget

SMALL, LARGE = bytes(range(25)), bytes(11 * 1024 * 1024)
KEY = unit_key("refresh-1", 0)


class StreamingUnit(UnitOfCopy):
    """A unit whose target takes streams too."""

    def __init__(self, *contents: bytes, part_size: int = 10, piece_bytes: int = 4) -> None:
        super().__init__(*contents, part_size=part_size, piece_bytes=piece_bytes)
        self.streaming = StreamingFakeTarget(self.script, part_size=part_size)
        self.streaming.ensure_repository(REPOSITORY)
        self.target = self.streaming
        self.script.resume()

    def process(self) -> CopyUnit:
        return CopyUnit(
            self.upstream, self.target, self.plans, self.waits.append, streams=self.streaming, min_bytes_per_second=0
        )

    @property
    def progress(self) -> UnitProgress:
        return msgspec.json.decode(self.plans.objects[KEY], type=UnitProgress)

    def save(self, progress: UnitProgress) -> None:
        self.plans.objects[KEY] = msgspec.json.encode(progress)


def large_unit() -> StreamingUnit:
    return StreamingUnit(LARGE, part_size=10 * 1024 * 1024, piece_bytes=1024 * 1024)


def test_blob_that_surely_fits_goes_in_one_stream_and_nothing_is_saved() -> None:
    unit = StreamingUnit(SMALL)
    done = unit.run()
    assert (done.done, done.bytes_copied) == (True, 25)
    assert unit.is_copied()
    assert unit.script.calls == ["read", "present_blobs", "stream_blob", "open_blob"]


def test_blob_that_may_not_fit_goes_by_parts() -> None:
    unit = large_unit()
    assert unit.run(remaining_seconds=lambda: 10.0).done
    assert unit.is_copied()
    assert (unit.script.count("stream_blob"), unit.script.count("upload_part")) == (0, 2)


def test_fast_stream_allows_a_larger_one() -> None:
    unit = StreamingUnit(bytes(2 * 1024 * 1024), LARGE, part_size=10 * 1024 * 1024, piece_bytes=1024 * 1024)
    now = [12.0]
    unit.script.before("open_blob", lambda: now.__setitem__(0, 11.9))
    assert unit.run(remaining_seconds=lambda: now[0]).done
    assert unit.streaming.streamed == [blob.digest for blob in unit.blobs]


class TestKill:
    def test_large_stream_that_was_killed_goes_by_parts_from_then_on(self) -> None:
        unit = large_unit()
        unit.script.fail("open_blob", Killed())
        with pytest.raises(Killed):
            unit.run()
        assert unit.progress.streamed == (unit.blobs[0].digest,)
        unit.script.resume()
        assert unit.run().done
        assert unit.is_copied()
        assert (unit.script.count("stream_blob"), unit.script.count("upload_part")) == (0, 2)

    def test_small_stream_that_was_killed_is_sent_again_and_nothing_is_saved(self) -> None:
        unit = StreamingUnit(SMALL)
        unit.script.fail("open_blob", Killed())
        with pytest.raises(Killed):
            unit.run()
        assert unit.progress == UnitProgress(unit.blobs)
        assert unit.run().done
        assert unit.script.count("stream_blob") == 2

    def test_stream_is_not_begun_where_it_cannot_be_saved(self) -> None:
        unit = large_unit()
        unit.script.fail("write", Killed())
        with pytest.raises(Killed):
            unit.run()
        assert unit.upstream.bytes_sent == 0


class TestTime:
    def test_stream_is_stopped_where_time_is_up_and_goes_by_parts_in_the_next_round(self) -> None:
        unit = StreamingUnit(SMALL)
        first = unit.run(remaining_seconds=Countdown([100.0, 99.0, 99.0, 99.0, 50.0, 1.0]))
        assert not first.done
        assert 0 < first.bytes_copied < 25
        assert unit.progress.must_use_parts(unit.blobs[0].digest)
        assert unit.target.blobs(REPOSITORY) == {}
        second = unit.run(UnitRequest.from_event(first.to_event()))
        assert second.done
        assert unit.is_copied()
        assert unit.script.count("stream_blob") == 1


@pytest.mark.parametrize("kind", [RegistryUnavailableError, RateLimitedError, UploadLostError])
def test_blob_goes_by_parts_where_the_target_breaks_its_stream(kind: type[RegistryError]) -> None:
    unit = StreamingUnit(SMALL)
    unit.script.fail("stream_blob", failed(kind, side=Side.TARGET))
    assert unit.run().done
    assert unit.is_copied()
    assert unit.script.count("upload_part") == 3


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        ("stream_blob", failed(AccessDeniedError, side=Side.TARGET)),
        ("open_blob", failed(AccessDeniedError)),
        ("open_blob", failed(DigestMismatchError)),
    ],
)
def test_error_that_parts_would_meet_too_is_raised(operation: str, error: RegistryError) -> None:
    unit = StreamingUnit(SMALL)
    unit.script.fail(operation, error)
    with pytest.raises(type(error)):
        unit.run()
    assert unit.script.count("upload_part") == 0


def test_upload_that_was_begun_in_parts_is_resumed() -> None:
    unit = StreamingUnit(SMALL)
    upload = unit.target.begin_upload(REPOSITORY)
    unit.target.upload_part(REPOSITORY, upload, 0, SMALL[:10])
    unit.save(UnitProgress(unit.blobs, (BegunUpload(unit.blobs[0].digest, upload.id, 10),)))
    unit.script.resume()
    assert unit.run().bytes_copied == 15
    assert unit.script.count("stream_blob") == 0


def mountable(unit: StreamingUnit, repository: str = "mirror/other") -> None:
    unit.streaming.mountable = {(repository, blob.digest): unit.contents[0] for blob in unit.blobs}
    unit.save(UnitProgress(unit.blobs, mounts={blob.digest: "mirror/other" for blob in unit.blobs}))


@pytest.mark.parametrize("seconds", [900.0, 10.0])
def test_blob_of_another_repository_is_mounted_and_not_read(seconds: float) -> None:
    unit = large_unit()
    mountable(unit)
    done = unit.run(remaining_seconds=lambda: seconds)
    assert (done.done, done.bytes_copied) == (True, 0)
    assert unit.is_copied()
    assert unit.script.count("open_blob") == 0


@pytest.mark.parametrize(("seconds", "method"), [(900.0, "streamed"), (10.0, "parts")])
def test_blob_that_cannot_be_mounted_is_sent(seconds: float, method: str) -> None:
    unit = large_unit()
    mountable(unit, "mirror/gone")
    assert unit.run(remaining_seconds=lambda: seconds).done
    assert unit.is_copied()
    assert bool(unit.streaming.streamed) is (method == "streamed")
