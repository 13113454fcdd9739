"""The messages of queues and of the state machine, typed. They are sent as JSON; unknown fields are refused.

A message that says what it is about, but has a field, a reason or a kind that is not known, may be of a newer version
of Pullahead, which is being deployed: whoever received it tries again later (NewerMessageError).

A payload of Step Functions may not exceed 256 KiB (Step Functions quotas), so what can grow is stored in the plans
bucket and only named here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import msgspec

from pullahead.clock import Moment
from pullahead.errors import InvalidEventError, NewerMessageError
from pullahead.oci import Descriptor, Digest, Reference, parse_digest, parse_reference
from pullahead.text import one_line

MAX_TAGS_PER_CHECK = 100
"""ECR API reference, DescribeImages: at most 100 image identifiers a call."""

_Tags = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=MAX_TAGS_PER_CHECK)]
_NOT_KNOWN = ("Object contains unknown field", "Invalid enum value")
"""How msgspec begins what it says of these, at any depth."""
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message that refuses unknown fields."""

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Read a decoded JSON value. Raises InvalidEventError, with the field; NewerMessageError if it may be newer."""
        try:
            return msgspec.convert(event, type=cls)
        except msgspec.ValidationError as error:
            raise cls._refusal(event, error) from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read a JSON text. Raises InvalidEventError, with the field; NewerMessageError if it may be newer."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.ValidationError as error:
            raise cls._refusal(_decoded(text), error) from error
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise InvalidEventError(f"{cls.__name__}: {error}") from error

    @classmethod
    def _refusal(cls, event: object, error: msgspec.ValidationError) -> InvalidEventError:
        """Make the error. One of our messages may be newer that has every field without which it means nothing, and a
        field or a name of something that is not known."""
        fields = msgspec.structs.fields(cls)
        needed = {field.encode_name for field in fields if field.required}
        names = event.keys() if isinstance(event, Mapping) else set[str]()
        unknown = names - {field.encode_name for field in fields} - {cls.__struct_config__.tag_field}
        is_ours = cls.__struct_config__.forbid_unknown_fields and needed <= names
        may_be_newer = is_ours and (unknown or str(error).startswith(_NOT_KNOWN))
        return (NewerMessageError if may_be_newer else InvalidEventError)(f"{cls.__name__}: {error}")

    def to_event(self) -> dict[str, Any]:
        """Make a plain JSON value."""
        event: dict[str, Any] = msgspec.to_builtins(self)
        return event

    def to_json(self) -> str:
        """Make a JSON text."""
        return msgspec.json.encode(self).decode()


def _decoded(text: str | bytes) -> object:
    """Decode JSON of any form; None where it is none: a validation may fail before the text is read to its end."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


class CacheFailure(msgspec.Struct, frozen=True):
    """Why ECR's pull through cache could not fetch a tag, as ECR says it."""

    code: str
    reason: str = ""


class CheckRequest(Message, frozen=True):
    """Check tags of one repository. A push names the digest that was pushed; a manual check ignores retry back-off.

    Where a rule for a namespace selected the tags, `rule` names it and `upstream` the repository that it found.
    `settled`: the event behind the check was merged with others before; the check is made. `postponed`: how often it
    was put back into the queue, since its registry's rate allowed no request or a refresh may be retried later only.
    `cache_failure`: why ECR's pull through cache could not fetch the tag. `replicated_from`: the account and Region
    from which ECR's replication pushed it. `sender`: of the webhook behind it. The reason `referrers` asks for no
    check, but to look for referrers that came after their images.
    """

    reason: Literal["schedule", "manual", "push", "delete", "cache", "webhook", "pull", "referrers", "scan"]
    repository: str
    tags: _Tags
    asked_at: Moment
    digest: Digest | None = None
    rule: str | None = None
    upstream: str | None = None
    settled: bool = False
    postponed: _Count = 0
    cache_failure: CacheFailure | None = None
    replicated_from: str | None = None
    sender: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether the check is made without merging: no event is behind it, or that was merged before."""
        return self.settled or self.reason in ("schedule", "manual", "referrers")

    @property
    def is_by_event(self) -> bool:
        """Whether something happened, or a person asked, rather than that it is time to check."""
        return self.reason not in ("schedule", "referrers")


class ListRequest(Message, frozen=True, tag_field="kind", tag="list"):
    """List the tags that a rule selects from: those of its upstream repository, or of one found in its namespace.

    `sender`: of the webhook that asked for it. `manual`: a person did; what is selected is checked as if it had been.
    """

    rule: str
    asked_at: Moment
    upstream: str | None = None
    sender: str = ""
    manual: bool = False


class ReferrerNamed(Message, frozen=True, tag_field="kind", tag="referrer"):
    """A webhook has named a tag that keeps referrers: look for those of the mirrors that serve their subject.

    `subject` is how its digest begins: of sha512 a tag has only half.
    """

    upstream: str
    subject: Annotated[str, msgspec.Meta(pattern="^sha(256|512):[0-9a-f]{64}$")]
    asked_at: Moment


class ScanFinished(Message, frozen=True, tag_field="kind", tag="scan"):
    """ECR has scanned a manifest: the number of findings by severity, and the tags that the manifest has now."""

    repository: str
    digest: Digest
    tags: tuple[str, ...]
    counts: dict[str, int]
    at: Moment


class StartWaitingRequest(Message, frozen=True, tag_field="kind", tag="fill"):
    """Start waiting refreshes. `ended` is the execution that has ended, if Step Functions sent the message. `again`:
    who started some of them could not examine all."""

    ended: str = ""
    again: bool = False


class AwsEvent(Message, frozen=True, forbid_unknown_fields=False, rename="kebab"):
    """An event of an AWS service as EventBridge delivers it (EventBridge user guide, "AWS service event metadata").

    `checks.ecr_events` reads its detail.
    """

    source: str
    detail_type: str
    account: str
    region: str
    time: Moment
    detail: dict[str, Any]


Queued = CheckRequest | ListRequest | ReferrerNamed | StartWaitingRequest
"""What Pullahead sends to the checks queue."""

Received = Queued | AwsEvent
"""What the checks queue delivers: EventBridge sends ECR's events there, too."""


