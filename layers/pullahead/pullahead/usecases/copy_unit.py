"""Copy one unit of a plan, as far as the time goes; ask for another round where it does not suffice.

A unit that was killed is simply run again: which blobs are done and how far an upload got is asked of the target.
"""

from collections.abc import Callable

import msgspec

from pullahead.copying.progress import UnitProgress
from pullahead.errors import StorageError, TransferStalledError
from pullahead.messages import UnitRequest
from pullahead.oci import parse_reference
from pullahead.ports import OpensBlobs, Plans, StreamsBlobs, Target, Wait
from pullahead.usecases.copy_round import CopyRound, Ends
from pullahead.usecases.plan import unit_key
from pullahead.usecases.read_on import BlobSource
from pullahead.usecases.read_wide import widening
from pullahead.usecases.time_budget import TimeBudget

MAX_ROUNDS = 400
_MAX_STALLED_ROUNDS = 3


class CopyUnit:
    """The use case, with the ports that it works through; `threads` blobs go at once.

    With `streams`, blobs that surely fit the time left go in one stream; without, all go by parts.
    """

    def __init__(
        self,
        upstream: OpensBlobs,
        target: Target,
        plans: Plans,
        wait: Wait,
        *,
        threads: int = 1,
        streams: StreamsBlobs | None = None,
    ) -> None:
        self._upstream, self._target, self._plans = upstream, target, plans
        self._wait, self._threads, self._streams = wait, threads, streams

    def __call__(self, request: UnitRequest, remaining_seconds: Callable[[], float]) -> UnitRequest:
        """Copy what the unit still lacks; the answer is done, or the request for the next round.

        Raises: what the ports raise, and TransferStalledError where rounds bring nothing any more.
        """
        if request.rounds >= MAX_ROUNDS:
            raise TransferStalledError(
                f"unit {request.unit} of {request.refresh} is not done after {MAX_ROUNDS} rounds"
            )
        budget = TimeBudget(remaining_seconds, self._threads)
        key = unit_key(request.refresh, request.unit)

        def keep(progress: UnitProgress) -> None:
            self._plans.write(key, msgspec.json.encode(progress))

        ends = self._ends(request, lambda: -remaining_seconds())
        copied = CopyRound(self._load(key), ends, budget, keep).run(self._threads)
        return _next(request, copied.bytes_sent, done=copied.done)

    def _ends(self, request: UnitRequest, clock: Callable[[], float]) -> Ends:
        source = BlobSource(self._upstream, parse_reference(request.upstream).repository, widening(clock))
        return Ends(source, self._target, request.repository, self._streams, self._wait)

    def _load(self, key: str) -> UnitProgress:
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
