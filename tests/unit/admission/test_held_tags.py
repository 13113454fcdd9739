"""A tag whose rule has `admit`, from the check to the publish: bytes are copied at once, the tag moves when it may."""

from datetime import timedelta

import pytest
from msgspec import structs

from local.images import LocalImage
from pullahead.admission.seen_digests import Decision
from pullahead.checks.check import CheckMirrors
from pullahead.dashboard.explain import MirrorFacts, explain
from pullahead.errors import (
    AccessDeniedError,
    NotFoundError,
    RateLimitedError,
    RegistryError,
    RegistryUnavailableError,
)
from pullahead.messages import RefreshRequest
from pullahead.mirrors.admission import after_decision_of_person
from pullahead.mirrors.record import State
from pullahead.refresh.ports import StartResult
from pullahead.rules.admission_policy import AdmissionMode, FirstCopy, Serve
from tests.fakes.memory import FakeClock
from tests.fakes.samples import KEY, UPSTREAM, failed
from tests.unit.admission.held_service import POLICY, A, B, C, D, HeldService


def following(*, serves: bool = True) -> HeldService:
    """Follow a tag that serves A, which was admitted, or that was never copied."""
    service = HeldService()
    if serves:
        service.follow(None)
        service.visit(A)
        service.follow(POLICY)
        service.visit()
        assert (service.served, service.known.state) == ("A", State.FRESH)
        service.outcomes.published.clear()
    return service


def test_new_digest_is_copied_at_once_and_served_when_it_is_old_enough() -> None:
    service = following()
    assert service.visit(B, hours=1) == "A"
    assert (service.held, service.known.state, service.known.unfresh_since) == (["A", "B"], State.COOLING, None)
    assert (
        service.known.cause
        == f"{B.digest} was first seen at 2026-11-24 10:00 UTC, and is old enough at 2026-11-27 10:00 UTC"
    )
    assert service.known.admission is not None
    assert [each.copied for each in service.known.admission.seen] == [False, True]
    assert service.visit(hours=71.9) == "A"
    assert service.visit(hours=0.1) == "B"
    assert (service.known.state, service.known.waiting) == (State.FRESH, None)
    assert service.events == [
        *("Held cooldown", "Stale upstream-moved", "Refreshed upstream-moved", "Admitted old-enough")
    ]
    assert service.alerts == []


def test_blobs_are_not_sent_again_when_the_tag_moves() -> None:
    service = following()
    service.visit(B, hours=1)
    before = dict(service.target.blobs("mirror/app"))
    service.visit(hours=72)
    assert service.target.blobs("mirror/app") == before
    assert [(service.name(digest), tag) for digest, tag in service.target.pushes][-2:] == [("B", None), ("B", "1.0")]


def test_tag_that_was_never_copied_stays_missing_and_says_why() -> None:
    service = following(serves=False)
    assert service.visit(A) == "-"
    assert service.known.state.value == "COOLING"
    assert "is old enough at 2026-11-27 09:00" in service.known.cause
    assert service.held == ["A"]
    assert service.visit(hours=72) == "A"
    assert service.known.state.value == "FRESH"


def test_first_copy_is_served_at_once_where_the_rule_says_so() -> None:
    service = HeldService(POLICY._replace(first_copy=FirstCopy.ADMIT))
    assert service.visit(A) == "A"
    assert service.visit(B, hours=1) == "A"
    assert service.visit(hours=72) == "B"


def test_withdrawn_digest_is_dropped_and_told_once() -> None:
    service = following()
    service.visit(B, hours=1)
    assert service.visit(A, hours=5) == "A"
    assert (service.known.state, service.known.waiting) == (State.FRESH, None)
    assert service.visit(hours=500) == "A"
    assert service.events == ["Held cooldown", "Withdrawn taken-back"]
    assert service.alerts == ["WITHDRAWN"]


def test_withdrawn_digest_waits_its_whole_time_if_it_comes_back() -> None:
    service = following()
    service.visit(B, hours=1)
    service.visit(A, hours=71)
    assert service.visit(B, hours=1) == "A"
    assert service.visit(hours=71) == "A"
    assert service.visit(hours=1) == "B"


