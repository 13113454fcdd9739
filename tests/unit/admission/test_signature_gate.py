"""What a gate says of a digest by the evidence of its signatures: for this digest, by this policy, and no other."""

from datetime import timedelta

import pytest
from msgspec import structs

from pullahead.admission.choose import choose, to_verify
from pullahead.admission.gates import GateName, HeldReason, Hold, Occasion, hold_of
from pullahead.admission.seen_digests import (
    Decision,
    SeenDigests,
    after_admitted,
    after_decision,
    after_served,
    after_signature,
)
from pullahead.admission.signature_evidence import MAX_WHY, SignatureEvidence, after_look, is_look_due
from pullahead.admission.signatures.verdict import Outcome
from pullahead.rules.admission_policy import AdmissionMode, AdmissionPolicy, Serve
from pullahead.rules.signature_policy import (
    KeylessSigner,
    KeySigner,
    KmsSigner,
    SignaturePolicy,
    fingerprint_of,
    with_keys_of_kms,
)
from tests.fakes.samples import digest, root
from tests.unit.admission.stories import after, at, name_of

SIGNED_BY = SignaturePolicy((KeylessSigner("https://i.example", "https://github.com/org/app@refs/tags/*"),))
BY_KEY = SignaturePolicy((KeySigner("-----BEGIN PUBLIC KEY-----", "cosign.pub"),))
POLICY = AdmissionPolicy(verify=SIGNED_BY, grace=timedelta(hours=1))
SERVES_A = after("0 A, 0 +A, 100 B")


def looked(
    outcome: Outcome, hour: float = 100, verify: SignaturePolicy = SIGNED_BY, why: str = "", tries: int = 1
) -> SignatureEvidence:
    return SignatureEvidence(
        outcome, at(hour), fingerprint_of(verify), why, 0 if outcome is Outcome.ADMITTED else tries
    )


def seen(evidence: SignatureEvidence | None = None, name: str = "B", story: SeenDigests = SERVES_A) -> SeenDigests:
    return story if evidence is None else after_signature(story, digest(name), evidence)


def hold(known: SeenDigests, hour: float, policy: AdmissionPolicy = POLICY, name: str = "B") -> Hold | None:
    found = known.find(digest(name))
    assert found is not None
    return hold_of(found, known, policy, Occasion(at(hour)))


def served(known: SeenDigests, hour: float, policy: AdmissionPolicy = POLICY) -> str:
    choice = choose(known, policy, at(hour))
    return name_of(choice.serve.digest) if choice.serve is not None else "-"


def to_look_at(known: SeenDigests, hour: float, policy: AdmissionPolicy = POLICY, *, at_once: bool = False) -> str:
    found = to_verify(known, policy, at(hour), at_once=at_once)
    return name_of(found.digest) if found is not None else "-"


def test_proven_digest_is_served() -> None:
    assert hold(seen(looked(Outcome.ADMITTED)), 100) is None
    assert served(seen(looked(Outcome.ADMITTED)), 100) == "B"


@pytest.mark.parametrize("evidence", [None, looked(Outcome.UNSIGNED), looked(Outcome.UNKNOWN)])
def test_digest_waits_for_its_signature_until_the_grace_is_over(evidence: SignatureEvidence | None) -> None:
    assert hold(seen(evidence), 100.5) == Hold(until=at(101), gate=GateName.SIGNATURE)
    assert served(seen(evidence), 100.5) == "A"


@pytest.mark.parametrize(
    ("evidence", "because"),
    [
        (None, HeldReason.UNVERIFIED),
        (looked(Outcome.UNKNOWN), HeldReason.UNVERIFIED),
        (looked(Outcome.UNSIGNED), HeldReason.UNSIGNED),
        (looked(Outcome.UNTRUSTED), HeldReason.UNTRUSTED),
    ],
)
def test_digest_is_held_when_the_grace_is_over(evidence: SignatureEvidence | None, because: HeldReason) -> None:
    assert hold(seen(evidence), 101) == Hold(because=because)
    assert served(seen(evidence), 101) == served(seen(evidence), 9999) == "A"


def test_untrusted_digest_is_held_at_once_with_the_reason() -> None:
    found = hold(seen(looked(Outcome.UNTRUSTED, why="signed by another")), 100)
    assert found == Hold(because=HeldReason.UNTRUSTED, why="signed by another")


