"""Publish what was copied: child manifests first, then what refers to the image, and the root with the tag last.

Each has the exact bytes of the plan. A referrer that cannot be put is reported, and does not hold the tag back.

A publish that was interrupted puts only what is missing: ECR takes ten manifests a second of the whole account.
"""

from collections.abc import Iterable

import msgspec

from pullahead.admission.scans import ImageScans, NoScans, read_scans
from pullahead.clock import Clock, Wait, wait_after_breaks
from pullahead.errors import ConflictError, StorageError
from pullahead.messages import (
    PublishRequest,
    PublishResult,
    ReferrersOutcome,
    RefreshRequest,
    ScanEvidence,
    ScanVerdict,
)
from pullahead.mirrors.admission import after_scanned, is_decided, refusal
from pullahead.mirrors.record import MirrorRecord
from pullahead.mirrors.store import RecordStore
from pullahead.mirrors.stored_form import newer_of
from pullahead.oci import Descriptor, Digest, RawManifest, digest_of
from pullahead.oci.attestation import is_attestation
from pullahead.oci.digest import algorithm_of
from pullahead.oci.media_types import INDEXES
from pullahead.refresh.keep_previous import keep_previous
from pullahead.refresh.plan import CopyPlan, manifest_key, plan_key, unit_key
from pullahead.refresh.plan_referrers import PlannedReferrers, outcome_of, referrers_key
from pullahead.refresh.ports import PlanStore, PublishTarget
from pullahead.refresh.progress import UnitProgress
from pullahead.refresh.publish_referrers import put_referrers
from pullahead.refresh.wanted import require_wanted
from pullahead.rules.admission_policy import AdmissionMode
from pullahead.rules.mirror_key import MirrorKey
from pullahead.rules.model import Mirror, NewlyCached, Rules, never_cached

_MAX_LOOKS = 4  # at the tag that was just put: the answer may be from before


def publish_image(
    asked: PublishRequest,
    rules: Rules,
    target: PublishTarget,
    plans: PlanStore,
    records: RecordStore,
    clock: Clock,
    wait: Wait = wait_after_breaks,
    newly_cached: NewlyCached = never_cached,
    scans: ImageScans | None = None,
) -> PublishResult:
    """Publish the manifests of a plan and move the tag.

    The tag is not moved if a newer refresh of the mirror was requested meanwhile, or a newer version of Pullahead has
    written its record. Nor is it if its rule demands something that the digest does not have yet, by the record as it
    is now and this clock: then the root is put without the tag. Where it asks for scans, they are read now, of the
    images of this very plan.

    Raises: what the ports raise, NoLongerWantedError before anything is published, and ConflictError where the target
    serves another digest afterwards.
    """
    request = asked.request
    mirror = require_wanted(request, rules, newly_cached)
    plan = _load_plan(asked, plans)
    planned = _load_referrers(request, plans) if plan.has_referrers else None
    if request.late:
        return PublishResult(request.root.digest, referrers=_put_referrers(request, planned, target, plans, wait))
    root = plan.manifests[-1]
    children = plan.manifests[:-1]
    present = target.present_manifests(request.repository, [child.digest for child in children]) if children else ()
    for child in children[len(present) :]:
        target.put_manifest(request.repository, _load_manifest(request.name, child, plans), None)
    if planned is not None and planned.referrers:  # what refers to the root comes after it, and before its tag
        target.put_manifest(request.repository, _load_manifest(request.name, root, plans), None)
    referrers = _put_referrers(request, planned, target, plans, wait)
    key = MirrorKey(request.repository, request.tag)
    known = records.load([key])
    held = "its bytes alone were asked for, while its rule holds it" if request.ahead else None
    reading = _ScanReading(request, mirror, plan, plans, scans or NoScans(), clock)
    record = known.get(key)
    if held is None and key not in newer_of(known) and mirror.admit is not None:
        scan = reading.before_publish(record)
        if record is not None and scan is not None:
            record = after_scanned(record, request.root.digest, scan)
        held = refusal(record, mirror, request.root.digest, clock(), published=_served(request, target))
    if held is not None:
        target.put_manifest(request.repository, _load_manifest(request.name, root, plans), None)
        return PublishResult(digest=root.digest, referrers=referrers, held=held, scan=reading.after_copy())
    if key in newer_of(known) or _is_superseded(known.get(key), request):
        return PublishResult(digest=root.digest, superseded=True)
    kept = None
    if rules.keeps_previous(request.repository, request.tag) is not None:
        kept = keep_previous(key, root.digest, target, known.get(key))
    target.put_manifest(request.repository, _load_manifest(request.name, root, plans), request.tag)
    _verify(request, root.digest, target, wait)
    is_reported = mirror.admit is not None and mirror.admit.mode is AdmissionMode.REPORT
    scan = reading.after_copy() if is_reported else None
    return PublishResult(digest=root.digest, referrers=referrers, kept=kept, scan=scan)