def test_digest_that_is_gone_by_itself_when_it_is_old_enough_is_never_served() -> None:
    """Upstream has replaced B by C, and deleted B: B is old enough first, and cannot be read any more."""
    service = following()
    service.visit(B, hours=1)
    service.visit(C, hours=10)
    service.upstream.remove(f"ghcr.io/team/app@{B.digest}")
    assert service.visit(hours=62) == "A"
    assert service.alerts == ["WITHDRAWN"]
    assert "Withdrawn taken-back" in service.events
    assert service.visit(minutes=15) == "A"
    assert service.known.state.value == "COOLING"
    assert service.visit(hours=10) == "C"


def test_tag_that_is_rebuilt_daily_moves_daily_three_days_late() -> None:
    service = following()
    served = [service.visit(image, hours=24) for image in (B, C, D)]
    assert served == ["A", "A", "A"]
    assert [service.visit(hours=24) for _ in range(3)] == ["B", "C", "D"]


def test_tag_that_must_serve_the_current_digest_does_not_move_while_it_is_rebuilt() -> None:
    service = following()
    service.follow(POLICY._replace(serve=Serve.CURRENT))
    for image in (B, C, D):
        service.visit(image, hours=24)
    assert [service.visit(hours=24) for _ in range(3)] == ["A", "A", "D"]


def test_unchanged_tag_costs_one_head_and_no_write_while_a_digest_cools() -> None:
    service = following()
    service.visit(B, hours=1)
    service.script.calls.clear()
    service.clock.advance(hours=1)
    service.check_one()
    assert service.script.calls == ["load", "head_manifest", "published_digests"]


def test_cooling_is_neither_stale_nor_late_and_the_alert_runs_from_the_admission() -> None:
    service = following()
    service.visit(B, hours=1)
    service.fails_with = failed(RegistryUnavailableError)
    service.visit(hours=72)
    assert (service.known.state, service.known.unfresh_since) == (State.STALE, service.clock())
    assert service.alerts == []
    service.visit(minutes=59)
    assert service.alerts == []
    service.visit(minutes=2)
    assert service.alerts == ["STALE"]


def test_copy_ahead_that_fails_is_no_failure_of_the_mirror() -> None:
    service = following()
    service.fails_with = failed(RegistryUnavailableError)
    assert service.visit(B, hours=1) == "A"
    assert (service.known.state, service.known.failure, service.held) == (State.COOLING, None, ["A"])
    service.fails_with = None
    assert service.visit(hours=72) == "B"


def test_report_publishes_as_ever_and_says_what_would_have_been_held() -> None:
    service = following()
    service.follow(POLICY._replace(mode=AdmissionMode.REPORT))
    service.visit()
    service.outcomes.published.clear()
    assert service.visit(B, hours=1) == "B"
    assert service.known.state.value == "FRESH"
    assert [waiting.reported for waiting in (service.known.waiting,) if waiting is not None] == [True]
    service.visit(hours=72)
    assert service.known.waiting is None
    of_admission = [each for each in service.outcomes.published if each.detail.reported is True]
    assert [each.kind.value for each in of_admission] == ["Mirror Held", "Mirror Admitted"]


def test_overwritten_tag_is_restored_to_what_it_may_serve_while_another_digest_cools() -> None:
    service = following()
    service.visit(B, hours=1)
    service.target.hold_manifest("mirror/app", C.root, "1.0")
    assert service.visit(hours=1) == "A"
    assert service.known.state.value == "COOLING"
    assert service.alerts == ["DRIFT", "RECOVERED"]


def test_digest_that_somebody_pushed_under_the_tag_in_ecr_is_not_admitted_by_that() -> None:
    """Whoever may push to the repository moves the tag; Pullahead moves it back, and does not take it for admitted."""
    service = following()
    service.visit(B, hours=1)
    service.target.hold_manifest("mirror/app", B.root, "1.0")
    assert service.visit(hours=1) == "A"
    assert service.visit(hours=70) == "A"
    assert service.visit(hours=1) == "B"


def test_publish_decides_again_by_its_own_clock() -> None:
    """The check's clock is days ahead: the publish puts the digest without the tag."""
    service = following()
    service.visit(B, hours=1)
    service.publish_clock = FakeClock(service.clock())
    assert service.visit(hours=80) == "A"
    assert service.results[-1].held
    assert service.known.failure is not None
    assert service.known.failure.kind == "NotAdmitted"
    service.publish_clock = service.clock
    assert service.visit(minutes=15) == "B"


