"""The upload of one blob in parts, when streams break, bytes are wrong, Range is ignored, and uploads are lost."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullahead.errors import (
    AccessDeniedError,
    DigestMismatchError,
    NotFoundError,
    RateLimitedError,
    RegistryTimeoutError,
    RegistryUnavailableError,
    Side,
    TransferStalledError,
    UploadLostError,
)
from pullahead.oci import Descriptor, Digest, Repository
from pullahead.oci.registries import BlobReader
from pullahead.refresh.progress import BegunUpload
from pullahead.refresh.read_blob import BlobSource
from pullahead.refresh.upload_blob import BlobTarget, BlobUpload, UploadedBlob, _Parts
from tests.fakes.copies import UnitOfCopy
from tests.fakes.samples import REPOSITORY, failed
from tests.fakes.script import Killed
from tests.polling import until

CONTENT = bytes(range(37))  # three parts of ten bytes and seven more


class Copying:
    """A blob, and everything that its copy calls."""

    def __init__(self, content: bytes = CONTENT, **more: int) -> None:
        self.unit = UnitOfCopy(content, **more)
        self.upstream, self.target, self.script = self.unit.upstream, self.unit.target, self.unit.script
        self.blob = self.unit.blobs[0]
        self.saved: list[BegunUpload] = []
        self.pauses: list[bool] = []

    def run(self, begun: BegunUpload | None = None, source: BlobReader | None = None) -> UploadedBlob:
        copy = BlobUpload(
            self.blob,
            BlobSource(source or self.upstream, Repository("ghcr.io", "team/app")),
            BlobTarget(self.target, REPOSITORY),
            save=self.saved.append,
            must_pause=lambda: self.pauses.pop(0) if self.pauses else False,
            wait=self.unit.waits.append,
        )
        return copy.run(begun)

    @property
    def parts(self) -> int:
        return self.script.count("upload_part")


def test_blob_goes_in_full_parts_with_one_read_and_one_saved_upload() -> None:
    copying = Copying()
    assert copying.run() == UploadedBlob(37)
    assert copying.unit.is_copied()
    assert copying.script.calls == ["begin_upload", "open_blob", *["upload_part"] * 4, "complete_upload"]
    assert [begun.digest for begun in copying.saved] == [copying.blob.digest]
    assert copying.unit.waits == []


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 21])
def test_every_size_around_a_part_is_copied(size: int) -> None:
    copying = Copying(CONTENT[:size])
    assert copying.run() == UploadedBlob(size)
    assert copying.unit.is_copied()
    assert bool(copying.saved) is (size > 10), "a blob of one part is sent again rather than resumed"


@given(st.binary(min_size=1, max_size=60), st.lists(st.integers(0, 60), max_size=4), st.integers(1, 13))
def test_stream_cut_at_any_byte_is_resumed_and_no_part_is_sent_twice(
    content: bytes, cuts: list[int], piece_bytes: int
) -> None:
    copying = Copying(content, piece_bytes=piece_bytes)
    copying.upstream.cut(*cuts)
    assert copying.run() == UploadedBlob(len(content))
    assert copying.unit.is_copied()
    assert copying.target.bytes_received == len(content)
    assert copying.script.count("begin_upload") == 1


@given(st.integers(0, 37))
def test_blob_is_copied_where_range_is_ignored(cut: int) -> None:
    copying = Copying()
    copying.upstream.ignores_range = True
    copying.upstream.cut(cut)
    copying.run()
    assert copying.unit.is_copied()
    assert copying.target.bytes_received == 37


@given(st.integers(0, 3), st.booleans(), st.sampled_from([RateLimitedError, RegistryTimeoutError]))
def test_part_whose_answer_was_lost_is_stored_once(
    number: int, after: bool, kind: type[RateLimitedError | RegistryTimeoutError]
) -> None:
    copying = Copying()
    copying.script.fail("upload_part", failed(kind, side=Side.TARGET), after=after, passing=number)
    copying.run()
    assert copying.unit.is_copied()
    assert copying.target.bytes_received == 37


def test_five_breaks_without_progress_end_the_upload_with_longer_waits_between() -> None:
    copying = Copying()
    copying.upstream.cut(*[0] * 9)
    with pytest.raises(RegistryUnavailableError):
        copying.run()
    assert copying.unit.waits == [1, 2, 3, 4]
    assert copying.script.count("open_blob") == 5


def test_progress_between_breaks_resets_their_count() -> None:
    copying = Copying(CONTENT * 10)
    copying.upstream.cut(*[15] * 30)
    copying.run()
    assert copying.unit.is_copied()
    assert set(copying.unit.waits) == {1}


def test_upstream_that_never_sends_a_whole_part_at_once_is_read_to_the_end() -> None:
    copying = Copying()
    copying.upstream.cut(*[3] * 12)
    assert copying.run() == UploadedBlob(37)
    assert copying.unit.is_copied()
    assert copying.upstream.bytes_sent == 37


def test_target_that_takes_no_part_without_an_error_ends_the_upload() -> None:
    """Without a bound this would send the same part until the function's time is up."""
    copying = Copying()

    class Deaf:
        def __getattr__(self, name: str) -> object:
            return getattr(copying.target, name)

        def upload_part(self, *_: object) -> int:
            return 0

    with pytest.raises(TransferStalledError, match="took no part in 5 tries"):
        BlobUpload(
            copying.blob,
            BlobSource(copying.upstream, Repository("ghcr.io", "team/app")),
            BlobTarget(Deaf(), REPOSITORY),  # type: ignore[arg-type]
            save=copying.saved.append,
            must_pause=lambda: False,
            wait=copying.unit.waits.append,
        ).run()


