"""What a tag may serve, where its rule demands something of a digest: it is judged as if upstream served that. Pure.

docs/adr/0036-admission.md says why, and who decides again before the tag moves.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import structs

from pullahead.admission.choose import COPIED_WITHIN, Choice, Waiting, choose, to_copy, to_verify
from pullahead.admission.gates import FOUND_BAD, HeldReason, Hold, Occasion, hold_of
from pullahead.admission.scans import wants_scan
from pullahead.admission.seen_digests import (
    Decision,
    SeenDigest,
    SeenDigests,
    TakenBack,
    after_admitted,
    after_copied,
    after_decision,
    after_gone,
    after_missing,
    after_scan,
    after_served,
    after_signature,
)
from pullahead.admission.signature_evidence import after_look, evidence_for
from pullahead.admission.signatures.verdict import Outcome
from pullahead.errors import NotFoundError, PullaheadError
from pullahead.messages import ScanEvidence
from pullahead.mirrors.record import ON_TIME, MirrorRecord, State, WaitingDigest
from pullahead.oci import Descriptor, Digest
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy
from pullahead.rules.model import Mirror
from pullahead.rules.signature_policy import SignaturePolicy

_CLOCKS_DIFFER: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(minutes=14)  # SQS delays by 15 at most


class Admission(NamedTuple):
    """What a check finds out about what a tag may serve.

    `wanted` is what to judge the mirror by: a descriptor as if upstream served it, or upstream's error; None where the
    tag is left as it is. `seen` is to be remembered; `waiting` may not be served yet, and `ahead` is to be copied
    without its tag, or to be verified where it was copied before; `is_again`: it should have been copied before. `news`
    is what upstream has taken back.
    """

    wanted: Descriptor | PullaheadError | None
    seen: SeenDigests | None = None
    waiting: WaitingDigest | None = None
    ahead: Descriptor | None = None
    news: tuple[TakenBack, ...] = ()
    is_again: bool = False


def admit(
    answer: Descriptor | PullaheadError,
    published: Digest | PullaheadError | None,
    before: MirrorRecord | None,
    mirror: Mirror,
    now: datetime,
    asked_at: datetime,
    *,
    at_once: bool = False,
) -> Admission:
    """Decide what a tag may serve, by upstream's answer and what ECR serves.

    `now` is by the clock of the check, `asked_at` by that of who asked for it. What a person has pinned does not wait.
    `at_once`: what could not be proven before is to be verified now, and not when its time comes.
    """
    policy = mirror.admit
    if policy is None or mirror.pin is not None:
        return Admission(answer)
    known = before.admission if before is not None else None  # None: the rule begins to demand something
    seen_at = max(now, asked_at)
    if isinstance(answer, NotFoundError) and known is not None:
        gone = after_gone(known, seen_at)
        return Admission(answer, gone.after, news=gone.news)
    if isinstance(answer, PullaheadError):
        return Admission(answer, known, before.waiting if before is not None else None)
    seen, news = after_served(known or SeenDigests(), answer, seen_at)
    reports = policy.mode is AdmissionMode.REPORT
    if not reports:
        seen = _with_published(seen, published, before, seen_at)
    choice = choose(seen, policy, now, never_copied=_was_never_copied(before, published))
    is_served = choice.serve is not None and choice.serve.digest in _served_digests(published, before)
    if choice.serve is not None and not choice.serve.admitted and (reports or is_served):
        # With `report`, as if it were published now. Else the outcome of its publish is not recorded yet, or lost.
        seen = after_admitted(seen, choice.serve.root, seen_at)
    waiting = _waiting(choice.waiting, reported=reports)
    is_new = known is None or known.find(answer.digest) is None
    look = to_verify(seen, policy, now, at_once=at_once)
    ahead = look.root if look is not None else None
    if reports:
        return Admission(answer, seen, waiting, None if is_new else ahead, news)
    if is_new and waiting is not None and answer != _root_of(choice):
        ahead = answer
    is_again = False
    if ahead is None:
        ahead, is_again = _not_copied(seen, policy, choice, now)
    return Admission(_root_of(choice), seen, waiting, ahead, news, is_again)


def _not_copied(
    seen: SeenDigests, policy: AdmissionPolicy, choice: Choice, now: datetime
) -> tuple[Descriptor | None, bool]:
    """Find what waits and should have been copied before; and whether it is copied again, once an hour."""
    if (missing := to_copy(seen, policy, now, choice.serve)) is not None:
        return missing.root, False
    if choice.waiting is None or choice.waiting.hold.because is HeldReason.REJECTED:
        return None, False
    waits = choice.waiting.digest
    is_again = wants_scan(waits, policy) and now - waits.first_at >= COPIED_WITHIN
    return waits.root if is_again else None, is_again


def _root_of(choice: Choice) -> Descriptor | None:
    return choice.serve.root if choice.serve is not None else None


def _waiting(waiting: Waiting | None, *, reported: bool) -> WaitingDigest | None:
    if waiting is None:
        return None
    digest, hold = waiting
    return WaitingDigest.of(digest.digest, digest.first_at, hold, reported=reported)


def refusal(
    known: MirrorRecord | None, mirror: Mirror, digest: Digest, now: datetime, *, published: Digest | None
) -> str | None:
    """Say why a tag may not be moved to upstream's digest now; None if it may.

    For the publish, which decides again, by the record alone and by its own clock, just before the tag moves.
    `published` is what ECR serves under the tag.
    """
    policy = mirror.admit
    if policy is None or mirror.pin is not None or policy.mode is AdmissionMode.REPORT:
        return None
    seen = (known.admission if known is not None else None) or SeenDigests()
    choice = choose(seen, policy, now, never_copied=_was_never_copied(known, published))
    if choice.serve is not None and choice.serve.digest == digest:
        return None
    if seen.find(digest) is None:
        return f"{digest} was not seen under the tag, or upstream has taken it back"
    if choice.waiting is not None and choice.waiting.digest.digest == digest:
        return WaitingDigest.of(digest, choice.waiting.digest.first_at, choice.waiting.hold).text
    serves = choice.serve.digest if choice.serve is not None else "what it serves"
    return f"the tag may serve {serves}, and not {digest}"


def after_publish(record: MirrorRecord, upstream_digest: Digest, now: datetime) -> MirrorRecord:
    """Remember that the tag serves a digest of upstream, where its rule demands anything.

    Where the rule only reports, that is no admission: what waits goes on as if the tag did not serve it.
    """
    if record.admission is None or (found := record.admission.find(upstream_digest)) is None:
        return record
    if record.waiting is not None and record.waiting.reported:
        return record
    waits = record.waiting is not None and record.waiting.digest != upstream_digest
    return structs.replace(
        record,
        admission=after_admitted(record.admission, found.root, now),
        waiting=record.waiting if waits else None,
    )


def after_copy(record: MirrorRecord, upstream_digest: Digest) -> MirrorRecord:
    """Remember that a digest is in ECR, without the tag."""
    if record.admission is None:
        return record
    return structs.replace(record, admission=after_copied(record.admission, upstream_digest))


def demanded_proof(record: MirrorRecord | None, mirror: Mirror, digest: Digest) -> SignaturePolicy | None:
    """Return by which policy a digest is to be verified now; None where it need not be.

    That is where it is proven, the tag serves it, a person has decided, or it is not known under the tag: then nothing
    that was proven would count.
    """
    policy = mirror.admit.verify if mirror.admit is not None and mirror.pin is None else None
    seen = record.admission if record is not None else None
    found = seen.find(digest) if seen is not None else None
    if policy is None or seen is None or found is None or found.admitted or seen.decision_of(digest) is not None:
        return None
    known = evidence_for(policy, found.signature)
    return None if known is not None and known.admits else policy


def look_again_after(
    record: MirrorRecord, mirror: Mirror, digest: Digest, began: datetime, now: datetime
) -> timedelta | None:
    """Return after how long a mirror is to be checked after a look at a digest's signatures that began at a moment.

    At once where the look decides something; else when it is time for the next one, if that is before long: the
    schedule finds the others.
    """
    policy = mirror.admit
    seen = record.admission
    found = seen.find(digest) if seen is not None else None
    if policy is None or policy.verify is None or seen is None or found is None or found.admitted:
        return None
    known = evidence_for(policy.verify, found.signature)
    if known is None or known.at < began - _CLOCKS_DIFFER:
        return None
    hold = _hold_now(record, found, seen, policy, now)
    told = record.waiting.because if record.waiting is not None and record.waiting.digest == digest else None
    if hold is None or (hold.because in FOUND_BAD and hold.because is not told):
        return timedelta()
    wait = known.again_at - now
    return max(wait, timedelta()) if not known.admits and wait <= _LONGEST_WAIT else None


def is_awaited(record: MirrorRecord, mirror: Mirror, digest: Digest, now: datetime) -> bool:
    """Tell whether a digest waits for the moment that the record names: a review has the mirror checked then."""
    seen, waiting = record.admission, record.waiting
    found = seen.find(digest) if seen is not None else None
    if mirror.admit is None or seen is None or found is None or waiting is None or waiting.digest != digest:
        return False
    hold = _hold_now(record, found, seen, mirror.admit, now)
    return hold is not None and hold.until is not None and hold.until == waiting.until


def _hold_now(
    record: MirrorRecord, found: SeenDigest, seen: SeenDigests, policy: AdmissionPolicy, now: datetime
) -> Hold | None:
    is_first = _was_never_copied(record, record.published_digest) and seen.last_admitted is None
    return hold_of(found, seen, policy, Occasion(now, is_first))


def after_verification(
    record: MirrorRecord, digest: Digest, policy: SignaturePolicy, outcome: Outcome, why: str, now: datetime
) -> MirrorRecord:
    """Remember what a look at the signatures of a digest found, if the digest is known under the tag."""
    found = record.admission.find(digest) if record.admission is not None else None
    if record.admission is None or found is None:
        return record
    evidence = after_look(found.signature, policy, outcome, why, now)
    return structs.replace(record, admission=after_signature(record.admission, digest, evidence))


def after_failed_look(
    record: MirrorRecord, mirror: Mirror, digest: Digest, why: str, began: datetime, now: datetime
) -> MirrorRecord:
    """Remember that what should have looked at the signatures of a digest has failed, and found nothing since it began.

    It is no proof of anything, and is tried again.
    """
    policy = demanded_proof(record, mirror, digest)
    found = record.admission.find(digest) if record.admission is not None else None
    if policy is None or found is None:
        return record
    known = evidence_for(policy, found.signature)
    if known is not None and known.at >= began:
        return record
    return after_verification(record, digest, policy, Outcome.UNKNOWN, why, now)


def after_scanned(record: MirrorRecord, upstream_digest: Digest, evidence: ScanEvidence) -> MirrorRecord:
    """Remember what the scans of a digest say, which a publish has read; the next check acts by it."""
    if record.admission is None:
        return record
    return structs.replace(record, admission=after_scan(record.admission, upstream_digest, evidence))


def is_decided(record: MirrorRecord | None, upstream_digest: Digest) -> bool:
    """Tell whether a person has decided about a digest, which outweighs every gate."""
    seen = record.admission if record is not None else None
    return seen is not None and seen.decision_of(upstream_digest) is not None


def is_ahead(record: MirrorRecord, upstream_digest: Digest) -> bool:
    """Tell whether a digest is copied, or verified, before the tag may serve it; or the rule only reports that."""
    found = record.admission.find(upstream_digest) if record.admission is not None else None
    reports = record.waiting is not None and record.waiting.reported
    is_refreshed = record.upstream_digest == upstream_digest and record.state not in ON_TIME
    return found is not None and not found.admitted and (reports or not is_refreshed)


def after_not_found(record: MirrorRecord, digest: Digest, now: datetime) -> tuple[MirrorRecord, tuple[TakenBack, ...]]:
    """Remember that upstream does not have a digest by itself any more, though it has served it under the tag.

    What upstream serves under the tag now is not taken back: it cannot be read, which is a failure.
    """
    seen = record.admission
    found = seen.find(digest) if seen is not None else None
    if seen is None or found is None or found is seen.current:
        return record, ()
    change = after_missing(seen, digest, now)
    waits = record.waiting is not None and record.waiting.digest != digest
    return structs.replace(record, admission=change.after, waiting=record.waiting if waits else None), change.news


def after_decision_of_person(record: MirrorRecord, decision: Decision) -> MirrorRecord:
    """Remember what a person has decided about a digest; the next check acts by it."""
    seen = after_decision(record.admission or SeenDigests(), decision)
    return structs.replace(record, admission=seen)


def state_of(waiting: WaitingDigest | None) -> State:
    """Return the state of a mirror whose tag serves what it may."""
    return State.FRESH if waiting is None or waiting.reported else waiting.state


def _with_published(
    seen: SeenDigests, published: Digest | PullaheadError | None, before: MirrorRecord | None, seen_at: datetime
) -> SeenDigests:
    """Take what ECR serves for admitted where the rule begins to demand something; later only a publish admits."""
    is_known = before is not None and before.admission is not None
    if is_known and (before is None or before.waiting is None or not before.waiting.reported):
        return seen
    served = _served_digests(published, before)
    found = next((each for each in seen.seen if each.digest in served), None)
    return seen if found is None or found.admitted else after_admitted(seen, found.root, seen_at)


def _served_digests(
    published: Digest | PullaheadError | None, before: MirrorRecord | None
) -> frozenset[Digest | PullaheadError | None]:
    """Name upstream's digests of which ECR serves what was published for them."""
    made = before.filtered if before is not None else None
    if made is None or made.digest != published:
        return frozenset({published})
    return frozenset({published, made.upstream_digest})


def _was_never_copied(before: MirrorRecord | None, published: Digest | PullaheadError | None) -> bool:
    """Tell whether neither ECR nor the record knows of any copy; an ECR that refuses to answer knows of one."""
    if published is not None or before is None:
        return published is None
    return (before.published_digest, before.previous_digest, before.last_refresh) == (None, None, None)