class _ScanReading:
    """Reads the scans of the images of a plan, where the rule asks for them."""

    def __init__(
        self,
        request: RefreshRequest,
        mirror: Mirror,
        plan: CopyPlan,
        plans: PlanStore,
        scans: ImageScans,
        clock: Clock,
    ) -> None:
        self._request, self._mirror, self._plan, self._plans = request, mirror, plan, plans
        self._scans, self._clock = scans, clock
        self._read: ScanEvidence | None = None

    def before_publish(self, record: MirrorRecord | None) -> ScanEvidence | None:
        """Read the scans that decide whether the tag may be moved; None where they decide nothing."""
        policy = self._mirror.admit
        is_asked = policy is not None and policy.mode is AdmissionMode.ENFORCE
        return self._now() if is_asked and not is_decided(record, self._request.root.digest) else None

    def after_copy(self) -> ScanEvidence | None:
        """Read the scans of what is in ECR by now; unless they gave a result before."""
        if self._read is not None and self._read.verdict is not ScanVerdict.NONE:
            return self._read
        return self._now()

    def _now(self) -> ScanEvidence | None:
        policy = self._mirror.admit.scan if self._mirror.admit is not None else None
        if policy is None or self._mirror.pin is not None:
            return None
        now = self._clock()
        images = tuple(dict.fromkeys(self._images())) if self._read is None else self._read.images
        begun = ScanEvidence(images, self._read.since if self._read is not None else now, now, policy.fingerprint)
        self._read = read_scans(self._request.repository, begun, policy, self._scans, now)
        return self._read

    def _images(self) -> Iterable[Digest]:
        """Name what is scanned: every manifest but indexes, and what only attests something of an image."""
        for descriptor in self._plan.manifests:
            if descriptor.media_type not in INDEXES:
                manifest = _load_manifest(self._request.name, descriptor, self._plans)
                if not is_attestation(manifest.content):
                    yield descriptor.digest


def _put_referrers(
    request: RefreshRequest, planned: PlannedReferrers | None, target: PublishTarget, plans: PlanStore, wait: Wait
) -> ReferrersOutcome | None:
    if planned is None:
        return None
    failed = {digest: text for unit in planned.units for digest, text in _load_failed(request.name, unit, plans)}
    put = put_referrers(request.repository, planned.referrers, target, failed, wait)
    return outcome_of(planned, put.copied, put.bytes, put.troubles)


def _is_superseded(record: MirrorRecord | None, request: RefreshRequest) -> bool:
    """Return whether a later refresh copies another digest or platforms: the tag must not be moved back."""
    if record is None or record.upstream_digest is None:
        return False
    is_current = (record.upstream_digest, record.platforms) == (request.root.digest, request.platforms)
    return not is_current and record.episode > request.episode


def _served(request: RefreshRequest, target: PublishTarget) -> Digest | None:
    return target.published_digests(request.repository, [request.tag]).get(request.tag)


def _verify(request: RefreshRequest, digest: Digest, target: PublishTarget, wait: Wait) -> None:
    for look in range(1, _MAX_LOOKS + 1):
        served = _served(request, target)
        if served == digest:
            return
        if look < _MAX_LOOKS:
            wait(look)
    raise ConflictError(
        f"publish of {request.repository}:{request.tag} at the target was overwritten: it serves {served} "
        f"after {digest} was put. Find out who else writes this tag."
    )


def _load_plan(asked: PublishRequest, plans: PlanStore) -> CopyPlan:
    request = asked.request
    key = plan_key(request.name)
    try:
        plan = msgspec.json.decode(plans.read(key), type=CopyPlan)
    except msgspec.DecodeError as error:
        raise StorageError(f"the stored plan {key} cannot be read: {error}") from error
    if request.late:
        return plan
    # With selected platforms the root is not upstream's; either comes through the state machine, not from the bucket.
    expected = asked.root if request.platforms else request.root.digest
    if not plan.manifests or asked.root != expected or plan.manifests[-1].digest != expected:
        raise StorageError(f"the stored plan {key} does not end in {expected}")
    return plan


def _load_referrers(request: RefreshRequest, plans: PlanStore) -> PlannedReferrers:
    key = referrers_key(request.name)
    try:
        return msgspec.json.decode(plans.read(key), type=PlannedReferrers)
    except msgspec.DecodeError as error:
        raise StorageError(f"the stored referrers {key} cannot be read: {error}") from error


def _load_failed(refresh: str, unit: int, plans: PlanStore) -> Iterable[tuple[Digest, str]]:
    key = unit_key(refresh, unit)
    try:
        return msgspec.json.decode(plans.read(key), type=UnitProgress).failed.items()
    except msgspec.DecodeError as error:
        raise StorageError(f"the stored progress {key} cannot be read: {error}") from error


def _load_manifest(refresh: str, descriptor: Descriptor, plans: PlanStore) -> RawManifest:
    key = manifest_key(refresh, descriptor.digest)
    content = plans.read(key)
    if digest_of(content, algorithm_of(descriptor.digest)) != descriptor.digest:
        raise StorageError(f"the stored manifest {key} does not have its digest")
    return RawManifest(descriptor, content)