@pytest.mark.parametrize("kind", [NotFoundError, AccessDeniedError])
@pytest.mark.parametrize("operation", ["open_blob", "begin_upload", "upload_part", "complete_upload"])
def test_permanent_error_is_not_retried(operation: str, kind: type[NotFoundError | AccessDeniedError]) -> None:
    copying = Copying()
    copying.script.fail(operation, failed(kind))
    with pytest.raises(kind):
        copying.run()
    assert copying.script.count(operation) == 1


class TestLostUpload:
    def test_blob_is_sent_from_its_beginning(self) -> None:
        copying = Copying()
        copying.script.before("upload_part", copying.target.forget_uploads, passing=1)
        assert copying.run() == UploadedBlob(10 + 37)
        assert copying.unit.is_copied()
        assert len(copying.saved) == 2

    def test_upload_lost_between_rounds_is_begun_again(self) -> None:
        copying = Copying()
        copying.pauses = [True, True]
        paused = copying.run().paused
        copying.target.forget_uploads()
        assert copying.run(paused) == UploadedBlob(37)
        assert copying.unit.is_copied()

    def test_blob_that_is_read_again_is_verified_again(self) -> None:
        copying = Copying()
        copying.upstream.serve_blob(copying.blob.digest, bytes(37))
        copying.script.before("upload_part", copying.target.forget_uploads, passing=1)
        with pytest.raises(DigestMismatchError) as caught:
            copying.run()
        assert caught.value.side is Side.UPSTREAM

    def test_third_lost_upload_ends_the_copy(self) -> None:
        copying = Copying()
        copying.script.fail("upload_part", failed(UploadLostError, side=Side.TARGET), times=9)
        with pytest.raises(TransferStalledError, match="lost 3 uploads in a row"):
            copying.run()
        assert copying.script.count("begin_upload") == 3


