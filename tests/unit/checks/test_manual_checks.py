"""A check that a human asks for is put off by nothing that puts off the schedule's."""

from datetime import timedelta

from local.images import make_image
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import RefreshFailure, State
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
    service.app.handle_message(CheckRequest.from_event(event))


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
