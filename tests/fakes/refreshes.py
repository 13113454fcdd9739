"""Requests and outcomes of refreshes as the state machine would hand them on."""

from datetime import UTC, datetime, timedelta

from pullahead.messages import Failure, OutcomeRequest, PublishResult, RefreshRequest, UnitRequest
from pullahead.oci import Descriptor
from tests.fakes.samples import REPOSITORY, UPSTREAM

BEGAN = datetime(2026, 11, 24, 9, tzinfo=UTC)


def refresh_request(
    root: Descriptor, *, episode: int = 1, platforms: tuple[str, ...] = (), late: str = ""
) -> RefreshRequest:
    """Ask for a refresh of the one mirror to a root, or for the copy of its late referrers."""
    return RefreshRequest(
        name=f"refresh-{root.digest[7:15]}-{episode}{late}",
        repository=REPOSITORY,
        tag="1.0",
        upstream=UPSTREAM,
        root=root,
        episode=episode,
        stale_since=BEGAN,
        platforms=platforms,
        late=late,
    )


def outcome(
    request: RefreshRequest, *, error: Failure | None = None, superseded: bool = False, bytes_copied: int = 0
) -> OutcomeRequest:
    """Say how a refresh ended: well, unless there is an error."""
    unit = UnitRequest(
        refresh=request.name, unit=0, repository=REPOSITORY, upstream=UPSTREAM, bytes_copied=bytes_copied, done=True
    )
    return OutcomeRequest(
        request=request,
        execution=f"arn:aws:states:eu-west-1:123456789012:execution:refresh:{request.name}",
        started_at=BEGAN + timedelta(seconds=10),
        published=None if error else PublishResult(request.root.digest, superseded),
        units=() if error else (unit,),
        error=error,
    )
