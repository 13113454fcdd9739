"""A tag whose rule demands signatures: nothing is served that is not proven for this digest and by this policy."""

import re
from datetime import timedelta

import pytest
from msgspec import structs

from local.artifacts import ArtifactLayer, make_artifact
from local.images import LocalImage, make_image, make_index
from pullahead.admission.seen_digests import Decision
from pullahead.admission.signatures.find import MAX_CANDIDATES
from pullahead.admission.signatures.verdict import Outcome
from pullahead.dashboard.explain import MirrorFacts, explain
from pullahead.errors import (
    AccessDeniedError,
    ConfigError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
    Side,
)
from pullahead.messages import PublishRequest
from pullahead.mirrors.admission import after_decision_of_person, after_verification, refusal
from pullahead.mirrors.record import State
from pullahead.oci import Descriptor, digest_of, parse_reference
from pullahead.refresh.plan import plan_copy
from pullahead.refresh.publish import publish_image
from pullahead.rules.admission_policy import FirstCopy
from pullahead.rules.signature_policy import KmsSigner, SignaturePolicy
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, failed, mirror
from tests.sigstore import BUNDLE, new_key, public_pem
from tests.unit.admission.held_service import A, B, C
from tests.unit.admission.signatures.signed_images import by_key, company_key, keyed_bundle, payload, statement
from tests.unit.admission.signed_service import POLICY, REPORT, SIGNED, SOURCE, SignedService


def test_signed_digest_is_served_at_once() -> None:
    service = SignedService()
    service.sign(B)
    assert service.visit(B, hours=1) == "A"
    assert (service.outcome(B), service.delays) == ("ADMITTED", [1])
    assert service.visit_at_once() == "B"
    assert (service.known.state, service.known.waiting) == (State.FRESH, None)
    assert service.events == [
        "Held waiting-signature",
        "Stale upstream-moved",
        "Refreshed upstream-moved",
        "Admitted signed",
    ]
    assert service.alerts == []
    assert len(service.looks) == 2  # of which the second found it proven
    assert [each.outcome for each in service.looks] == ["ADMITTED", ""]


def test_digest_that_is_proven_is_not_verified_again() -> None:
    service = SignedService(POLICY._replace(min_age=timedelta(days=3)))
    service.sign(B)
    service.visit(B, hours=1)
    assert (service.outcome(B), service.held_because) == ("ADMITTED", "age")
    listed = service.script.count("list_referrers")
    assert service.visit(hours=71) == "A"
    assert service.visit(hours=1) == "B"
    assert service.script.count("list_referrers") == listed


def test_unsigned_digest_waits_for_the_grace_and_is_then_held_and_told_once() -> None:
    service = SignedService()
    assert service.visit(B, hours=1) == "A"
    assert (service.outcome(B), service.held_because, service.known.state) == ("UNSIGNED", "signature", State.COOLING)
    assert service.alerts == []
    for _ in range(5):
        service.visit(minutes=30)
    assert (service.served, service.held_because, service.known.state) == ("A", "UNSIGNED", State.HELD)
    assert service.alerts == ["HELD"]
    assert "is not signed as its rule demands: there is no signature by the key cosign.pub" in service.known.cause
    assert service.events == ["Held waiting-signature", "Held unsigned"]
    assert service.known.unfresh_since is None  # it is not late


def test_late_signature_admits_by_itself() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    service.visit(hours=2)
    assert service.held_because == "UNSIGNED"
    service.sign(B)
    service.visit(hours=2)
    assert service.outcome(B) == "ADMITTED"
    assert service.visit_at_once() == "B"
    assert service.known.alerted == ()
    assert service.events[-1] == "Admitted signed"


def test_signature_that_a_webhook_names_is_looked_at_before_its_time() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    for _ in range(6):
        service.visit(hours=3)
    again = service.evidence(B)
    assert again is not None
    assert again.again_at - service.clock() > timedelta(hours=1)
    service.sign(B)
    service.clock.advance(minutes=5)
    service.webhook(B)
    assert service.outcome(B) == "ADMITTED"
    assert service.visit_at_once() == "B"


def test_webhook_starts_no_look_in_the_place_of_a_refresh_that_is_due() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    service.clock.advance(minutes=5)
    looks = len(service.looks)
    service.records.stored[KEY] = service.known.with_changes(state=State.STALE, upstream_digest=A.digest)
    service.webhook(B)
    assert len(service.looks) == looks
    service.records.stored[KEY] = service.known.with_changes(state=State.COOLING)
    service.webhook(B)
    assert len(service.looks) == looks + 1