def test_evidence_for_another_digest_proves_nothing() -> None:
    proven = seen(looked(Outcome.ADMITTED), "A")
    assert served(proven, 200) == "A"
    assert hold(proven, 200) == Hold(because=HeldReason.UNVERIFIED)


def test_evidence_by_another_policy_proves_nothing() -> None:
    assert hold(seen(looked(Outcome.ADMITTED, verify=BY_KEY)), 200) == Hold(because=HeldReason.UNVERIFIED)
    assert to_look_at(seen(looked(Outcome.ADMITTED, verify=BY_KEY)), 100) == "B"


@pytest.mark.parametrize(
    "other",
    [
        SignaturePolicy((KeylessSigner("https://i.example/", "https://github.com/org/app@refs/tags/*"),)),
        SignaturePolicy((KeylessSigner("https://i.example", "https://github.com/org/app@refs/tags/**"),)),
        SignaturePolicy((*SIGNED_BY.signers, *BY_KEY.signers)),
        SignaturePolicy((KmsSigner("alias/cosign"),)),
        SignaturePolicy((KmsSigner("alias/cosign2"),)),
        BY_KEY,
        SignaturePolicy((KeySigner("-----BEGIN PUBLIC KEY----- ", "x"), KeySigner("-----BEGIN PUBLIC KEY-----B", "x"))),
    ],
)
def test_every_change_of_a_policy_is_another_policy(other: SignaturePolicy) -> None:
    assert fingerprint_of(other) != fingerprint_of(SIGNED_BY)
    assert len(fingerprint_of(other)) == 16


def test_what_a_key_is_called_is_no_change() -> None:
    renamed = SignaturePolicy((KeySigner("-----BEGIN PUBLIC KEY-----\n", "of line 7"),))
    assert fingerprint_of(renamed) == fingerprint_of(BY_KEY)


def test_keys_of_kms_are_put_in_place_of_their_names() -> None:
    policy = SignaturePolicy((KmsSigner("alias/cosign"), *BY_KEY.signers))
    found = with_keys_of_kms(policy, lambda name: f"the key of {name}")
    assert found.signers == (KeySigner("the key of alias/cosign", "alias/cosign"), *BY_KEY.signers)


def test_replayed_old_digest_is_not_served_though_it_was_signed() -> None:
    """Upstream goes back to C, which nobody remembers: it was never proven under this tag."""
    replayed = after("0 A, 0 +A, 100 B, 200 C")
    assert served(seen(looked(Outcome.ADMITTED), "B", replayed), 200) == "B"


def test_digest_that_comes_back_after_it_was_taken_back_is_proven_again() -> None:
    proven = seen(looked(Outcome.ADMITTED))
    gone = after_served(after_served(proven, root("A"), at(110)).after, root("B"), at(120)).after
    assert hold(gone, 120) == Hold(until=at(121), gate=GateName.SIGNATURE)


def test_age_and_signature_are_both_demanded_and_the_later_moment_is_said() -> None:
    policy = POLICY._replace(min_age=timedelta(days=3))
    assert hold(seen(looked(Outcome.UNSIGNED)), 100.5, policy) == Hold(until=at(172))
    assert hold(seen(looked(Outcome.ADMITTED)), 171, policy) == Hold(until=at(172))
    assert hold(seen(looked(Outcome.ADMITTED)), 172, policy) is None
    assert hold(seen(looked(Outcome.UNKNOWN)), 101, policy) == Hold(until=at(172))
    assert hold(seen(looked(Outcome.UNKNOWN)), 172, policy) == Hold(because=HeldReason.UNVERIFIED)


@pytest.mark.parametrize("outcome", [Outcome.UNSIGNED, Outcome.UNTRUSTED])
def test_what_somebody_must_act_on_is_said_before_the_digest_is_old_enough(outcome: Outcome) -> None:
    policy = POLICY._replace(min_age=timedelta(days=3), approve=True)
    found = hold(seen(looked(outcome)), 101, policy)
    assert found is not None
    assert found.because == outcome.value


def test_person_is_asked_last() -> None:
    policy = POLICY._replace(approve=True)
    assert hold(seen(looked(Outcome.UNKNOWN)), 101, policy) == Hold(because=HeldReason.UNVERIFIED)
    assert hold(seen(looked(Outcome.ADMITTED)), 101, policy) == Hold(because=HeldReason.WAITING_APPROVAL)


