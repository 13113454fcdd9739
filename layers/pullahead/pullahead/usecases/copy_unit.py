"""Copy one unit of a plan, as far as the time goes; ask for another round where it does not suffice.

A unit that was killed is simply run again: which blobs are done and how far an upload got is asked of the target.
"""

from collections.abc import Callable

import msgspec

from pullahead.copying.progress import BegunUpload, UnitProgress
from pullahead.errors import StorageError, TransferStalledError
from pullahead.messages import UnitRequest
from pullahead.oci import Descriptor, parse_reference
from pullahead.ports import OpensBlobs, Plans, Target
from pullahead.usecases.copy_blob import BlobCopy, BlobSource, BlobTarget
from pullahead.usecases.plan import unit_key

MAX_ROUNDS = 400
_MAX_STALLED_ROUNDS = 3
_MAX_RESERVE_SECONDS = 60.0
_RESERVE_SHARE = 0.2


class TimeBudget:
    """Tells when to stop so that the rest can be saved: a share of the time there was, or two slow parts."""

    def __init__(self, remaining_seconds: Callable[[], float]) -> None:
        self._remaining = remaining_seconds
        self._last = remaining_seconds()
        self._reserve = min(_MAX_RESERVE_SECONDS, self._last * _RESERVE_SHARE)
        self._slowest = 0.0

    def is_up(self) -> bool:
        """Whether to stop now. Called after every part, so it also learns how long a part takes."""
        now = self._remaining()
        self._slowest = max(self._slowest, self._last - now)
        self._last = now
        return now < max(self._reserve, 2 * self._slowest)


class CopyUnit:
    """The use case, with the ports that it works through."""

    def __init__(self, upstream: OpensBlobs, target: Target, plans: Plans, wait: Callable[[int], None]) -> None:
        self._upstream, self._target, self._plans, self._wait = upstream, target, plans, wait

    def __call__(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy what the unit still lacks; the answer is done, or the request for the next round.

        Raises: what the ports raise, and TransferStalledError where rounds bring nothing any more.
        """
        if request.rounds >= MAX_ROUNDS:
            raise TransferStalledError(
                f"unit {request.unit} of {request.refresh} is not done after {MAX_ROUNDS} rounds"
            )
        budget = TimeBudget(remaining_seconds)
        progress = self._load(request)
        present = self._target.present_blobs(request.repository, [blob.digest for blob in progress.blobs])
        missing = [blob for blob in progress.blobs if blob.digest not in present]
        sent = 0
        for blob in missing:
            begun = progress.upload if progress.upload and progress.upload.digest == blob.digest else None
            copied = self._copier(blob, request, progress, budget).run(begun)
            sent += copied.bytes_sent
            if copied.paused is not None:
                return _next(request, sent, done=False)
            if budget.is_up():
                return _next(request, sent, done=blob is missing[-1])
        return _next(request, sent, done=True)

    def _copier(self, blob: Descriptor, request: UnitRequest, progress: UnitProgress, budget: TimeBudget) -> BlobCopy:
        def keep(begun: BegunUpload) -> None:
            kept = msgspec.structs.replace(progress, upload=begun)
            self._plans.write(unit_key(request.refresh, request.unit), msgspec.json.encode(kept))

        source = BlobSource(self._upstream, parse_reference(request.upstream).repository)
        target = BlobTarget(self._target, request.repository)
        return BlobCopy(blob, source, target, keep=keep, must_pause=budget.is_up, wait=self._wait)

    def _load(self, request: UnitRequest) -> UnitProgress:
        key = unit_key(request.refresh, request.unit)
        try:
            return msgspec.json.decode(self._plans.read(key), type=UnitProgress)
        except msgspec.DecodeError as error:
            raise StorageError(f"the kept progress {key} cannot be read: {error}") from error


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