def test_forged_refresh_moves_no_tag() -> None:
    """Whoever starts an execution chooses the digest, the episode and the times in its request."""
    service = following()
    service.visit(B, hours=1)
    (asked,) = [request for request in service.refreshes.requests.values() if request.ahead]
    forged = structs.replace(asked, ahead=False, episode=99, name="forged", stale_since=service.clock() - timedelta(99))
    assert "is old enough at" in service.copy(forged).held
    assert service.served == "A"
    service.serve(D)
    unknown = structs.replace(forged, root=D.root.descriptor, name="forged-too")
    assert "was not seen under the tag" in service.copy(unknown).held
    assert service.served == "A"


def test_deleted_record_makes_a_digest_wait_again() -> None:
    service = following()
    service.visit(B, hours=1)
    service.visit(hours=71)
    del service.records.stored[KEY]
    assert service.visit(hours=1) == "A"
    assert service.known.state.value == "COOLING"
    assert service.visit(hours=71) == "A"
    assert service.visit(hours=1) == "B"


def test_record_that_is_deleted_before_the_publish_moves_no_tag() -> None:
    service = following()
    service.visit(B, hours=1)
    service.clock.advance(hours=72)
    service.check_one()
    del service.records.stored[KEY]
    service.carry_out()
    assert service.served == "A"


@pytest.mark.parametrize("error", [RegistryUnavailableError, RateLimitedError, AccessDeniedError])
def test_upstream_that_cannot_be_asked_admits_nothing(error: type[RegistryError]) -> None:
    service = following()
    service.visit(B, hours=1)
    service.script.fail("head_manifest", failed(error))
    assert service.visit(hours=100) == "A"
    assert service.known.state in (State.UNKNOWN, State.COOLING)  # a limit defers the check
    assert service.visit(minutes=15) == "B"


def test_tag_that_is_gone_takes_back_what_cools() -> None:
    service = following()
    service.visit(B, hours=1)
    service.upstream.remove(UPSTREAM)
    assert service.visit(hours=2) == "A"
    assert service.known.state.value == "GONE"
    assert sorted(service.alerts) == ["GONE", "WITHDRAWN"]
    assert service.visit(B, hours=1) == "A"
    assert service.visit(hours=71) == "A"


def test_shorter_minimum_age_admits_by_the_time_that_has_passed() -> None:
    service = following()
    service.visit(B, hours=1)
    service.follow(POLICY._replace(min_age=timedelta(hours=12)))
    assert service.visit(hours=11) == "A"
    assert service.visit(hours=1) == "B"


def test_rule_that_demands_nothing_any_more_serves_at_once_and_forgets() -> None:
    service = following()
    service.visit(B, hours=1)
    service.follow(None)
    assert service.visit(hours=1) == "B"
    assert (service.known.admission, service.known.waiting) == (None, None)


def test_mirror_that_is_stale_when_its_rule_begins_to_demand_is_left_as_it_is() -> None:
    service = HeldService(None)
    service.visit(A)
    service.fails_with = failed(RegistryUnavailableError)
    service.visit(B, hours=1)
    assert service.known.state.value == "STALE"
    service.fails_with = None
    service.follow(POLICY)
    assert service.visit(hours=2) == "A"
    assert service.known.state.value == "COOLING"
    assert service.visit(hours=72) == "B"


def test_backdated_image_gains_nothing() -> None:
    """What `created` says is in the image's configuration, which no check reads."""
    service = following()
    service.script.calls.clear()
    service.serve(B)
    service.clock.advance(hours=1)
    service.check_one()
    assert [call for call in service.script.calls if call.startswith(("get", "open"))] == []
    assert service.known.admission is not None
    assert service.known.admission.seen[-1].first_at == service.clock()


def test_two_deployments_of_one_upstream_each_count_their_own_time() -> None:
    """Each has a record of its own: what the other has seen before makes nothing older here."""
    first, second = following(), following()
    first.visit(B, hours=1)
    second.visit(B, hours=30)
    assert [first.visit(hours=72), second.visit(hours=71)] == ["B", "A"]
    assert second.visit(hours=1) == "B"


def test_two_checks_at_once_see_a_digest_once() -> None:
    """The second one meets a conflict, reads the record again, and finds the moment of the first."""
    service = following()
    service.serve(B)
    first_at = service.clock()
    service.check_one()
    service.clock.advance(minutes=1)
    service.check("1.0")
    assert service.known.admission is not None
    assert service.known.admission.seen[-1].first_at == first_at


def test_deleted_tag_that_may_not_be_served_is_not_restored_to_anything_newer() -> None:
    service = following()
    service.visit(B, hours=1)
    service.target.delete_tag("mirror/app", "1.0")
    assert service.visit(hours=1) == "A"