def test_webhooks_do_not_ask_upstream_without_end() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    looks = len(service.looks)
    for _ in range(50):
        service.clock.advance(seconds=10)
        service.webhook(B)
    assert len(service.looks) - looks <= 9
    service.webhook(C)
    service.webhook(A)  # which the tag serves
    assert len(service.looks) - looks <= 9


def test_unsigned_digest_is_looked_at_ever_more_rarely() -> None:
    service = SignedService()
    service.serve(B)
    looks = []
    for _day in range(10):
        before = len(service.looks)
        for _ in range(96):
            service.visit(minutes=15)
        looks.append(len(service.looks) - before)
    assert looks[0] <= 10
    assert looks[-1] == 1


def test_delayed_checks_follow_the_first_looks_and_do_not_multiply() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    assert service.delays == [301]
    service.visit_at_once()
    assert service.delays == [601]
    service.visit_at_once()
    assert service.delays == []  # the schedule is soon enough


def test_untrusted_digest_is_held_and_told_at_once() -> None:
    service = SignedService()
    service.sign(B, new_key())
    service.visit(B, hours=1)
    service.visit_at_once()
    assert (service.served, service.held_because, service.alerts) == ("A", "UNTRUSTED", ["HELD"])
    assert "is not signed by whom its rule trusts" in service.known.cause


def test_signature_of_cosign_2_admits() -> None:
    service = SignedService()
    service.sign_by_tag(B)
    service.visit(B, hours=1)
    assert service.visit_at_once() == "B"


def test_first_copy_waits_for_its_signature() -> None:
    service = SignedService(serves=False)
    assert (service.served, service.outcome(A)) == ("-", "UNSIGNED")
    service.sign(A)
    service.visit(minutes=6)
    assert service.visit_at_once() == "A"


def test_first_copy_that_need_not_wait_is_served_as_soon_as_it_is_proven() -> None:
    policy = POLICY._replace(min_age=timedelta(days=3), first_copy=FirstCopy.ADMIT)
    service = SignedService(policy, serves=False)
    assert (service.served, service.outcome(A)) == ("-", "UNSIGNED")
    service.sign(A)
    service.visit(minutes=6)
    assert service.delays == [1]
    assert service.visit_at_once() == "A"


def test_person_who_asks_has_it_looked_at_at_once() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    service.sign(B)
    service.clock.advance(seconds=30)
    service.use_case(structs.replace(service.request(), reason="manual"))
    service.carry_out()
    assert service.outcome(B) == "ADMITTED"


# --- Upstream does not answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RegistryUnavailableError, RateLimitedError, AccessDeniedError])
def test_upstream_that_cannot_be_asked_is_unknown_and_asked_again(kind: type[RegistryError]) -> None:
    service = SignedService()
    service.sign(B)
    service.script.fail("list_referrers", failed(kind))
    assert service.visit(B, hours=1) == "A"
    assert (service.outcome(B), service.held_because, service.alerts) == ("UNKNOWN", "signature", [])
    assert service.delays == [61]
    service.visit_at_once()
    assert service.outcome(B) == "ADMITTED"
    assert service.visit_at_once() == "B"


def test_upstream_that_cannot_be_asked_for_long_is_told_when_alert_after_is_over() -> None:
    service = SignedService()
    service.sign(B)
    service.script.fail("list_referrers", failed(RegistryUnavailableError), times=1000)
    service.visit(B, hours=1)
    service.visit(hours=1)
    assert (service.held_because, service.known.state, service.alerts) == ("UNVERIFIED", State.HELD, [])
    for _ in range(5):
        service.visit(minutes=15)
    assert (service.served, service.alerts) == ("A", ["HELD"])
    assert "could not be verified yet" in service.known.cause


# --- The verifier fails -----------------------------------------------------------------------------------------------


def test_crash_of_the_verifier_leaves_the_tag_alone_and_is_tried_again() -> None:
    service = SignedService()
    service.sign(B)
    service.crashes = RegistryUnavailableError("Runtime.ExitError", operation="run", side=Side.SERVICE, reference="x")
    assert service.visit(B, hours=1) == "A"
    assert service.outcome(B) == "UNKNOWN"
    known = service.evidence(B)
    assert known is not None
    assert "Runtime.ExitError" in known.why
    service.crashes = None
    service.visit_at_once()
    assert service.outcome(B) == "ADMITTED"
    assert service.visit_at_once() == "B"


