"""Which digests upstream served under a tag, and since when: what a cooldown counts from. Pure.

Only our own checks count, by the moment when they saw a digest. Nothing that upstream says of a time is believed. A
check knows of two clocks, its own and that of who asked for it: what it sees is of the later moment, so that no clock
that is behind makes a digest older. One that is ahead is found out by the publish, which decides again.

A digest that upstream takes back is forgotten, and starts anew if it comes back; ECR may serve it meanwhile. One that
upstream replaces by another is remembered: it may be old enough later. What nobody remembers starts anew, so that a
memory that is lost, full or damaged makes a digest wait for longer, never for less.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from msgspec import structs

from pullahead.admission.signature_evidence import SignatureEvidence
from pullahead.clock import Moment
from pullahead.messages import ScanEvidence
from pullahead.oci import Descriptor, Digest

MAX_SEEN: Final = 32
"""Digests of one tag, in its record: some 8 KB."""

MAX_BEFORE_ADMITTED: Final = 5
"""Of these, digests before the one that was admitted last: what upstream may go back to."""

MAX_TAKEN_BACK: Final = 8

MAX_DECISIONS: Final = 32

MAX_EARLIER: Final = 256
"""Digests of which only is known that they were there once: some 3 KB, for a tag that is rebuilt again and again."""
_EARLIER_DIGITS: Final = 8


class SeenDigest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A digest under a tag.

    `first_at` is when it was first seen; if it went and came back, later by the time between. `doubted_at` is set while
    a clock says that this is in the future: it is when that was noticed. `copied`: ECR has it, without the tag.
    `scan`: what its scans said, while it is not admitted.
    """

    root: Descriptor
    first_at: Moment
    replaced_at: Moment | None = None  # None: upstream serves it
    admitted: bool = False
    doubted_at: Moment | None = None
    copied: bool = False
    signature: SignatureEvidence | None = None  # what the last look at its signatures found
    scan: ScanEvidence | None = None

    @property
    def digest(self) -> Digest:
        """Upstream's digest, of all platforms."""
        return self.root.digest

    def age(self, now: datetime) -> timedelta:
        """How long ago it was first seen.

        If that is in the future, one of two clocks was wrong: then it counts from when that was noticed.
        """
        if now >= self.first_at:
            return now - self.first_at
        return max(now - self.doubted_at, timedelta()) if self.doubted_at is not None else timedelta()


class TakenBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A digest that upstream took back; before it was admitted, or only after that."""

    digest: Digest
    first_at: Moment
    at: Moment
    admitted: bool = False


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a person has decided about a digest under a tag."""

    digest: Digest
    admits: bool
    by: str  # the ARN of whoever it was
    at: Moment
    reason: str = ""