def test_missing_digest_that_upstream_serves_now_is_a_failure_and_not_taken_back() -> None:
    service = following()
    service.visit(B, hours=1)
    service.upstream.remove(f"ghcr.io/team/app@{B.digest}")
    assert service.visit(hours=72) == "A"
    assert service.known.failure is not None
    assert service.known.failure.kind == NotFoundError.__name__
    assert service.alerts == []


APPROVAL = POLICY._replace(approve=True)


def decide(service: HeldService, image: LocalImage, *, admits: bool = True) -> None:
    """Let a person decide about an image, as `pullahead admit` and `reject` do."""
    decision = Decision(image.digest, admits, "arn:aws:iam::123456789012:user/ada", service.clock(), "reviewed")
    service.records.save(after_decision_of_person(service.known, decision), service.known.version)


def test_digest_waits_for_a_person_once_it_is_old_enough() -> None:
    service = following()
    service.follow(APPROVAL)
    service.visit(B, hours=1)
    assert (service.known.state, service.alerts) == (State.COOLING, [])
    assert service.visit(hours=72) == "A"
    assert (service.known.state, service.alerts) == (State.HELD, ["HELD"])
    assert service.visit(hours=72) == "A"
    assert service.alerts == ["HELD"]
    decide(service, B)
    assert service.visit(minutes=1) == "B"
    assert (service.known.state, service.alerts) == (State.FRESH, ["HELD", "RECOVERED"])
    assert service.events[:2] == ["Held cooldown", "Held waiting-approval"]
    (admitted,) = [event.detail for event in service.outcomes.published if event.kind.value == "Mirror Admitted"]
    assert (admitted.reason, admitted.decided_by, admitted.decision) == (
        *("approved", "arn:aws:iam::123456789012:user/ada", "reviewed"),
    )


def test_person_is_asked_about_an_older_digest_while_a_newer_one_is_too_young() -> None:
    """A tag that is rebuilt daily always has one that is too young."""
    service = following()
    service.follow(APPROVAL)
    for image in (B, C, D):
        service.visit(image, hours=24)
    service.visit(hours=24)
    assert (service.known.state, service.alerts) == (State.HELD, ["HELD"])
    assert service.known.waiting is not None
    assert service.name(service.known.waiting.digest) == "B"


def explained(service: HeldService, about: str) -> list[str]:
    (made,) = service.rules.mirrors
    steps = explain(KEY, MirrorFacts(made, service.known), service.rules, service.clock())
    return [step.text for step in steps if step.about == about]


def test_why_shows_each_gate_with_what_it_goes_by() -> None:
    service = following()
    service.follow(APPROVAL)
    service.visit(B, hours=1)
    assert explained(service, "admission") == ["enforce: min_age 3 d, approve; serve newest-eligible"]
    (waits,) = explained(service, "waits")
    assert waits.startswith(f"{B.digest}: first seen at 2026-11-24 10:00 UTC, 0 s ago; its bytes are in ECR; age: old ")
    assert explained(service, "next")[0].startswith("a person must admit it from 2026-11-27 10:00 UTC, if upstream")
    service.visit(C, hours=30)
    service.visit(hours=42)
    younger, older = explained(service, "waits")
    assert younger.endswith("age: old enough at 2026-11-28 16:00 UTC")
    assert older.endswith("age: old enough; approval: waits for `pullahead admit`")
    assert explained(service, "next")[0].startswith("a refresh when a person admits it; ECR keeps serving")
    decide(service, C)
    service.visit(minutes=1)
    assert explained(service, "decided")[0].endswith("ada, 2026-11-27 10:00 UTC: reviewed")
    service.visit(A, hours=1)
    assert explained(service, "taken back")[0].endswith("it had been admitted")


def test_why_says_what_would_have_been_held() -> None:
    service = following()
    service.follow(POLICY._replace(mode=AdmissionMode.REPORT))
    service.visit()
    service.visit(B, hours=1)
    (waits,) = explained(service, "waits")
    assert "; the tag serves it; " in waits
    (text,) = explained(service, "reported")
    assert text.startswith(
        f"the tag is not held: {B.digest} was first seen at 2026-11-24 10:00 UTC, and is old enough at "
    )


def test_person_who_admits_outweighs_the_cooldown() -> None:
    service = following()
    service.visit(B, hours=1)
    decide(service, B)
    assert service.visit(minutes=1) == "B"


