"""Which digest a tag may serve: the newest that every gate lets pass. Pure.

It decides by what was seen of the tag (`seen_digests`), the rule and the time, and starts and moves nothing.
"""

from datetime import datetime
from typing import NamedTuple

from pullahead.admission.gates import HeldReason, Hold, Occasion, hold_of
from pullahead.admission.seen_digests import SeenDigest, SeenDigests
from pullahead.rules.admission_policy import AdmissionPolicy, Serve


class Waiting(NamedTuple):
    """A digest that may not be served yet, and why."""

    digest: SeenDigest
    hold: Hold


class Choice(NamedTuple):
    """What a tag may serve; None: it is left as it is. And what is newer, and waits.

    Of several that wait, `waiting` is the newest for which somebody must act; else the one that is old enough first.
    """

    serve: SeenDigest | None
    waiting: Waiting | None = None


def choose(seen: SeenDigests, policy: AdmissionPolicy, now: datetime, *, never_copied: bool = False) -> Choice:
    """Decide what a tag may serve. `never_copied`: neither its record nor ECR has had a copy of it.

    The mode of the policy makes no difference: who reports decides the same.
    """
    at = Occasion(now, never_copied and seen.last_admitted is None)
    candidates = seen.seen
    if policy.serve is Serve.CURRENT:
        candidates = tuple(each for each in candidates if each.admitted or each is seen.current)
    waiting: list[Waiting] = []
    for each in reversed(candidates):
        hold = hold_of(each, seen, policy, at)
        if hold is None:
            return Choice(each, _first_of(waiting))
        waiting.append(Waiting(each, hold))
    return Choice(None, _first_of(waiting))


def _first_of(waiting: list[Waiting]) -> Waiting | None:
    """Choose among what waits, newest first."""
    for each in waiting:
        if each.hold.because not in (None, HeldReason.REJECTED):
            return each
    cooling = [(each.hold.until, each) for each in waiting if each.hold.until is not None]
    if cooling:
        return min(cooling, key=lambda pair: pair[0])[1]
    return waiting[0] if waiting else None