def test_execution_that_ends_without_an_outcome_is_tried_again() -> None:
    service = SignedService()
    service.sign(B)
    service.clock.advance(hours=1)
    lost = service.lose_execution(B)
    assert service.outcome(B) == "-"
    service.visit(minutes=15)
    assert service.outcome(B) == "UNKNOWN"
    service.visit(minutes=15)
    assert service.outcome(B) == "ADMITTED"
    assert service.visit_at_once() == "B"
    assert sum(each.root.digest == B.digest for each in service.refreshes.requests.values()) == 3
    assert lost.ahead


def test_missing_key_of_kms_is_said_and_admits_nothing() -> None:
    by_kms = SignaturePolicy((KmsSigner("alias/cosign"),))
    service = SignedService(POLICY._replace(verify=by_kms))
    service.sign(B)
    assert service.visit(B, hours=1) == "A"
    known = service.evidence(B)
    assert known is not None
    assert "ConfigError: GetPublicKey of the key alias/cosign of KMS failed" in known.why
    service.keys["alias/cosign"] = public_pem(company_key())
    service.visit_at_once()
    assert service.visit_at_once() == "B"


# --- Attacks ----------------------------------------------------------------------------------------------------------


def publish(service: SignedService, image: LocalImage, *, ahead: bool = False) -> str:
    """Ask for the publish of an image as whoever may start executions could; say why it was held."""
    service.serve(image)
    forged = structs.replace(
        next(iter(service.refreshes.requests.values())),
        name="forged",
        root=image.root.descriptor,
        ahead=ahead,
        episode=99,
    )
    planned = plan_copy(forged, service.rules, service.upstream, service.target, service.plans)
    service.target.hold(REPOSITORY, {digest: image.read_blob(digest) for digest in image.blobs})
    ports = (service.rules, service.target, service.plans, service.records, service.clock)
    return publish_image(PublishRequest(forged, planned.root), *ports, lambda _tries: None).held


def test_publish_of_a_digest_without_evidence_moves_no_tag() -> None:
    service = SignedService()
    assert "was not seen under the tag" in publish(service, C)
    service.visit(B, hours=1)
    assert "its signature is waited for" in publish(service, B)
    assert service.served == "A"


def test_evidence_for_another_digest_moves_no_tag() -> None:
    service = SignedService()
    service.sign(B)
    service.visit(B, hours=1)
    assert service.outcome(B) == "ADMITTED"
    service.serve(C)
    service.check_one()
    assert "waited for" in publish(service, C)
    assert service.served == "A"


def test_evidence_by_a_policy_that_has_changed_moves_no_tag() -> None:
    service = SignedService()
    service.sign(B)
    service.visit(B, hours=1)
    assert service.outcome(B) == "ADMITTED"
    service.follow(POLICY._replace(verify=SignaturePolicy((by_key(new_key()),))))
    assert "waited for" in publish(service, B)
    service.visit(minutes=15)
    assert (service.served, service.outcome(B)) == ("A", "UNTRUSTED")
    service.follow(POLICY)
    service.visit(minutes=15)
    assert service.visit_at_once() == "B"


def test_signature_of_another_image_admits_nothing() -> None:
    service = SignedService()
    service.refer(keyed_bundle(statement(C.digest)), B)
    service.visit(B, hours=1)
    service.visit_at_once()
    assert (service.served, service.held_because) == ("A", "UNTRUSTED")


def test_signature_of_another_repository_admits_nothing() -> None:
    service = SignedService()
    service.sign_by_tag(B, payload(B.digest, "ghcr.io/evil/app"))
    service.visit(B, hours=1)
    service.visit_at_once()
    assert (service.served, service.held_because) == ("A", "UNTRUSTED")


@pytest.mark.parametrize("what", ["index is signed and a child swapped", "child is signed and the index swapped"])
def test_swapped_part_admits_nothing(what: str) -> None:
    one, two, evil = (make_image(seed=seed) for seed in (31, 32, 666))
    good, bad = make_index([one, two]), make_index([one, evil])
    service = SignedService()
    service.sign(good if what.startswith("index") else one)
    service.serve(bad)
    service.visit(hours=1)
    assert (service.name(service.known.published_digest), service.outcome(bad)) == ("A", "UNSIGNED")
    assert service.visit(hours=2) == "A"
    assert service.held_because == "UNSIGNED"


