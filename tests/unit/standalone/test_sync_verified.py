"""Mirrors whose rule demands signatures, copied in one process: what is not proven is not copied."""

import pytest

from local.artifacts import ArtifactLayer, make_artifact
from pullahead.admission.signatures.cosign2 import SIMPLE_SIGNING
from pullahead.cli.verify import prover
from pullahead.mirrors.record import State
from pullahead.oci.referrers import fallback_tag
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy
from pullahead.rules.signature_policy import KmsSigner, SignaturePolicy
from pullahead.standalone.compare import RulesComparison
from pullahead.standalone.sync import SyncMirrors, SyncResult
from tests.fakes.memory import FakeClock
from tests.fakes.samples import REPOSITORY, rule, rules
from tests.fakes.streaming import StreamingFakeTarget
from tests.fakes.upstream import FakeUpstream
from tests.unit.admission.signatures.signed_images import by_key, cosign2_keyed, payload
from tests.unit.standalone.test_sync import AMD64, INDEX

POLICY = AdmissionPolicy(verify=SignaturePolicy((by_key(),)))


class Verified:
    """One tag that upstream serves, and the rule that mirrors it."""

    def __init__(self, admit: AdmissionPolicy = POLICY) -> None:
        self.upstream, self.target = FakeUpstream(piece_bytes=1000), StreamingFakeTarget()
        self.upstream.serve(INDEX, "ghcr.io/team/app:one")
        declared = rule("one")._replace(admit=admit)
        self.rules = rules([declared.mirror("one")], "r", declared)
        self.prove = prover(self.upstream)

    def sign(self) -> None:
        layer = cosign2_keyed(payload(INDEX.digest, "ghcr.io/team/app"))
        signature = make_artifact(None, [ArtifactLayer(SIMPLE_SIGNING, layer.content, layer.annotations)])
        self.upstream.serve(signature, f"ghcr.io/team/app:{fallback_tag(INDEX.digest)}.sig")

    def look(self) -> RulesComparison:
        return RulesComparison(self.rules, self.upstream, self.target.published_digests, FakeClock()(), lambda *_: None)

    def run(self) -> SyncResult:
        (tag,) = self.look()().tags
        assert tag.refresh is not None
        assert (tag.state, "if its signatures are what its rule demands" in tag.reason) == (State.MISSING, True)
        sync = SyncMirrors(
            *(self.rules, self.upstream, self.target, "ecr"),
            wait_after_break=lambda _: None,
            clock=lambda: 0.0,
            cpu_clock=lambda: 0.0,
            prove=self.prove,
        )
        (result,) = sync([tag.refresh])
        return result

    @property
    def served(self) -> dict[str, str]:
        return dict(self.target.published_digests(REPOSITORY, ["one"]))


def test_signed_image_is_copied() -> None:
    service = Verified()
    service.sign()
    result = service.run()
    assert (result.error, result.note, service.served) == ("", "", {"one": INDEX.digest})
    (tag,) = service.look()().tags
    assert (tag.state, "signatures" in tag.reason) == (State.FRESH, False)


def test_unsigned_image_is_not_copied_and_nothing_is_written() -> None:
    service = Verified()
    result = service.run()
    assert f"ghcr.io/team/app@{INDEX.digest} is not copied: UNSIGNED: there is no signature" in result.error
    assert service.served == {}
    assert service.target.script.calls == ["published_digests", "published_digests"]


def test_digest_that_was_verified_is_copied_wherever_the_tag_moves() -> None:
    service = Verified()
    service.sign()
    service.upstream.script.before("list_referrers", lambda: service.upstream.serve(AMD64, "ghcr.io/team/app:one"))
    assert service.run().error == ""
    assert service.served == {"one": INDEX.digest}


def test_mode_report_copies_and_says_what_it_would_not() -> None:
    service = Verified(POLICY._replace(mode=AdmissionMode.REPORT))
    result = service.run()
    assert "if it did not only report: UNSIGNED: there is no signature" in result.note
    assert service.served == {"one": INDEX.digest}


@pytest.mark.parametrize(("mode", "is_copied"), [(AdmissionMode.ENFORCE, False), (AdmissionMode.REPORT, True)])
def test_missing_package_fails_the_mirror_and_says_what_to_install(mode: AdmissionMode, is_copied: bool) -> None:
    service = Verified(POLICY._replace(mode=mode))
    service.prove = prover(service.upstream, lambda _name: None)
    result = service.run()
    assert "pipx install '.[verify]'" in f"{result.error}{result.note}"
    assert bool(service.served) is is_copied


def test_key_of_kms_is_not_asked_for_without_a_stack() -> None:
    service = Verified(AdmissionPolicy(verify=SignaturePolicy((KmsSigner("alias/cosign"),))))
    service.sign()
    assert "which only a deployed stack asks" in service.run().error
    assert service.served == {}
