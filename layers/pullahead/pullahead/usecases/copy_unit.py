"""Copy one unit of a plan, as far as the time goes; ask for another round where it does not suffice.

A unit that was killed is simply run again: which blobs are done and how far an upload got is asked of the target.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from pullahead.copying.progress import BegunUpload, UnitProgress
from pullahead.errors import StorageError, TransferStalledError
from pullahead.messages import UnitRequest
from pullahead.oci import Descriptor, parse_reference
from pullahead.ports import OpensBlobs, Plans, Target, Wait
from pullahead.usecases.copy_blob import BlobCopy, BlobSource, BlobTarget
from pullahead.usecases.plan import unit_key

MAX_ROUNDS = 400
_MAX_STALLED_ROUNDS = 3
_MAX_RESERVE_SECONDS = 60.0
_RESERVE_SHARE = 0.2


class TimeBudget:
    """Tells when to stop so that the rest can be saved: a share of the time there was, or two slow parts.

    With several `threads` that ask in turn, a part takes as many times longer as there are between two questions.
    """

    def __init__(self, remaining_seconds: Callable[[], float], threads: int = 1) -> None:
        self._remaining, self._threads = remaining_seconds, threads
        self._last = remaining_seconds()
        self._reserve = min(_MAX_RESERVE_SECONDS, self._last * _RESERVE_SHARE)
        self._slowest = 0.0

    def is_up(self) -> bool:
        """Whether to stop now. Called after every part, so it also learns how long a part takes."""
        now = self._remaining()
        self._slowest = max(self._slowest, self._last - now)
        self._last = now
        return now < max(self._reserve, 2 * self._threads * self._slowest)


class CopyUnit:
    """The use case, with the ports that it works through; `threads` blobs go at once."""

    def __init__(self, upstream: OpensBlobs, target: Target, plans: Plans, wait: Wait, *, threads: int = 1) -> None:
        self._upstream, self._target, self._plans = upstream, target, plans
        self._wait, self._threads = wait, threads

    def __call__(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy what the unit still lacks; the answer is done, or the request for the next round.

        Raises: what the ports raise, and TransferStalledError where rounds bring nothing any more.
        """
        if request.rounds >= MAX_ROUNDS:
            raise TransferStalledError(
                f"unit {request.unit} of {request.refresh} is not done after {MAX_ROUNDS} rounds"
            )
        budget = TimeBudget(remaining_seconds, self._threads)
        progress = self._load(request)
        present = self._target.present_blobs(request.repository, [blob.digest for blob in progress.blobs])
        missing = [blob for blob in progress.blobs if blob.digest not in present]
        round_ = _Round(request, progress, budget, self._plans)
        with ThreadPoolExecutor(self._threads) as pool:
            copies = [pool.submit(round_.run, self._copier(blob, round_), blob) for blob in missing]
        copied = [copy.result() for copy in copies]  # the first error, in the order of the blobs
        return _next(request, sum(one.bytes_sent for one in copied), done=all(one.done for one in copied))

    def _copier(self, blob: Descriptor, round_: "_Round") -> BlobCopy:
        source = BlobSource(self._upstream, parse_reference(round_.request.upstream).repository)
        target = BlobTarget(self._target, round_.request.repository)
        return BlobCopy(blob, source, target, keep=round_.keep, must_pause=round_.must_pause, wait=self._wait)

    def _load(self, request: UnitRequest) -> UnitProgress:
        key = unit_key(request.refresh, request.unit)
        try:
            return msgspec.json.decode(self._plans.read(key), type=UnitProgress)
        except msgspec.DecodeError as error:
            raise StorageError(f"the kept progress {key} cannot be read: {error}") from error


class _Copied(NamedTuple):
    bytes_sent: int
    done: bool


class _Round:
    """One round of a unit: what its threads share."""

    def __init__(self, request: UnitRequest, progress: UnitProgress, budget: TimeBudget, plans: Plans) -> None:
        self.request = request
        self._progress, self._budget, self._plans = progress, budget, plans
        self._lock = threading.Lock()
        self._over = False

    def run(self, copy: BlobCopy, blob: Descriptor) -> _Copied:
        """Copy one blob, unless the round is over before it begins. An error ends the round for all."""
        if self._over:
            return _Copied(0, done=False)
        try:
            copied = copy.run(self._progress.upload_of(blob.digest))
        except BaseException:
            self._over = True
            raise
        self.must_pause()
        return _Copied(copied.bytes_sent, copied.paused is None)

    def must_pause(self) -> bool:
        """Tell whether the time is up, or another blob has failed."""
        with self._lock:
            self._over = self._over or self._budget.is_up()
            return self._over

    def keep(self, begun: BegunUpload) -> None:
        """Keep an upload that was begun, for whoever goes on with it."""
        with self._lock:
            self._progress = self._progress.with_upload(begun)
            self._plans.write(unit_key(self.request.refresh, self.request.unit), msgspec.json.encode(self._progress))


def _next(request: UnitRequest, sent: int, *, done: bool) -> UnitRequest:
    stalled = 0 if sent or done else request.stalled_rounds + 1
    if stalled >= _MAX_STALLED_ROUNDS:
        raise TransferStalledError(
            f"unit {request.unit} of {request.refresh} sent nothing in {stalled} rounds; "
            "upstream or the target is too slow for the function's time"
        )
    return msgspec.structs.replace(
        request,
        rounds=request.rounds + 1,
        bytes_copied=request.bytes_copied + sent,
        stalled_rounds=stalled,
        done=done,
    )