def test_bytes_that_are_not_the_digest_admit_nothing() -> None:
    """Upstream serves other bytes under a digest that is signed."""
    service = SignedService()
    service.sign(B)
    swapped = B.root._replace(content=B.root.content + b" ")
    service.upstream.serve_manifest(f"{SOURCE}@{B.digest}", swapped)
    verdict = service.prove(parse_reference(UPSTREAM).at(B.digest), SIGNED)
    assert verdict.outcome.value == "UNTRUSTED"


def test_replayed_old_digest_that_was_signed_is_taken_for_what_it_is() -> None:
    """The tag goes back to what ECR served before: that was admitted. To anything older, it is proven again."""
    service = SignedService()
    service.sign(B)
    service.visit(B, hours=1)
    service.visit_at_once()
    assert service.visit(A, hours=1) == "A"
    service.sign(C, new_key())
    service.visit(C, hours=1)
    service.visit_at_once()
    assert (service.served, service.outcome(C)) == ("A", "UNTRUSTED")


def test_ten_thousand_referrers_end_in_a_bounded_look() -> None:
    service = SignedService()
    wrong = keyed_bundle(statement(B.digest), new_key())
    service.refer(wrong, B)
    listed = service.upstream.list_referrers(parse_reference(UPSTREAM), B.digest)
    service.upstream.false_referrers[B.digest] = [listed[0].descriptor] * 10_000
    gets = service.upstream.gets
    service.serve(B)
    verdict = service.prove(parse_reference(UPSTREAM).at(B.digest), SIGNED)
    assert verdict.outcome.value == "UNTRUSTED"
    assert service.upstream.gets - gets <= 2 * MAX_CANDIDATES + 1


def test_bundle_that_says_to_have_a_gibibyte_is_not_read() -> None:
    service = SignedService()
    artifact = make_artifact(B.root.descriptor, [ArtifactLayer(BUNDLE, b"x")], artifact_type=BUNDLE)
    text = re.sub(rb'"size": 1\b', b'"size": 1073741824', artifact.root.content)
    assert text != artifact.root.content
    manifest = artifact.root._replace(
        content=text, descriptor=Descriptor(artifact.root.descriptor.media_type, digest_of(text), len(text))
    )
    service.upstream.serve_manifest(f"{SOURCE}@{manifest.descriptor.digest}", manifest)
    service.upstream.listed_kinds[manifest.descriptor.digest] = frozenset({BUNDLE})
    service.visit(B, hours=1)
    known = service.evidence(B)
    assert known is not None
    assert (known.outcome.value, "1073741824 bytes" in known.why) == ("UNTRUSTED", True)
    assert service.visit_at_once() == "A"


def test_what_a_bundle_says_is_one_printable_line_in_the_record() -> None:
    service = SignedService()
    service.refer(b'{"mediaType": "\\u001b[2J\\nevil' + b"x" * 3000 + b'"}', B)
    service.visit(B, hours=1)
    known = service.evidence(B)
    assert known is not None
    assert known.outcome.value == "UNTRUSTED"
    assert known.why.isprintable()
    assert len(known.why) <= 200


def test_digest_that_upstream_takes_back_while_it_is_verified_is_withdrawn() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    service.serve(C)
    service.check_one()
    service.carry_out()
    service.upstream.remove(f"{SOURCE}@{B.digest}")
    service.visit(hours=3)  # looks at C
    service.visit(minutes=1)
    assert service.known.admission is not None
    assert service.known.admission.find(B.digest) is None


# --- People, reports and platforms ------------------------------------------------------------------------------------


def test_approval_of_a_person_outweighs_the_missing_signature() -> None:
    service = SignedService()
    service.sign(B, new_key())
    service.visit(B, hours=1)
    service.records.stored[KEY] = after_decision_of_person(
        service.known, Decision(B.digest, True, "arn", service.clock(), "urgent")
    )
    looks = len([each for each in service.looks if each.outcome])
    assert service.visit(minutes=15) == "B"
    assert len([each for each in service.looks if each.outcome]) == looks
    assert service.events[-1] == "Admitted approved"


def test_rejection_outweighs_the_signature() -> None:
    service = SignedService(POLICY._replace(min_age=timedelta(days=1)))
    service.sign(B)
    service.visit(B, hours=1)
    service.records.stored[KEY] = after_decision_of_person(
        service.known, Decision(B.digest, False, "arn", service.clock())
    )
    assert service.visit(days=2) == "A"


