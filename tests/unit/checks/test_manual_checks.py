"""A check that a human asks for is put off by nothing that puts off the schedule's."""

from datetime import timedelta

from local.images import make_image
from pullahead.messages import CheckRequest
from pullahead.mirrors.judge import wants_refresh
from pullahead.mirrors.record import RefreshFailure, State, transitions_of
from tests.fakes.application import InMemoryService
from tests.fakes.records import fresh, unfresh
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, mirror, rules

IMAGE = make_image([b"x"], seed=1)


def serving(**of_mirror: bool) -> InMemoryService:
    service = InMemoryService(rules([mirror(**of_mirror)]))  # type: ignore[arg-type]
    service.upstream.serve(IMAGE, UPSTREAM)
    return service


def check(service: InMemoryService, reason: str) -> None:
    event = {"reason": reason, "repository": REPOSITORY, "tags": ["1.0"], "asked_at": service.clock().isoformat()}
    service.handle(CheckRequest.from_event(event))


def test_manual_check_retries_a_failed_refresh_now() -> None:
    service = serving()
    later = service.clock() + timedelta(hours=6)
    failure = RefreshFailure(IMAGE.digest, "TagImmutableError", "immutable", True, 1, later)
    service.records.stored[KEY] = unfresh(
        KEY, State.BLOCKED, service.clock(), upstream_digest=IMAGE.digest, failure=failure, episode=1
    )
    check(service, "schedule")
    assert service.refreshes.requests == {}
    check(service, "manual")
    assert [request.tag for request in service.refreshes.requests.values()] == ["1.0"]
    assert [alert.kind for alert in service.records.decided] == ["BLOCKED"]


def test_manual_check_asks_upstream_for_an_immutable_tag() -> None:
    service = serving(immutable=True)
    service.target.move_tag(REPOSITORY, "1.0", IMAGE.digest)
    service.records.stored[KEY] = fresh(
        KEY, service.clock(), upstream_digest=IMAGE.digest, published_digest=IMAGE.digest
    )
    check(service, "schedule")
    assert service.upstream.heads == 0
    check(service, "manual")
    assert service.upstream.heads == 1


def note_of(service: InMemoryService) -> tuple[str, bool]:
    note = service.records.stored[KEY].manual
    assert note is not None
    assert (note.asked_at, note.at) == (service.clock(), service.clock())
    return note.result, note.started


def test_result_is_noted_for_whoever_asked() -> None:
    service = serving()
    check(service, "manual")
    assert note_of(service) == ("ECR does not have the tag", True)
    service.target.move_tag(REPOSITORY, "1.0", IMAGE.digest)
    check(service, "manual")
    assert note_of(service) == ("ECR serves what upstream serves", False)


def test_check_that_nobody_asked_for_leaves_no_note() -> None:
    service = serving()
    check(service, "schedule")
    assert service.records.stored[KEY].manual is None


def test_manual_check_looks_up_the_credential_again() -> None:
    service = serving()
    check(service, "schedule")
    assert service.upstream.forgotten == []
    check(service, "manual")
    assert [str(each) for each in service.upstream.forgotten] == ["ghcr.io/team/app"]


def test_waiting_refresh_that_a_person_asked_for_is_still_wanted() -> None:
    """It is judged by the stored record, in which the failed refresh must no longer put it off."""
    service = serving()
    failure = RefreshFailure(
        IMAGE.digest, "RegistryTimeoutError", "slow", False, 3, service.clock() + timedelta(hours=6)
    )
    service.records.stored[KEY] = unfresh(
        KEY, State.MISSING, service.clock(), upstream_digest=IMAGE.digest, failure=failure, episode=3
    )
    check(service, "manual")
    stored = service.records.stored[KEY]
    assert stored.failure is None
    assert wants_refresh(stored, service.clock())


def test_history_says_that_a_person_asked_and_why_it_had_failed() -> None:
    service = serving()
    failure = RefreshFailure(IMAGE.digest, "TagImmutableError", "immutable", True, 1, service.clock())
    service.records.stored[KEY] = unfresh(
        KEY, State.BLOCKED, service.clock(), upstream_digest=IMAGE.digest, failure=failure, episode=1
    )
    check(service, "manual")
    blocked, missing = transitions_of(service.records.stored[KEY], service.clock())
    assert (blocked.state, blocked.cause) == (State.BLOCKED, "immutable")
    assert (missing.state, missing.trigger, missing.cause) == (State.MISSING, "manual", "ECR does not have the tag")


def test_history_names_the_sender_of_a_webhook_whatever_it_led_to() -> None:
    """A webhook may have asked for a listing, which then asks for a check."""
    service = serving()
    asked = {"repository": REPOSITORY, "tags": ["1.0"], "asked_at": service.clock().isoformat(), "sender": "quay"}
    service.handle(CheckRequest.from_event({"reason": "schedule", **asked}))
    (missing,) = transitions_of(service.records.stored[KEY], service.clock())
    assert (missing.trigger, missing.sender, missing.cause) == ("webhook", "quay", "ECR does not have the tag")
