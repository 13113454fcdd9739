"""Repositories into which ECR's replication writes: deletions stay, and knowing of it costs nothing otherwise."""

from typing import Any

import pytest

from pullahead.checks.check import CheckResult
from pullahead.errors import StorageError
from pullahead.messages import CheckRequest
from pullahead.mirrors.record import State
from pullahead.oci import Digest
from tests.fakes.checks import FIRST, SECOND, CheckingService
from tests.fakes.samples import REPOSITORY, mirror

SOURCE = "111122223333 in us-west-2"


class Destination(CheckingService):
    """A mirror that is fresh, in a repository into which a tag was replicated."""

    def __init__(self, *, noted: bool = True) -> None:
        super().__init__([mirror("1.0"), mirror("2.0")])
        for tag in ("1.0", "2.0"):
            self.publish(tag=tag)
        self.check("1.0", "2.0")
        if noted:
            self.replicate("2.0")
        self.script.calls.clear()

    def ask(self, reason: Any, tag: str = "1.0", **more: Any) -> list[CheckResult]:
        """Check a tag for a reason."""
        return self.use_case(CheckRequest(reason, REPOSITORY, (tag,), self.clock(), **more))

    def replicate(self, tag: str, repository: str = REPOSITORY, digest: Digest = FIRST.digest) -> None:
        """Let an event say that a tag was replicated."""
        self.use_case(CheckRequest("push", repository, (tag,), self.clock(), digest, replicated_from=SOURCE))

    def delete(self, tag: str = "1.0") -> None:
        """Let ECR no longer have a tag, as where its last image was deleted with all its tags."""
        self.target.delete_tag(REPOSITORY, tag)

    def state(self, tag: str = "1.0") -> State:
        return self.record(tag).state


@pytest.mark.parametrize("reason", ["delete", "schedule"])
def test_deleted_tag_stays_deleted_whichever_tag_was_replicated(reason: str) -> None:
    service = Destination()
    service.delete()
    for _ in range(3):
        service.ask(reason)
        service.clock.advance(minutes=15)
    assert service.state() is State.DELETED
    assert service.record().replicated_from == SOURCE
    assert service.refreshes.requests == {}


def test_deleted_tag_of_another_repository_is_restored() -> None:
    service = Destination(noted=False)
    service.delete()
    service.ask("delete")
    assert (service.state(), len(service.refreshes.requests)) == (State.MISSING, 1)


def test_deleted_tag_is_restored_on_request_and_when_upstream_moves() -> None:
    service = Destination()
    service.delete()
    service.ask("schedule")
    service.ask("manual")
    assert (service.state(), len(service.refreshes.requests)) == (State.MISSING, 1)
    service.delete("2.0")
    service.ask("schedule", "2.0")
    assert service.state("2.0") is State.DELETED
    service.upstream.serve(SECOND, "ghcr.io/team/app:2.0")
    service.ask("schedule", "2.0")
    assert (service.state("2.0"), len(service.refreshes.requests)) == (State.MISSING, 2)


def test_tag_that_is_replicated_again_is_fresh() -> None:
    service = Destination()
    service.delete()
    service.ask("schedule")
    service.publish()
    service.replicate("1.0")
    assert (service.state(), service.record().replicated_from) == (State.FRESH, None)


def test_replication_is_asked_about_only_where_a_tag_has_changed() -> None:
    service = Destination()
    service.ask("schedule")
    assert service.script.count("replication_source") == 0
    service.delete()
    for _ in range(3):
        service.ask("schedule")
    assert service.script.count("replication_source") == 1


def test_replication_of_a_tag_that_no_rule_follows_is_not_noted() -> None:
    service = Destination(noted=False)
    service.replicate("other")
    service.replicate("1.0", "team/other")
    assert service.replications.stored == {}
    service.replicate("1.0")
    assert list(service.replications.stored) == [REPOSITORY]


def test_failure_to_read_it_is_an_error_and_nothing_is_refreshed() -> None:
    service = Destination()
    service.delete()
    service.script.fail("replication_source", StorageError("throttled"))
    (result,) = service.ask("schedule")
    assert isinstance(result.error, StorageError)
    assert service.refreshes.requests == {}
    service.ask("schedule")
    assert service.state() is State.DELETED