class _Kind(msgspec.Struct):
    kind: str = ""
    detail_type: Any = msgspec.field(default=None, name="detail-type")


def read_queued(text: str | bytes) -> Received:
    """Decode a message of the checks queue; without a kind it is a check.

    Raises InvalidEventError naming the field, and NewerMessageError for what a newer version may have sent.
    """
    try:
        form = msgspec.json.decode(text, type=_Kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidEventError(f"a message of the checks queue: {error}") from error
    if form.detail_type is not None:
        return AwsEvent.from_json(text)
    by_kind: dict[str, type[ListRequest | ReferrerNamed | StartWaitingRequest]] = {
        "list": ListRequest,
        "referrer": ReferrerNamed,
        "fill": StartWaitingRequest,
    }
    if form.kind and form.kind not in by_kind:
        raise NewerMessageError(f"a message of the checks queue: unknown kind {form.kind!r}")
    return by_kind.get(form.kind, CheckRequest).from_json(text)


class RefreshRequest(Message, frozen=True):
    """Make `repository:tag` serve the manifest `root` of `upstream`. The input of the state machine.

    With platforms, an index is published with these alone. `late` identifies referrers that came after the image: they
    alone are copied then, and the tag is left alone. `ahead`: the tag may not serve it yet, and is left alone, too. Two
    requests for the same mirror, digest, platforms and episode are equal in every field, and so start one execution.
    """

    name: str
    repository: str
    tag: str
    upstream: str
    root: Descriptor
    episode: int
    stale_since: Moment
    platforms: tuple[str, ...] = ()
    late: str = ""
    ahead: bool = False

    @property
    def source(self) -> Reference:
        """The manifest to copy, by digest: the tag may move meanwhile."""
        return parse_reference(self.upstream).at(parse_digest(self.root.digest))

    @property
    def host(self) -> str:
        """The upstream registry, which has its share of the refreshes that run at once."""
        return parse_reference(self.upstream).repository.registry


class PlanRequest(Message, frozen=True):
    """Plan a refresh: the input of the state machine, and again after its repository has been created."""

    request: RefreshRequest
    repository_created: bool = False

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Read the event: the state machine's input as it is, or what create_repository returned."""
        if isinstance(event, Mapping) and "request" in event:
            return super().from_event(event)
        return cls(RefreshRequest.from_event(event))


class UnitRequest(Message, frozen=True):
    """Copy one unit of a plan, or continue it. The result is the next request, until it is `done`.

    A blob of an `optional` unit that cannot be copied is noted, and does not fail the unit.
    """

    refresh: str
    unit: _Count
    repository: str
    upstream: str
    rounds: _Count = 0
    bytes_copied: _Count = 0
    stalled_rounds: _Count = 0
    done: bool = False
    optional: bool = False

    def to_event(self) -> dict[str, Any]:
        """Make a plain JSON value; it always has `done`, which the Choice state reads."""
        return {**super().to_event(), "done": self.done}


class PlanResult(Message, frozen=True):
    """The result of plan_copy: the units to copy, those of the image and then those of its referrers; the size of the
    plan, and the digest that it ends in.

    Where the rule selects platforms, that is not upstream's. The state machine carries it to publish_image, so that
    nobody who may write to the plans bucket decides what is published. `verify`: the rule demands signatures, and
    enforces that or only reports.
    """

    units: tuple[UnitRequest, ...]
    manifests: int
    bytes_missing: int
    bytes_present: int
    root: Digest
    referrer_units: tuple[UnitRequest, ...] = ()
    referrers: int = 0
    verify: Literal["", "enforce", "report"] = ""

    def to_event(self) -> dict[str, Any]:
        """Make a plain JSON value, which always has both lists, and in which every unit has `done`."""
        units = {"units": self.units, "referrer_units": self.referrer_units}
        return {**super().to_event(), **{name: [unit.to_event() for unit in some] for name, some in units.items()}}


class Trouble(msgspec.Struct, frozen=True):
    """Why a referrer was not copied, or could not be looked for: the class of the error, and its message."""

    kind: str
    text: str


class ReferrersOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of the referrers of an image. `copied` are in the target; `subjects` are the manifests that they were
    looked for of, where these are few; `troubles` are the first ones of `failed`."""

    fingerprint: str
    copied: int = 0
    bytes: int = 0
    excluded: int = 0
    not_applicable: int = 0
    failed: int = 0
    troubles: tuple[Trouble, ...] = ()
    limits: tuple[str, ...] = ()
    subjects: tuple[Digest, ...] = ()


class VerifyRequest(Message, frozen=True):
    """Look at the signatures of what a refresh copies; or, by the schedule, at the trust root alone."""

    request: RefreshRequest | None = None


class VerifyResult(Message, frozen=True):
    """The result of verify_image: what it found of upstream's digest; "" where nothing had to be proven."""

    digest: Digest
    outcome: str = ""
    why: str = ""


class PublishRequest(Message, frozen=True):
    """Publish what a refresh has copied, up to the manifest `root`, which the tag will name."""

    request: RefreshRequest
    root: Digest

    @classmethod
    def from_event(cls, event: object) -> Self:
        """Read the event. Executions that version 0.1 started send the request alone: upstream's root is published."""
        if not isinstance(event, Mapping) or "name" not in event:
            return super().from_event(event)
        request = RefreshRequest.from_event(event)
        if request.platforms:
            raise InvalidEventError(
                "PublishRequest: no `root`; the mirror is checked again, and copied by this version"
            )
        return cls(request, request.root.digest)


class ScanVerdict(StrEnum):
    """What AWS's scans say of a digest, by the rule that asked."""

    NONE = "NONE"  # there is no result: not yet, or none that can be used
    CLEAN = "CLEAN"
    VULNERABLE = "VULNERABLE"


class ScanEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the scans of a digest's images said when they were last read, and by which rule that was judged.

    `images` are what ECR has of it, in every platform, and is to be scanned; `since` is when they were copied. `text`
    says it in one printable line. `missing`: ECR does not have all of them any more.
    """

    images: tuple[Digest, ...]
    since: Moment
    at: Moment
    policy: str
    verdict: ScanVerdict = ScanVerdict.NONE
    text: str = ""
    missing: bool = False


class KeptPrevious(msgspec.Struct, frozen=True):
    """What the tag served before it was moved, and the tag that keeps it."""

    digest: Digest
    tag: str


class PublishResult(Message, frozen=True):
    """The result of publish_image: the digest under the tag, which is not upstream's where platforms were selected.

    `referrers` is None where the rule copies none; `kept` where the tag served nothing else, or that is not kept.
    `held`: why the tag was not moved, where the digest may not be served yet. The digest is in ECR without it.
    `scan`: what its scans say, where the rule asks.
    """

    digest: Digest
    superseded: bool = False
    referrers: ReferrersOutcome | None = None
    kept: KeptPrevious | None = None
    held: str = ""
    scan: ScanEvidence | None = None


_MAX_FAILURE_CHARACTERS = 2_000  # it is stored in records, of which a review reads thousands; a cause may have 32 KB


class Failure(msgspec.Struct, frozen=True, rename="pascal"):
    """An error as a Catch of Step Functions passes it on."""

    error: str
    cause: str = ""

    @property
    def text(self) -> str:
        """The message of the exception that a function raised, or else the cause; at most its beginning."""
        return one_line(self._whole_text, _MAX_FAILURE_CHARACTERS)

    @property
    def _whole_text(self) -> str:
        try:
            cause = msgspec.json.decode(self.cause)
        except msgspec.DecodeError:
            return self.cause or self.error
        message = cause.get("errorMessage") if isinstance(cause, Mapping) else None
        return str(message or self.cause or self.error)


class OutcomeRequest(Message, frozen=True):
    """Record the outcome of a refresh: what was published, or an error."""

    request: RefreshRequest
    execution: str
    started_at: Moment
    published: PublishResult | None = None
    units: tuple[UnitRequest, ...] = ()
    referrer_units: tuple[UnitRequest, ...] = ()
    error: Failure | None = None


class OutcomeResult(Message, frozen=True):
    """The result of record_outcome; the duration and the lag where something was published."""

    mirror: str
    state: str
    bytes_copied: int
    seconds: float | None = None
    lag_seconds: float | None = None
