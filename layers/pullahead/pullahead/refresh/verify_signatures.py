"""Look at the signatures of what a refresh copies, and remember what was found: the evidence that its gate asks for.

Verified is upstream's root, before `platforms` leaves anything out of it. Nothing is published here: `publish_image`
decides by the evidence in the record.
"""

from collections.abc import Callable

from pullahead.admission.signatures.verdict import SignatureVerdict
from pullahead.clock import Clock
from pullahead.messages import RefreshRequest, VerifyResult
from pullahead.mirrors.admission import after_verification, demanded_proof
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.store import RecordStore, update_record
from pullahead.oci import Reference
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import NewlyCached, Rules, never_cached
from pullahead.rules.signature_policy import SignaturePolicy

Prove = Callable[[Reference, SignaturePolicy], SignatureVerdict]
"""Verifies an image that is named by digest. Raises: NotFoundError, ConfigError, StorageError."""


def verify_signatures(
    request: RefreshRequest,
    rules: Rules,
    prove: Prove,
    records: RecordStore,
    clock: Clock,
    newly_cached: NewlyCached = never_cached,
) -> VerifyResult:
    """Verify what a refresh copies, unless that is proven already, or nobody asks for it, and record the evidence.

    Raises: what `prove` raises, NoLongerWantedError, StorageError, ConflictError.
    """
    mirror = require_wanted(request, rules, newly_cached)
    key, digest = MirrorKey(request.repository, request.tag), request.root.digest
    policy = demanded_proof(records.load([key]).get(key), mirror, digest)
    if policy is None:
        return VerifyResult(digest)
    verdict = prove(request.source, policy)

    def change(current: MirrorRecord | None) -> MirrorRecord | None:
        if current is None:
            return None
        return after_verification(current, digest, policy, verdict.outcome, verdict.reason, clock())

    update_record(records, key, change)
    return VerifyResult(digest, verdict.outcome.value, verdict.reason)
