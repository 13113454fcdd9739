"""Merge what events ask for: of one mirror, one look now and one when the window is over. Looks at nothing itself."""

from collections import defaultdict

import msgspec

from pullahead.messages import CheckRequest
from pullahead.ports import Claim, ClaimsWindows, Clock, QueuesChecks
from pullahead.rules.model import mirror_key


class MergeChecks:
    """The use case, with the windows that it claims and the queue for what is to be looked at later."""

    def __init__(self, windows: ClaimsWindows, queue: QueuesChecks, clock: Clock) -> None:
        self._windows, self._queue, self._clock = windows, queue, clock

    def __call__(self, request: CheckRequest) -> CheckRequest | None:
        """Leave of a request what is to be looked at now, settled; None where that is nothing.

        What is to be looked at later is sent again, settled, with the delay. A settled request, or one that no event
        asked for, is left as it is. Raises StorageError: then none of it is to be taken as done.
        """
        if request.is_settled:
            return request
        now, later = list[str](), defaultdict[int, list[str]](list)
        for tag in dict.fromkeys(request.tags):
            claimed = self._windows.claim(mirror_key(request.repository, tag), self._clock())
            if claimed.when is Claim.NOW:
                now.append(tag)
            elif claimed.when is Claim.LATER:
                later[claimed.delay_seconds].append(tag)
        for delay, tags in later.items():
            self._queue.send([_settled(request, tags)], delay)
        return _settled(request, now) if now else None


def _settled(request: CheckRequest, tags: list[str]) -> CheckRequest:
    return msgspec.structs.replace(request, tags=tuple(tags), settled=True)
