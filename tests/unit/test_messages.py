"""What functions and states say to each other: read as written, and refused where it is not understood."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pullahead.errors import InvalidEventError
from pullahead.messages import (
    MAX_TAGS_PER_CHECK,
    CheckRequest,
    Failure,
    ListRequest,
    Message,
    OutcomeRequest,
    OutcomeResult,
    PlanResult,
    PublishRequest,
    PublishResult,
    ReferrerNamed,
    ReferrersOutcome,
    RefreshRequest,
    Trouble,
    UnitRequest,
    read_queued,
)
from pullahead.oci import InvalidDigestError
from tests.fakes.refreshes import outcome, refresh_request
from tests.fakes.samples import UPSTREAM, digest, root

NOW = datetime(2026, 11, 24, 9, 5, 0, 123456, tzinfo=UTC)
UNIT = UnitRequest(refresh="r", unit=3, repository="mirror/app", upstream=UPSTREAM)
REFRESH = refresh_request(root("new"))
REFERRERS = ReferrersOutcome("f", 2, 500, 1, 1, 1, (Trouble("NotFoundError", "gone"),), ("too many",), (digest("new"),))
MESSAGES: list[Message] = [
    CheckRequest(reason="schedule", repository="mirror/app", tags=("1.0", "2.0"), asked_at=NOW),
    CheckRequest(reason="push", repository="mirror/app", tags=("1.0",), asked_at=NOW, digest=digest("pushed")),
    CheckRequest("schedule", "mirror/app", ("1.0",), NOW, rule="team", upstream="quay.io/team/app"),
    ListRequest(rule="team", asked_at=NOW),
    ListRequest(rule="team", asked_at=NOW, upstream="quay.io/team/app"),
    ReferrerNamed("quay.io/team/app", digest("image"), NOW),
    CheckRequest("referrers", "mirror/app", ("1.0",), NOW),
    REFRESH,
    refresh_request(root("new"), late="0f3a-1"),
    UnitRequest("r", 4, "mirror/app", UPSTREAM, optional=True),
    PlanResult((UNIT,), 1, 10, 20, digest("root"), referrer_units=(UNIT,), referrers=2),
    PublishResult(digest("new"), referrers=REFERRERS),
    refresh_request(root("new"), platforms=("linux/amd64", "linux/arm64/v8")),
    UNIT,
    UnitRequest("r", 0, "mirror/app", UPSTREAM, rounds=2, bytes_copied=5, stalled_rounds=1, done=True),
    PlanResult(units=(UNIT, UNIT), manifests=2, bytes_missing=10, bytes_present=20, root=digest("root")),
    PlanResult(units=(), manifests=1, bytes_missing=0, bytes_present=0, root=digest("root")),
    PublishRequest(REFRESH, digest("new")),
    PublishResult(digest("new")),
    PublishResult(digest("new"), superseded=True),
    outcome(REFRESH, bytes_copied=7),
    outcome(REFRESH, error=Failure("TagImmutableError", "no")),
    OutcomeResult(mirror="mirror/app:1.0", state="FRESH", bytes_copied=7),
]


def named(message: Message) -> str:
    return type(message).__name__


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_message_is_read_as_it_was_written(message: Message) -> None:
    assert type(message).from_event(message.to_event()) == message
    assert type(message).from_json(message.to_json()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_unknown_field_is_refused_by_name(message: Message) -> None:
    with pytest.raises(InvalidEventError, match=f"{named(message)}.*surprise"):
        type(message).from_event({**message.to_event(), "surprise": 1})


@pytest.mark.parametrize("message", MESSAGES, ids=named)
def test_missing_field_is_refused_by_name(message: Message) -> None:
    first = next(name for name in message.to_event() if name != "kind")  # without one it would be a check
    event = {name: value for name, value in message.to_event().items() if name != first}
    with pytest.raises(InvalidEventError, match=first):
        type(message).from_event(event)


@pytest.mark.parametrize("event", [None, [], "text", 7, {}])
def test_value_that_is_not_an_object_is_refused(event: object) -> None:
    with pytest.raises(InvalidEventError):
        RefreshRequest.from_event(event)


@pytest.mark.parametrize("text", ["", "{", b"\xff\xfe", b'{"reason": "\xff"}', '{"reason": "hunch"}', "null"])
def test_text_that_is_not_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidEventError, match="CheckRequest"):
        CheckRequest.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"reason": "hunch"},
        {"tags": []},
        {"tags": [str(n) for n in range(MAX_TAGS_PER_CHECK + 1)]},
        {"tags": "1.0"},
        {"tags": [1.0]},
        {"asked_at": "yesterday"},
        {"asked_at": "2026-11-24T09:05:00"},  # without a zone it could not be compared with anything
        {"repository": None},
    ],
)
def test_invalid_check_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError, match=next(iter(change))):
        CheckRequest.from_event({**MESSAGES[0].to_event(), **change})


@pytest.mark.parametrize("name", ["unit", "rounds", "bytes_copied", "stalled_rounds"])
@pytest.mark.parametrize("value", [-1, "1", 1.5, None])
def test_negative_count_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidEventError, match=name):
        UnitRequest.from_event({**UNIT.to_event(), name: value})


@pytest.mark.parametrize("done", [True, False])
def test_unit_request_always_has_done(done: bool) -> None:
    unit = UnitRequest("r", 0, "mirror/app", UPSTREAM, done=done)
    assert unit.to_event()["done"] is done
    assert PlanResult((unit,), 1, 0, 0, digest("root")).to_event()["units"][0]["done"] is done


def test_publish_request_of_version_0_1_ends_in_upstreams_root() -> None:
    assert PublishRequest.from_event(REFRESH.to_event()) == PublishRequest(REFRESH, REFRESH.root.digest)
    with pytest.raises(InvalidEventError, match="no `root`"):
        PublishRequest.from_event(refresh_request(root("new"), platforms=("linux/amd64",)).to_event())


def test_refresh_reads_its_source_by_digest() -> None:
    assert str(REFRESH.source) == f"ghcr.io/team/app@{root('new').digest}"


def test_refresh_to_an_invalid_digest_is_refused() -> None:
    event = REFRESH.to_event()
    event["root"]["digest"] = "latest"
    with pytest.raises(InvalidDigestError):
        _ = RefreshRequest.from_event(event).source


def test_largest_plan_fits_into_a_payload_of_step_functions() -> None:
    """Step Functions quotas: 256 KiB for input or result of a state."""
    unit = UnitRequest("r" * 80, 39, "m" * 256, f"{'h' * 255}/{'p' * 255}@sha256:{'0' * 64}", 400, 10**12, 2)
    assert len(PlanResult((unit,) * 40, 1000, 10**12, 10**12, digest("root")).to_json()) < 256 * 1024 / 4


class TestFailureText:
    @pytest.mark.parametrize(
        ("error", "cause", "text"),
        [
            ("StorageError", '{"errorMessage": "no table", "errorType": "StorageError"}', "no table"),
            ("States.Timeout", "", "States.Timeout"),
            ("States.TaskFailed", "it was stopped", "it was stopped"),
            ("E", '{"errorMessage": ""}', '{"errorMessage": ""}'),
            ("E", '{"message": "else"}', '{"message": "else"}'),
            ("E", '["errorMessage"]', '["errorMessage"]'),
            ("E", '"text"', '"text"'),
            ("E", "123", "123"),
            ("E", "{", "{"),
            ("E", '{"errorMessage": 7}', "7"),
        ],
    )
    def test_failure_text_is_the_message_of_the_exception(self, error: str, cause: str, text: str) -> None:
        assert Failure(error, cause).text == text

    def test_long_cause_is_cut(self) -> None:
        assert len(Failure("RuntimeError", "x" * 32_000).text) == 2_000

    def test_failure_is_read_as_step_functions_writes_it(self) -> None:
        event = outcome(REFRESH).to_event()
        event["error"] = {"Error": "States.Timeout", "StackTrace": []}
        ended = OutcomeRequest.from_event(event)
        assert ended.error == Failure("States.Timeout", "")


QUEUED = [message for message in MESSAGES if isinstance(message, CheckRequest | ListRequest)]


class TestQueued:
    """Checks and listings travel in one queue; what was sent before there were listings is read as ever."""

    @pytest.mark.parametrize("message", QUEUED, ids=named)
    def test_message_is_read_as_the_kind_that_was_written(self, message: Message) -> None:
        assert read_queued(message.to_json()) == message

    def test_check_is_written_without_a_kind(self) -> None:
        assert QUEUED[0].to_event() == {
            "reason": "schedule",
            "repository": "mirror/app",
            "tags": ("1.0", "2.0"),
            "asked_at": "2026-11-24T09:05:00.123456Z",
        }

    @pytest.mark.parametrize(
        "text",
        [
            "{",
            "null",
            "[]",
            b"\xff",
            '{"kind": 3}',
            '{"kind": "guess", "reason": "schedule"}',
            '{"kind": "list"}',
            '{"kind": "list", "rule": "r", "asked_at": "now"}',
            '{"kind": "list", "rule": "r", "asked_at": "2026-11-24T09:05:00Z", "surprise": 1}',
            '{"rule": "r", "asked_at": "2026-11-24T09:05:00Z"}',
        ],
    )
    def test_message_of_unknown_kind_is_refused(self, text: str | bytes) -> None:
        with pytest.raises(InvalidEventError):
            read_queued(text)