class SeenDigests(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What was seen under one tag, in the order in which upstream served it; and the last digests that it took back.

    `earlier` are the first hex digits of digests that were there before: enough to tell that upstream goes back, not to
    admit anything. `decisions` are those of people, oldest first.
    """

    seen: tuple[SeenDigest, ...] = ()
    taken_back: tuple[TakenBack, ...] = ()
    earlier: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def current(self) -> SeenDigest | None:
        """What upstream served when it was last seen to have the tag."""
        last = self.seen[-1] if self.seen else None
        return last if last is not None and last.replaced_at is None else None

    @property
    def last_admitted(self) -> int | None:
        """The place of the last digest that was admitted."""
        return next((place for place in reversed(range(len(self.seen))) if self.seen[place].admitted), None)

    def find(self, digest: Digest) -> SeenDigest | None:
        """Find what is known of a digest."""
        return next((each for each in self.seen if each.digest == digest), None)

    def decision_of(self, digest: Digest) -> Decision | None:
        """Find what a person has decided about a digest."""
        if not self.decisions:
            return None
        return next((each for each in reversed(self.decisions) if each.digest == digest), None)


class Change(NamedTuple):
    """What is remembered after an observation, and what upstream has taken back in time and nobody was told of."""

    after: SeenDigests
    news: tuple[TakenBack, ...] = ()


def begin(admitted: Descriptor, since: datetime) -> SeenDigests:
    """Begin with a digest that the tag has served since a moment, from before its rule demanded anything."""
    return SeenDigests((SeenDigest(admitted, since, admitted=True),))


def after_served(before: SeenDigests, root: Descriptor, now: datetime) -> Change:
    """Remember that upstream serves a digest under the tag. It changes nothing while upstream goes on serving it."""
    seen = tuple(_with_doubt(each, now) for each in before.seen)
    place = next((place for place, each in enumerate(seen) if each.digest == root.digest), None)
    if place is not None and place == len(seen) - 1 and seen[place].replaced_at is None:
        return Change(before if seen == before.seen else structs.replace(before, seen=seen))
    seen = tuple(each if each.replaced_at is not None else structs.replace(each, replaced_at=now) for each in seen)
    known = structs.replace(before, seen=seen)
    if place is not None:
        return _after_return(known, place, now)
    if _earlier_text(root.digest) not in before.earlier:
        return Change(_bounded(structs.replace(known, seen=(*seen, SeenDigest(root, now)))))
    return _taking_back(structs.replace(known, seen=(SeenDigest(root, now),)), seen, now)


def after_gone(before: SeenDigests, now: datetime) -> Change:
    """Remember that upstream has the tag no longer: it takes back all that was there."""
    return _taking_back(structs.replace(before, seen=()), before.seen, now)


def after_missing(before: SeenDigests, digest: Digest, now: datetime) -> Change:
    """Remember that upstream does not have a digest, which was to be published, any more."""
    kept = tuple(each for each in before.seen if each.digest != digest)
    lost = tuple(each for each in before.seen if each.digest == digest)
    return _taking_back(structs.replace(before, seen=kept), lost, now)


def after_copied(before: SeenDigests, digest: Digest) -> SeenDigests:
    """Remember that ECR has a digest, without the tag."""
    seen = tuple(each if each.digest != digest else structs.replace(each, copied=True) for each in before.seen)
    return structs.replace(before, seen=seen)


def after_scan(before: SeenDigests, digest: Digest, evidence: ScanEvidence) -> SeenDigests:
    """Remember what the scans of a digest say. Once it is admitted, nothing is remembered of that.

    Nor is what was read before that which is known: the outcome of a refresh may be recorded late, or twice.
    """
    found = before.find(digest)
    if found is None or found.admitted:
        return before
    if found.scan is not None and found.scan.images == evidence.images:  # copied again, and not for the first time
        if found.scan.at > evidence.at and found.scan.policy == evidence.policy:
            return before
        evidence = structs.replace(evidence, since=min(found.scan.since, evidence.since))
    after = structs.replace(found, scan=evidence)
    return structs.replace(before, seen=tuple(after if each is found else each for each in before.seen))


def after_admitted(before: SeenDigests, root: Descriptor, now: datetime) -> SeenDigests:
    """Remember that the tag serves a digest. One that was not seen is taken for older than all others."""
    if before.find(root.digest) is None:
        known = SeenDigest(root, now, now if before.seen else None, admitted=True)
        return _bounded(structs.replace(before, seen=(known, *before.seen)))
    seen = (
        each if each.digest != root.digest else structs.replace(each, admitted=True, scan=None) for each in before.seen
    )
    return _bounded(structs.replace(before, seen=tuple(seen)))


def after_signature(before: SeenDigests, digest: Digest, evidence: SignatureEvidence) -> SeenDigests:
    """Remember what a look at the signatures of a digest found."""
    seen = tuple(each if each.digest != digest else structs.replace(each, signature=evidence) for each in before.seen)
    return structs.replace(before, seen=seen)


def after_decision(before: SeenDigests, decision: Decision) -> SeenDigests:
    """Remember what a person has decided; it takes the place of what was decided about this digest before.

    Of too many, the oldest that admits is forgotten, so that what was rejected stays so.
    """
    others = [each for each in before.decisions if each.digest != decision.digest]
    if len(others) >= MAX_DECISIONS:
        others.pop(next((place for place, each in enumerate(others) if each.admits), 0))
    return structs.replace(before, decisions=(*others, decision))


def _after_return(before: SeenDigests, place: int, now: datetime) -> Change:
    """Go on with a digest that upstream serves again: it takes back what came after it.

    The time in which it was gone does not count, so that nobody shows a digest for a moment to serve it days later. As
    it does not start anew, one of two digests that are served in turn is old enough some day.
    """
    back = before.seen[place]
    gone_for = max(now - back.replaced_at, timedelta()) if back.replaced_at is not None else timedelta()
    first_at = back.first_at if back.admitted else back.first_at + gone_for
    again = structs.replace(back, first_at=first_at, replaced_at=None)
    return _taking_back(structs.replace(before, seen=(*before.seen[:place], again)), before.seen[place + 1 :], now)


def _taking_back(kept: SeenDigests, lost: Sequence[SeenDigest], now: datetime) -> Change:
    """Remember what is lost as taken back. What was taken back before, and is remembered as such, is no news.

    That a person had admitted it is forgotten, and that one had rejected it is not.
    """
    told = {each.digest for each in kept.taken_back}
    every = tuple(TakenBack(each.digest, each.first_at, now, each.admitted) for each in lost)
    again = {each.digest for each in every}
    others = tuple(each for each in kept.taken_back if each.digest not in again)
    decisions = tuple(each for each in kept.decisions if each.digest not in again or not each.admits)
    after = structs.replace(kept, taken_back=(*others, *every)[-MAX_TAKEN_BACK:], decisions=decisions)
    return Change(after, tuple(each for each in every if not each.admitted and each.digest not in told))


def _with_doubt(seen: SeenDigest, now: datetime) -> SeenDigest:
    """Note that a digest was first seen in the future, or that this is over."""
    if now >= seen.first_at:
        return seen if seen.doubted_at is None else structs.replace(seen, doubted_at=None)
    return seen if seen.doubted_at is not None else structs.replace(seen, doubted_at=now)


def _earlier_text(digest: Digest) -> str:
    return digest.partition(":")[2][:_EARLIER_DIGITS]


def _bounded(whole: SeenDigests) -> SeenDigests:
    """Forget what no decision needs, and then digests between others, those that are closest together first.

    Kept are the current one, the last that was admitted, and the first after that, which is old enough before the
    others: the tag of an upstream that moves at every check moves, too.
    """
    admitted = whole.last_admitted
    too_old = max(0, admitted - MAX_BEFORE_ADMITTED) if admitted is not None else 0
    seen = whole.seen[too_old:]
    first = admitted - too_old + 2 if admitted is not None else 1
    while len(seen) > MAX_SEEN:
        place = min(range(first, len(seen) - 1), key=lambda each: seen[each + 1].first_at - seen[each - 1].first_at)
        seen = (*seen[:place], *seen[place + 1 :])
    if len(seen) == len(whole.seen):
        return whole
    kept = {each.digest for each in seen}
    forgotten = (_earlier_text(each.digest) for each in whole.seen if each.digest not in kept)
    return structs.replace(whole, seen=seen, earlier=(*whole.earlier, *forgotten)[-MAX_EARLIER:])