def test_decision_of_a_person_outweighs_the_evidence() -> None:
    for admits, outcome in ((True, Outcome.UNTRUSTED), (False, Outcome.ADMITTED)):
        decided = after_decision(seen(looked(outcome)), Decision(digest("B"), admits, "arn", at(100)))
        assert (served(decided, 100) == "B") is admits
        assert to_look_at(decided, 100) == "-"


def test_mode_report_decides_the_same() -> None:
    policy = POLICY._replace(mode=AdmissionMode.REPORT)
    assert hold(seen(looked(Outcome.UNSIGNED)), 101, policy) == Hold(because=HeldReason.UNSIGNED)


def test_newest_digest_that_is_proven_is_served() -> None:
    three = after("0 A, 0 +A, 100 B, 200 C")
    known = seen(looked(Outcome.UNSIGNED), "C", seen(looked(Outcome.ADMITTED), "B", three))
    assert served(known, 300) == "B"
    assert served(known, 300, POLICY._replace(serve=Serve.CURRENT)) == "A"


# --- When to look -----------------------------------------------------------------------------------------------------


def test_new_digest_is_looked_at_at_once_and_one_that_is_proven_not_again() -> None:
    assert to_look_at(seen(), 100) == "B"
    assert to_look_at(seen(looked(Outcome.ADMITTED)), 9999) == "-"
    assert to_look_at(seen(), 100, AdmissionPolicy(min_age=timedelta(days=1))) == "-"


def test_what_the_tag_serves_already_is_not_looked_at() -> None:
    assert to_look_at(after("0 A, 0 +A"), 9999) == "-"
    assert to_look_at(after_admitted(seen(), root("B"), at(100)), 9999) == "-"


def test_one_digest_is_looked_at_at_a_time_the_newest_first() -> None:
    three = after("0 A, 0 +A, 100 B, 200 C")
    assert to_look_at(three, 200) == "C"
    known = seen(looked(Outcome.UNSIGNED, 200), "C", three)
    assert to_look_at(known, 200.05) == "B"
    assert to_look_at(known, 200.05, POLICY._replace(serve=Serve.CURRENT)) == "-"
    assert to_look_at(known, 200.1) == "C"


def test_person_who_asks_need_not_wait_for_the_next_look() -> None:
    known = seen(looked(Outcome.UNTRUSTED, tries=9))
    assert to_look_at(known, 100.1) == "-"
    assert to_look_at(known, 100.1, at_once=True) == "B"
    assert to_look_at(seen(looked(Outcome.ADMITTED)), 100.1, at_once=True) == "-"


@pytest.mark.parametrize(
    ("outcome", "minutes"),
    [(Outcome.UNKNOWN, (1, 2, 4, 8, 16)), (Outcome.UNSIGNED, (5, 10, 20, 40, 80)), (Outcome.UNTRUSTED, (5, 10, 20))],
)
def test_looks_are_ever_further_apart_and_a_day_at_most(outcome: Outcome, minutes: tuple[int, ...]) -> None:
    evidence: SignatureEvidence | None = None
    for wait in minutes:
        evidence = after_look(evidence, SIGNED_BY, outcome, "", at(100))
        assert evidence.again_at == at(100) + timedelta(minutes=wait)
    for _ in range(100):
        evidence = after_look(evidence, SIGNED_BY, outcome, "", at(100))
    assert evidence is not None
    assert evidence.again_at == at(124)


def test_looks_begin_anew_by_another_policy_and_after_a_proof() -> None:
    often = looked(Outcome.UNSIGNED, tries=20)
    assert after_look(often, BY_KEY, Outcome.UNSIGNED, "", at(101)).tries == 1
    assert after_look(often, SIGNED_BY, Outcome.ADMITTED, "", at(101)).tries == 0
    assert is_look_due(BY_KEY, often, at(100))
    assert not is_look_due(None, often, at(9999))


def test_why_is_one_short_printable_line() -> None:
    evidence = after_look(None, SIGNED_BY, Outcome.UNTRUSTED, "a\nb\x1b[31m" + "x" * 1000, at(100))
    assert len(evidence.why) <= MAX_WHY
    assert evidence.why.isprintable()


def test_evidence_is_kept_while_upstream_goes_on_serving_the_digest() -> None:
    known = seen(looked(Outcome.ADMITTED))
    assert after_served(known, root("B"), at(150)).after is known
    assert structs.asdict(known)["seen"][1].signature.admits