def test_approval_of_another_digest_admits_nothing() -> None:
    service = following()
    service.follow(APPROVAL)
    service.visit(B, hours=1)
    service.visit(hours=72)
    decide(service, C)
    assert service.visit(minutes=1) == "A"


def test_approval_of_a_digest_under_another_tag_admits_nothing() -> None:
    """The decision is in the record of one mirror."""
    one, other = following(), following()
    for service in (one, other):
        service.follow(APPROVAL)
        service.visit(B, hours=1)
        service.clock.advance(hours=72)
    decide(one, B)
    assert (one.visit(), other.visit()) == ("B", "A")


def test_approval_is_forgotten_if_upstream_takes_the_digest_back() -> None:
    service = following()
    service.follow(APPROVAL)
    service.visit(B, hours=1)
    decide(service, B)
    service.visit(A, minutes=1)
    assert service.visit(B, minutes=1) == "A"
    assert service.visit(hours=72) == "A"
    assert service.known.state is State.HELD


def test_rejected_digest_is_never_served_though_upstream_takes_it_back_and_serves_it_again() -> None:
    service = following()
    service.visit(B, hours=1)
    decide(service, B, admits=False)
    assert service.visit(hours=72) == "A"
    assert (service.known.state, service.alerts) == (State.HELD, [])
    service.visit(A, hours=1)
    service.visit(B, hours=1)
    assert service.visit(hours=500) == "A"
    decide(service, B)
    assert service.visit(minutes=1) == "B"


def test_digest_that_is_rejected_while_the_tag_serves_it_is_replaced_by_the_one_before() -> None:
    service = following()
    service.visit(B, hours=1)
    assert service.visit(hours=72) == "B"
    decide(service, B, admits=False)
    assert service.visit(minutes=1) == "A"
    assert service.known.state is State.HELD


def test_digest_that_is_rejected_during_its_publish_is_not_served() -> None:
    service = following()
    service.visit(B, hours=1)
    service.clock.advance(hours=72)
    service.check_one()
    decide(service, B, admits=False)
    service.carry_out()
    assert service.served == "A"


def test_first_copy_waits_for_a_person_whatever_the_rule_says_of_its_age() -> None:
    service = HeldService(APPROVAL._replace(first_copy=FirstCopy.ADMIT))
    assert service.visit(A) == "-"
    assert service.known.state is State.HELD
    decide(service, A)
    assert service.visit(minutes=1) == "A"


@pytest.mark.parametrize("kind", [RegistryUnavailableError, NotFoundError])
def test_what_ecr_serves_when_the_rule_begins_is_admitted_though_upstream_fails_just_then(
    kind: type[RegistryError],
) -> None:
    service = HeldService(None)
    service.visit(A)
    service.follow(POLICY)
    service.script.fail("head_manifest", failed(kind))
    service.visit(hours=1)
    assert service.visit(hours=1) == "A"
    assert (service.known.state, service.known.waiting) == (State.FRESH, None)
    assert service.visit(B, hours=1) == "A"
    assert service.known.state is State.COOLING


def test_tag_is_not_moved_back_where_the_outcome_of_its_publish_was_lost() -> None:
    service = following()
    service.visit(B, hours=1)
    service.clock.advance(hours=72)
    service.check_one()
    (request,) = list(service.refreshes.requests.values())[service.done :]
    service.copy(request)
    service.refreshes.statuses[request.name], service.done = StartResult.ENDED, service.done + 1
    assert service.visit(hours=1) == "B"
    assert service.known.state is State.FRESH
    service.follow(POLICY._replace(min_age=POLICY.min_age * 10))
    assert service.visit(hours=1) == "B"
    assert (service.known.state, service.known.waiting) == (State.FRESH, None)
    assert [event for event in service.events if event.startswith("Admitted")] == ["Admitted old-enough"]


def test_copy_ahead_does_not_take_the_place_of_a_refresh_that_waits_for_a_slot() -> None:
    """Of one mirror, one refresh waits: the last one that was asked for."""
    service, asked = following(), list[RefreshRequest]()

    def wait(request: RefreshRequest) -> StartResult:
        asked.append(request)
        return StartResult.WAITING

    service.visit(B, hours=1)
    service.use_case = CheckMirrors(lambda: service.rules, service.ports._replace(start_refresh=wait))
    service.visit(C, hours=72)
    service.visit(minutes=15)
    assert [(service.name(each.root.digest), each.ahead) for each in asked] == [("B", False), ("B", False)]