class TestWrongBytes:
    @pytest.mark.parametrize("read_whole", [True, False])
    def test_wrong_digest_is_refused_and_no_blob_is_stored(self, read_whole: bool) -> None:
        copying = Copying()
        copying.upstream.serve_blob(copying.blob.digest, bytes(37))
        copying.pauses = [] if read_whole else [True, True]
        with pytest.raises(DigestMismatchError) as caught:
            copying.run(copying.run().paused)
        assert copying.target.blobs(REPOSITORY) == {}
        assert copying.script.count("complete_upload") == (0 if read_whole else 1)
        assert caught.value.side is (Side.UPSTREAM if read_whole else Side.TARGET)

    def test_longer_content_is_refused(self) -> None:
        copying = Copying()
        copying.upstream.serve_blob(copying.blob.digest, CONTENT + b"more")
        with pytest.raises(DigestMismatchError):
            copying.run()
        assert copying.script.count("complete_upload") == 0

    def test_shorter_content_is_refused(self) -> None:
        copying = Copying()
        copying.upstream.serve_blob(copying.blob.digest, CONTENT[:25])
        with pytest.raises(RegistryUnavailableError):
            copying.run()
        assert copying.target.blobs(REPOSITORY) == {}

    @pytest.mark.parametrize("sent", [0, 5, 20, 36, 38])
    def test_wrong_length_is_refused_where_the_reader_does_not_notice_it(self, sent: int) -> None:
        copying = Copying()

        class CarelessReader:
            @contextmanager
            def open_blob(
                self, _where: Repository, _blob: Descriptor, first_byte: int = 0, _end: int | None = None
            ) -> Iterator[Iterator[bytes]]:
                yield iter([(CONTENT + b"x")[first_byte:sent]])

        with pytest.raises(DigestMismatchError):
            copying.run(source=CarelessReader())
        assert copying.script.count("complete_upload") == 0

    def test_sha512_is_verified(self) -> None:
        copying = Copying()
        copying.blob = Descriptor("layer", Digest("sha512:" + "0" * 128), 37)
        copying.upstream.serve_blob(copying.blob.digest, CONTENT)
        with pytest.raises(DigestMismatchError, match="sha512:"):
            copying.run()


class TestPause:
    @pytest.mark.parametrize("parts", [1, 2, 3])
    def test_another_process_resumes_after_the_last_part(self, parts: int) -> None:
        copying = Copying()
        copying.pauses = [*[False] * (parts - 1), True, True]
        first = copying.run()
        assert (first.bytes_sent, first.paused) == (10 * parts, copying.saved[-1])
        assert copying.run(first.paused) == UploadedBlob(37 - 10 * parts)
        assert copying.unit.is_copied()
        assert copying.target.bytes_received == 37
        assert copying.script.count("received_bytes") == 0

    def test_upload_killed_after_it_was_resumed_asks_the_target_where_it_is(self) -> None:
        copying = Copying()
        copying.pauses = [True, True]
        copying.run()
        copying.script.kill_at = copying.script.calls.index("upload_part") + 4  # of the second process
        with pytest.raises(Killed):
            copying.run(copying.saved[-1])
        copying.script.resume()
        assert copying.saved[-1].offset is None
        copying.run(copying.saved[-1])
        assert copying.script.count("received_bytes") == 1
        assert copying.unit.is_copied()

    def test_pause_while_reading_keeps_what_the_target_has(self) -> None:
        copying = Copying()
        copying.upstream.cut(15, 0)
        copying.pauses = [False, True]
        paused = copying.run().paused
        assert paused is not None
        assert paused.offset == 10
        assert copying.script.count("received_bytes") == 0
        copying.run(paused)
        assert copying.unit.is_copied()
        assert copying.target.bytes_received == 37

    def test_upload_is_completed_where_time_is_up_after_the_last_part(self) -> None:
        copying = Copying()
        copying.pauses = [False, False, False, True, True, True]
        assert copying.run().paused is None
        assert copying.unit.is_copied()

    def test_break_is_not_resumed_where_the_time_is_up(self) -> None:
        copying = Copying()
        copying.upstream.cut(0, 0, 0)
        copying.pauses = [True]
        assert copying.run() == UploadedBlob(0, copying.saved[-1])

    def test_upload_that_has_every_byte_is_completed_without_reading(self) -> None:
        copying = Copying()
        copying.script.fail("complete_upload", failed(RegistryUnavailableError))
        with pytest.raises(RegistryUnavailableError):
            copying.run()
        copying.script.resume()
        assert copying.run(copying.saved[0]) == UploadedBlob(0)
        assert copying.script.calls == ["received_bytes", "complete_upload"]
        assert copying.unit.is_copied()


