"""What functions and states say to each other, typed. Everything is JSON on the wire; unknown fields are refused.

A payload of Step Functions may not exceed 256 KiB (Step Functions quotas), so what can grow is kept in the plans
bucket and only named here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import msgspec

from pullahead.errors import InvalidEventError
from pullahead.oci import Descriptor, Digest, Reference, parse_digest, parse_reference

MAX_TAGS_PER_CHECK = 100
"""ECR API reference, DescribeImages: at most 100 image identifiers a call."""

_Tags = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_TAGS_PER_CHECK)]
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]  # a time without a zone cannot be compared with our clock


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message that refuses what it does not understand."""

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Read a decoded JSON value. Raises InvalidEventError naming the field."""
        try:
            return msgspec.convert(event, type=cls)
        except msgspec.ValidationError as error:
            raise InvalidEventError(f"{cls.__name__}: {error}") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a JSON text. Raises InvalidEventError naming the field."""
        try:
            return msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidEventError(f"{cls.__name__}: {error}") from error

    def to_event(self) -> dict[str, Any]:
        """Make a plain JSON value."""
        event: dict[str, Any] = msgspec.to_builtins(self)
        return event

    def to_json(self) -> str:
        """Make a JSON text."""
        return msgspec.json.encode(self).decode()


class CacheFailure(msgspec.Struct, frozen=True):
    """Why ECR's pull through cache could not fetch a tag, in ECR's words."""

    code: str
    reason: str = ""


class CheckRequest(Message, frozen=True):
    """Check tags of one repository. A push names the digest that was pushed; a human wants nothing to be put off.

    Where a rule for a whole namespace chose the tags, it is named, with the upstream repository that it found.
    `settled`: it was decided that this event, of the many that may come, is the one to be followed.
    `cache_failure`: ECR could not fetch the tag for whoever pulled it.
    """

    reason: Literal["schedule", "manual", "push", "delete", "cache", "webhook", "pull"]
    repository: str
    tags: _Tags
    asked_at: _Moment
    digest: Digest | None = None
    rule: str | None = None
    upstream: str | None = None
    settled: bool = False
    cache_failure: CacheFailure | None = None

    @property
    def is_settled(self) -> bool:
        """Tell whether the check is to be made whatever else was asked: no event asked, or it is the chosen one."""
        return self.settled or self.reason in ("schedule", "manual")


class ListRequest(Message, frozen=True, tag_field="kind", tag="list"):
    """List what a rule chooses its tags from: its upstream repository, or one that was found below its namespace."""

    rule: str
    asked_at: _Moment
    upstream: str | None = None


class ScanFinished(Message, frozen=True, tag_field="kind", tag="scan"):
    """ECR has scanned a manifest: how many findings there are of each severity, and the tags that it has now."""

    repository: str
    digest: Digest
    tags: tuple[str, ...]
    counts: dict[str, int]
    at: _Moment


class StartWaitingRequest(Message, frozen=True, tag_field="kind", tag="fill"):
    """Start refreshes that wait. Step Functions names an execution that has ended; the schedule names none."""

    ended: str = ""


class AwsEvent(Message, frozen=True, forbid_unknown_fields=False, rename="kebab"):
    """An event of an AWS service as EventBridge hands it on (EventBridge user guide, "AWS service event metadata").

    What its detail means is decided in `waking`.
    """

    source: str
    detail_type: str
    account: str
    region: str
    time: _Moment
    detail: dict[str, Any]


Queued = CheckRequest | ListRequest | StartWaitingRequest
"""What Pullahead itself puts into the checks queue."""

Received = Queued | AwsEvent
"""What comes out of it: EventBridge puts events of ECR there, as they are."""


class _Kind(msgspec.Struct):
    kind: str = ""
    detail_type: Any = msgspec.field(default=None, name="detail-type")


def read_queued(text: str | bytes) -> Received:
    """Read a message of the checks queue; one without a kind is a check. Raises InvalidEventError naming the field."""
    try:
        seen = msgspec.json.decode(text, type=_Kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEventError(f"a message of the checks queue: {error}") from error
    if seen.detail_type is not None:
        return AwsEvent.from_json(text)
    by_kind: dict[str, type[ListRequest | StartWaitingRequest]] = {"list": ListRequest, "fill": StartWaitingRequest}
    return by_kind.get(seen.kind, CheckRequest).from_json(text)


class RefreshRequest(Message, frozen=True):
    """Make `repository:tag` serve what `upstream` served as `root`. The input of the state machine.

    With platforms, an index is published without the others. Two requests for the same mirror, digest, platforms and
    episode are equal in every field, and so in their execution.
    """

    name: str
    repository: str
    tag: str
    upstream: str
    root: Descriptor
    episode: int
    stale_since: _Moment
    platforms: tuple[str, ...] = ()

    @property
    def source(self) -> Reference:
        """The manifest to copy, by digest: the tag may move meanwhile."""
        return parse_reference(self.upstream).at(parse_digest(self.root.digest))


class UnitRequest(Message, frozen=True):
    """Copy one unit of a plan, or go on with it. The answer is the next request, until it is `done`."""

    refresh: str
    unit: _Count
    repository: str
    upstream: str
    rounds: _Count = 0
    bytes_copied: _Count = 0
    stalled_rounds: _Count = 0
    done: bool = False

    def to_event(self) -> dict[str, Any]:
        """Make a plain JSON value; `done` is always there for the Choice state to look at."""
        return {**super().to_event(), "done": self.done}


class PlanResult(Message, frozen=True):
    """What plan_copy answers: the units to copy, and what the plan amounts to."""

    units: tuple[UnitRequest, ...]
    manifests: int
    bytes_missing: int
    bytes_present: int

    def to_event(self) -> dict[str, Any]:
        """Make a plain JSON value in which every unit shows whether it is done."""
        return {**super().to_event(), "units": [unit.to_event() for unit in self.units]}


class PublishResult(Message, frozen=True):
    """What publish_image answers: the digest under the tag, which is not upstream's where platforms were chosen."""

    digest: Digest
    superseded: bool = False


_MAX_FAILURE_CHARACTERS = 2_000  # it is kept in records, of which a review reads many thousand; a cause may have 32 KB


class Failure(msgspec.Struct, frozen=True, rename="pascal"):
    """An error as a Catch of Step Functions hands it on."""

    error: str
    cause: str = ""

    @property
    def text(self) -> str:
        """The message of the exception that a function raised, or the cause as it stands; its beginning, if long."""
        return self._whole_text[:_MAX_FAILURE_CHARACTERS]

    @property
    def _whole_text(self) -> str:
        try:
            cause = msgspec.json.decode(self.cause)
        except msgspec.DecodeError:
            return self.cause or self.error
        message = cause.get("errorMessage") if isinstance(cause, Mapping) else None
        return str(message or self.cause or self.error)


class OutcomeRequest(Message, frozen=True):
    """Record how a refresh ended: with what was published, or with an error."""

    request: RefreshRequest
    execution: str
    started_at: _Moment
    published: PublishResult | None = None
    units: tuple[UnitRequest, ...] = ()
    error: Failure | None = None


class OutcomeResult(Message, frozen=True):
    """What record_outcome answers. How long it took, and how late it was, where something was published."""

    mirror: str
    state: str
    bytes_copied: int
    seconds: float | None = None
    lag_seconds: float | None = None
