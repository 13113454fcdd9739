"""A service in memory that follows one tag whose rule demands signatures by a company's key; proofs are real."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from local.artifacts import ArtifactLayer, make_artifact
from local.images import LocalImage
from pullahead.admission.signature_evidence import SignatureEvidence
from pullahead.admission.signatures.cosign2 import SIMPLE_SIGNING
from pullahead.admission.signatures.prove import ProveSignatures
from pullahead.admission.signatures.trust_root import TrustRoot
from pullahead.errors import ConfigError, PullaheadError
from pullahead.messages import PlanResult, ReferrerNamed, RefreshRequest, VerifyResult
from pullahead.mirrors.record import State
from pullahead.oci import parse_reference
from pullahead.oci.referrers import fallback_tag
from pullahead.refresh.ports import StartResult
from pullahead.refresh.verify_signatures import verify_signatures
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy
from pullahead.rules.model import Mirror
from pullahead.rules.signature_policy import SignaturePolicy
from tests.fakes.samples import UPSTREAM, mirror
from tests.sigstore import BUNDLE, Key
from tests.unit.admission.held_service import A, HeldService
from tests.unit.admission.signatures.signed_images import (
    by_key,
    cosign2_keyed,
    keyed_bundle,
    payload,
    referrer,
    statement,
)

SIGNED = SignaturePolicy((by_key(),))
POLICY = AdmissionPolicy(verify=SIGNED, grace=timedelta(hours=1))
REPORT = POLICY._replace(mode=AdmissionMode.REPORT)
SOURCE = "ghcr.io/team/app"


class SignedService(HeldService):
    """Follows `ghcr.io/team/app:1.0`, which serves A from before its rule demanded anything."""

    def __init__(self, policy: AdmissionPolicy = POLICY, made: Mirror | None = None, *, serves: bool = True) -> None:
        super().__init__(None, made or mirror())
        self.prove = ProveSignatures(self.upstream, self.trust_root, self.clock, self.read_key)
        self.keys: dict[str, str] = {}
        self.looks: list[VerifyResult] = []
        self.crashes: BaseException | None = None
        if serves:
            self.visit(A)
        self.follow(policy)
        self.visit(A)
        self.outcomes.published.clear()
        self.delays.clear()

    def trust_root(self) -> TrustRoot:
        """Have no trust root: no signer of these tests needs one."""
        raise AssertionError("nobody asked for it")

    def read_key(self, key_id: str) -> str:
        """Read a key of KMS."""
        if key_id not in self.keys:
            raise ConfigError(f"GetPublicKey of the key {key_id} of KMS failed")
        return self.keys[key_id]

    def before_publish(self, request: RefreshRequest, planned: PlanResult) -> None:
        """Verify what the plan says, as the state machine does; a failure stops no rule that only reports."""
        if not planned.verify:
            return
        with suppress(*((PullaheadError,) if planned.verify == "report" else ())):
            if self.crashes is not None:
                raise self.crashes
            self.looks.append(verify_signatures(request, self.rules, self.prove, self.records, self.clock))

    def sign(self, image: LocalImage, key: Key | None = None, **changed: Any) -> None:
        """Let upstream have a signature of an image, as cosign 3 writes it."""
        self.refer(keyed_bundle(statement(image.digest, **changed), key), image)

    def refer(self, bundle: Mapping[str, Any] | bytes, image: LocalImage) -> None:
        """Let upstream list a bundle as a referrer of an image."""
        written = referrer(bundle, image)
        self.upstream.serve(written, f"{SOURCE}@{written.digest}")
        self.upstream.listed_kinds[written.digest] = frozenset({BUNDLE})

    def sign_by_tag(self, image: LocalImage, content: bytes | None = None) -> None:
        """Let upstream have a signature of an image, as cosign 2 writes it."""
        layer = cosign2_keyed(content or payload(image.digest, SOURCE))
        written = make_artifact(None, [ArtifactLayer(SIMPLE_SIGNING, layer.content, layer.annotations)])
        self.upstream.serve(written, f"{SOURCE}:{fallback_tag(image.digest)}.sig")

    def visit_at_once(self) -> str:
        """Check as soon as the outcome of the last refresh asks for it, and do what was started."""
        return self.visit(seconds=self.delays.pop() if self.delays else 0)

    def webhook(self, image: LocalImage) -> None:
        """Let a webhook name the signature of an image, and do what was started."""
        asked = ReferrerNamed(SOURCE, image.digest, self.clock())
        assert not [result.error for result in self.look.named(asked).results if result.error]
        self.carry_out()

    def lose_execution(self, image: LocalImage) -> RefreshRequest:
        """Let upstream serve an image, and the execution that copies it end without an outcome."""
        self.serve(image)
        self.check_one()
        request = list(self.refreshes.requests.values())[self.done]
        self.done += 1
        self.refreshes.statuses[request.name] = StartResult.ENDED
        return request

    def evidence(self, image: LocalImage) -> SignatureEvidence | None:
        """Show what is remembered of an image's signatures."""
        found = self.known.admission.find(image.digest) if self.known.admission is not None else None
        return found.signature if found is not None else None

    def outcome(self, image: LocalImage) -> str:
        """Name what was found of an image's signatures."""
        known = self.evidence(image)
        return known.outcome.value if known is not None else "-"

    @property
    def held_because(self) -> str:
        """Say for what the mirror waits."""
        assert self.known.state in (State.HELD, State.COOLING, State.FRESH)
        waiting = self.known.waiting
        return "-" if waiting is None else waiting.because.value if waiting.because is not None else waiting.gate.value


def reference_of(image: LocalImage) -> str:
    """Name an image of the upstream by its digest."""
    return str(parse_reference(UPSTREAM).at(image.digest))
