"""What is remembered of a look at a digest's signatures: what it found, by which policy, and when to look again. Pure.

It is the proof that a gate asks for, so it counts for one digest, on whose memory it is, and for one policy: that of a
rule which has changed since is void. What is not proven is looked at again, after a longer time each time.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pullahead.admission.signatures.verdict import Outcome
from pullahead.clock import Moment
from pullahead.rules.signature_policy import SignaturePolicy, fingerprint_of
from pullahead.text import one_line

MAX_WHY: Final = 200
"""Characters: a record has up to 32 of them."""
_LAST_LOOK: Final = timedelta(days=1)
_MAX_TRIES: Final = 30


class SignatureEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the last look found. `tries` is how many looks in a row have proven nothing."""

    outcome: Outcome
    at: Moment
    policy: str  # its fingerprint
    why: str = ""
    tries: int = 0

    @property
    def admits(self) -> bool:
        """Whether everything is proven that the policy demands."""
        return self.outcome is Outcome.ADMITTED

    @property
    def again_at(self) -> datetime:
        """When to look again, where something is not proven: after minutes at first, and daily in the end."""
        first = timedelta(minutes=1 if self.outcome is Outcome.UNKNOWN else 5)
        factor: int = 2 ** min(max(self.tries - 1, 0), 15)
        return self.at + min(_LAST_LOOK, first * factor)


def evidence_for(policy: SignaturePolicy | None, known: SignatureEvidence | None) -> SignatureEvidence | None:
    """Return what is known, if it was found by this policy."""
    if policy is None or known is None or known.policy != fingerprint_of(policy):
        return None
    return known


def after_look(
    before: SignatureEvidence | None, policy: SignaturePolicy, outcome: Outcome, why: str, now: datetime
) -> SignatureEvidence:
    """Remember what a look has found; `why` is shortened to one printable line."""
    known = evidence_for(policy, before)
    tries = 0 if outcome is Outcome.ADMITTED else min((known.tries if known is not None else 0) + 1, _MAX_TRIES)
    return SignatureEvidence(outcome, now, fingerprint_of(policy), one_line(why, MAX_WHY), tries)


def is_look_due(policy: SignaturePolicy | None, known: SignatureEvidence | None, now: datetime) -> bool:
    """Tell whether to look at the signatures of a digest now."""
    if policy is None:
        return False
    evidence = evidence_for(policy, known)
    return evidence is None or (not evidence.admits and now >= evidence.again_at)
