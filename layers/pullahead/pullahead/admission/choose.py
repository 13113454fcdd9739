"""Which digest a tag may serve: the newest that every gate lets pass. Pure.

It decides by what was seen of the tag (`seen_digests`), the rule and the time, and starts and moves nothing.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pullahead.admission.gates import HeldReason, Hold, Occasion, hold_of
from pullahead.admission.seen_digests import SeenDigest, SeenDigests
from pullahead.admission.signature_evidence import evidence_for, is_look_due
from pullahead.rules.admission_policy import AdmissionPolicy, Serve

COPIED_WITHIN: Final = timedelta(hours=1)
"""Of when it was first seen, what waits is copied, at each check that does not know of its copy yet."""


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
    waiting: list[Waiting] = []
    for each in _newest_first(seen, policy):
        hold = hold_of(each, seen, policy, at)
        if hold is None:
            return Choice(each, _first_of(waiting))
        waiting.append(Waiting(each, hold))
    return Choice(None, _first_of(waiting))


def to_verify(seen: SeenDigests, policy: AdmissionPolicy, now: datetime, *, at_once: bool = False) -> SeenDigest | None:
    """Find the newest digest whose signatures are to be looked at now, of those that may be served after that.

    `at_once`: what was looked at before need not wait its time until the next look. What a person has decided about
    needs no proof.
    """
    if policy.verify is None:
        return None
    for each in _newest_first(seen, policy):
        if each.admitted:
            return None
        known = evidence_for(policy.verify, each.signature)
        is_due = is_look_due(policy.verify, known, now) or (at_once and known is not None and not known.admits)
        if is_due and seen.decision_of(each.digest) is None:
            return each
    return None


def to_copy(seen: SeenDigests, policy: AdmissionPolicy, now: datetime, serve: SeenDigest | None) -> SeenDigest | None:
    """Find the newest digest that waits, is new, and is not known to be in ECR; `serve` is what the tag may serve.

    That its copy was asked for before is no proof: the process may have ended in between, or no execution been started.
    """
    for each in _newest_first(seen, policy):
        if each.admitted or each is serve:
            return None
        is_missing = not each.copied and each.scan is None and seen.decision_of(each.digest) is None
        if is_missing and each.age(now) < COPIED_WITHIN:
            return each
    return None


def _newest_first(seen: SeenDigests, policy: AdmissionPolicy) -> Iterator[SeenDigest]:
    """List the digests that the tag may serve, or may serve later."""
    only_current = policy.serve is Serve.CURRENT
    return (each for each in reversed(seen.seen) if not only_current or each.admitted or each is seen.current)


def _first_of(waiting: list[Waiting]) -> Waiting | None:
    """Choose among what waits, newest first."""
    for each in waiting:
        if each.hold.because not in (None, HeldReason.REJECTED):
            return each
    cooling = [(each.hold.until, each) for each in waiting if each.hold.until is not None]
    if cooling:
        return min(cooling, key=lambda pair: pair[0])[1]
    return waiting[0] if waiting else None