def test_mode_report_moves_the_tag_and_says_what_would_have_been_held() -> None:
    service = SignedService(REPORT)
    service.sign(B, new_key())
    assert service.visit(B, hours=1) == "B"
    service.visit_at_once()
    assert (service.known.state, service.held_because) == (State.FRESH, "UNTRUSTED")
    assert service.known.waiting is not None
    assert service.known.waiting.reported
    assert service.alerts == []
    assert "Held untrusted" in service.events


def test_mode_report_is_not_stopped_by_a_verifier_that_crashes() -> None:
    service = SignedService(REPORT)
    service.crashes = ConfigError("no trust root")
    assert service.visit(B, hours=1) == "B"


def test_mode_report_looks_again_and_says_that_the_signature_came() -> None:
    service = SignedService(REPORT)
    service.visit(B, hours=1)
    service.visit_at_once()
    service.sign(B)
    service.visit(hours=2)
    assert service.outcome(B) == "ADMITTED"
    service.visit(minutes=15)
    assert service.known.waiting is None
    assert service.events[-1] == "Admitted signed"


def test_root_is_verified_before_platforms_leave_anything_out() -> None:
    one, two = make_image(seed=41), make_image(seed=42)
    index = make_index([one, two])
    service = SignedService(made=mirror(platforms=("linux/amd64",)))
    service.sign(index)
    service.serve(index)
    service.check_one()
    (request,) = list(service.refreshes.requests.values())[service.done :]
    assert request.root.digest == index.digest
    planned = plan_copy(request, service.rules, service.upstream, service.target, service.plans)
    assert planned.verify == "enforce"
    service.before_publish(request, planned)
    assert service.outcome(index) == "ADMITTED"


def test_pinned_tag_and_late_referrers_are_not_verified() -> None:
    service = SignedService()
    service.sign(B)
    service.visit(B, hours=1)
    (request, *_) = service.refreshes.requests.values()
    assert plan_copy(request, service.rules, service.upstream, service.target, service.plans).verify == "enforce"
    late = structs.replace(request, late="1")
    assert plan_copy(late, service.rules, service.upstream, service.target, service.plans).verify == ""


def test_upstream_that_no_longer_has_the_digest_proves_nothing() -> None:
    service = SignedService()
    service.visit(B, hours=1)
    service.upstream.remove(f"{SOURCE}@{B.digest}")
    with pytest.raises(NotFoundError):
        service.prove(parse_reference(UPSTREAM).at(B.digest), SIGNED)


def test_evidence_of_a_digest_that_is_not_known_is_not_remembered() -> None:
    service = SignedService()
    before = service.known
    after = after_verification(before, C.digest, SIGNED, Outcome.ADMITTED, "", service.clock())
    assert after == before
    assert refusal(after, service.rules.mirrors[0], C.digest, service.clock(), published=A.digest) is not None


# --- What people see --------------------------------------------------------------------------------------------------


def explained(service: SignedService) -> str:
    """Explain the mirror, as `pullahead why` does."""
    (followed,) = service.rules.mirrors
    steps = explain(KEY, MirrorFacts(followed, service.known), service.rules, service.clock())
    return "\n".join(step.text for step in steps)


def test_why_shows_what_is_demanded_and_the_evidence_of_each_digest() -> None:
    service = SignedService(POLICY._replace(min_age=timedelta(days=1)))
    service.sign(C, new_key())
    service.visit(B, hours=1)
    service.visit(C, hours=1)
    shown = explained(service)
    assert "enforce: min_age 1 d, verify: signed by the key cosign.pub; serve newest-eligible" in shown
    assert (
        "signature: UNTRUSTED, looked at 2026-11-24 11:00 UTC: nothing proves a signature by the key cosign.pub"
        in shown
    )
    assert "age: old enough at 2026-11-25 10:00 UTC; signature: UNSIGNED, looked at 2026-11-24 10:00 UTC" in shown
    assert "looked at again after 2026-11-24 11:05 UTC" in shown


def test_why_says_how_the_wait_ends() -> None:
    service = SignedService()
    service.sign(B, new_key())
    service.visit(B, hours=1)
    service.visit_at_once()
    assert "a refresh when its signature is what the rule demands, or a person admits it" in explained(service)