def test_error_of_wrong_bytes_names_the_blob_and_upstream() -> None:
    copying = Copying()
    copying.upstream.serve_blob(copying.blob.digest, bytes(37))
    with pytest.raises(DigestMismatchError, match=f"ghcr.io/team/app@{copying.blob.digest} at the upstream"):
        copying.run()


class TestLargeBlob:
    """Parts of the size that they have."""

    CONTENT = bytes(range(256)) * (20 * 1024)  # 5 MiB
    SIZES: ClassVar[dict[str, int]] = {"part_size": 1024 * 1024, "piece_bytes": 256 * 1024}

    def test_next_part_is_read_while_one_is_sent_and_no_third_one(self) -> None:
        copying = Copying(self.CONTENT, **self.SIZES)
        read_meanwhile = threading.Event()

        def wait_for_the_reader() -> None:
            until(lambda: copying.upstream.bytes_sent >= 2 * 1024 * 1024, "the next part is read while one is sent")
            assert copying.upstream.bytes_sent <= 2 * 1024 * 1024 + 256 * 1024
            read_meanwhile.set()

        copying.script.before("upload_part", wait_for_the_reader)
        copying.run()
        assert read_meanwhile.is_set()
        assert copying.unit.is_copied()

    def test_stream_that_is_cut_is_resumed_and_leaves_no_thread(self) -> None:
        threads = threading.active_count()
        copying = Copying(self.CONTENT, **self.SIZES)
        copying.upstream.cut(2_500_000, 1_200_000)
        copying.run()
        assert copying.unit.is_copied()
        assert threading.active_count() == threads

    def test_wrong_bytes_are_refused_and_the_upload_is_not_completed(self) -> None:
        copying = Copying(self.CONTENT, **self.SIZES)
        copying.upstream.serve_blob(copying.blob.digest, self.CONTENT[:-1] + b"!")
        with pytest.raises(DigestMismatchError):
            copying.run()
        assert copying.script.count("complete_upload") == 0

    def test_answer_that_was_lost_leaves_the_digest_to_be_verified_here(self) -> None:
        copying = Copying(self.CONTENT, **self.SIZES)
        copying.upstream.serve_blob(copying.blob.digest, self.CONTENT[:-1] + b"!")
        copying.script.fail("upload_part", failed(RegistryTimeoutError, side=Side.TARGET), after=True, passing=1)
        copying.script.fail("upload_part", failed(RegistryTimeoutError, side=Side.TARGET), passing=3)
        with pytest.raises(DigestMismatchError) as caught:
            copying.run()
        assert caught.value.side is Side.UPSTREAM


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(1, 25))
def test_parts_are_the_stream_and_all_but_the_last_are_full(pieces: list[bytes], part_size: int) -> None:
    content = b"".join(pieces)
    with closing(_Parts(iter(pieces), part_size, len(content), hashlib.sha256())) as parts:
        sent = [(bytes(part.content), part.hashed) for part in parts]
    assert b"".join(part for part, _ in sent) == content
    assert all(len(part) == part_size for part, _ in sent[:-1])
    assert all(0 < len(part) <= part_size for part, _ in sent)
    assert not sent or ((last := sent[-1][1]) is not None and last.digest() == hashlib.sha256(content).digest())


@pytest.mark.parametrize("size", [5, 50])
def test_part_is_complete_before_the_next_piece_is_read(size: int) -> None:
    """A broken stream must not take whole parts with it."""

    def pieces() -> Iterator[bytes]:
        yield b"12345"
        raise failed(RegistryUnavailableError)

    with closing(_Parts(pieces(), 5, size, None)) as parts:
        taken = iter(parts)
        assert bytes(next(taken).content) == b"12345"
        with pytest.raises(RegistryUnavailableError):
            next(taken)
