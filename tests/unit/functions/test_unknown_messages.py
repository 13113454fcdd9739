"""Messages of a newer version come again and are put aside last; one that crashes takes no other with it."""

import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from functions.copy_blobs import app as copy_blobs
from functions.create_repository import app as create_repository
from functions.notice_pulls import app as notice_pulls
from functions.plan_copy import app as plan_copy
from functions.publish_image import app as publish_image
from functions.record_outcome import app as record_outcome
from pullahead.app import Application
from pullahead.errors import InvalidEventError, NewerMessageError
from pullahead.messages import (
    CheckRequest,
    ListRequest,
    Message,
    PublishRequest,
    ReferrerNamed,
    StartWaitingRequest,
    UnitRequest,
    read_queued,
)
from tests.fakes.application import MAX_RECEIVE_COUNT, InMemoryService
from tests.fakes.checks import FIRST
from tests.fakes.lambda_context import lambda_context
from tests.fakes.memory import FakeClock
from tests.fakes.refreshes import outcome, refresh_request
from tests.fakes.samples import KEY, REPOSITORY, UPSTREAM, digest, root, rules
from tests.unit.functions.test_invalid_messages import good, received
from tests.unit.functions.test_notice_pulls import again, sample, sent
from tests.unit.functions.test_notice_pulls import service as pulled_service

NOW = FakeClock()()
CHECK = CheckRequest(reason="schedule", repository=REPOSITORY, tags=("1.0",), asked_at=NOW)
REFRESH = refresh_request(root("new"))
UNIT = UnitRequest(refresh="r", unit=3, repository=REPOSITORY, upstream=UPSTREAM)
QUEUED: list[Message] = [
    CHECK,
    ListRequest("team", NOW),
    ReferrerNamed(UPSTREAM, digest("image"), NOW),
    StartWaitingRequest(),
]
HANDLERS: list[tuple[Callable[..., Any], Message]] = [
    (plan_copy.handle, REFRESH),
    (create_repository.handle, REFRESH),
    (copy_blobs.handle, UNIT),
    (publish_image.handle, PublishRequest(REFRESH, digest("new"))),
    (record_outcome.handle, outcome(REFRESH)),
]
pulls = pulled_service


@pytest.fixture
def service() -> InMemoryService:
    made = InMemoryService(rules())
    made.upstream.serve(FIRST, UPSTREAM)
    return made


def changed(message: Message, **fields: object) -> str:
    return json.dumps({**json.loads(message.to_json()), **fields})


LATER = [changed(message, gate="age") for message in QUEUED]
LATER += [changed(CHECK, kind="promotion"), changed(CHECK, reason="approval"), changed(CHECK, gate=1, tags=[])]


@pytest.mark.parametrize("body", LATER)
def test_message_that_is_not_known_yet_comes_again_until_its_last_receive(service: InMemoryService, body: str) -> None:
    for tries in range(1, MAX_RECEIVE_COUNT):
        assert received(service, body, good(service), tries=tries) == ["0"]
    assert service.dead_letters.letters == {}
    assert service.records.stored.keys() == {KEY}
    assert received(service, body, good(service), tries=MAX_RECEIVE_COUNT) == []
    assert service.dead_letters.reasons == ["NewerMessageError"]


def handled(handle: Callable[..., Any], event: object, app: Application) -> None:
    handle(*((event, lambda_context(), app) if handle is copy_blobs.handle else (event, app)))


@pytest.mark.parametrize(("handle", "message"), HANDLERS)
def test_input_of_a_state_that_is_not_known_yet_is_retried(
    service: InMemoryService, handle: Callable[..., Any], message: Message
) -> None:
    events = [{**message.to_event(), "gate": "age"}]
    if "request" in events[0]:
        events.append({**message.to_event(), "request": {**events[0]["request"], "gate": "age"}})
    for event in events:
        with pytest.raises(NewerMessageError, match="gate"):  # which every task of the state machine retries
            handled(handle, event, service.app)


@pytest.mark.parametrize("handle", [handle for handle, _ in HANDLERS])
@pytest.mark.parametrize("event", [{"gate": "age"}, [], None, "{}", {"name": "r"}])
def test_input_that_means_nothing_is_not_retried(
    service: InMemoryService, handle: Callable[..., Any], event: object
) -> None:
    with pytest.raises(InvalidEventError) as caught:
        handled(handle, event, service.app)
    assert not caught.value.retryable


@pytest.mark.parametrize("fields", [{"tags": []}, {"tags": {"1.0": 1}}, {"asked_at": "now"}, {"digest": 5}])
def test_message_with_a_wrong_value_is_put_aside_at_once(service: InMemoryService, fields: dict[str, object]) -> None:
    assert received(service, changed(CHECK, **fields), good(service)) == []
    assert service.dead_letters.reasons == ["InvalidEventError"]
    assert service.records.stored.keys() == {KEY}


@pytest.mark.parametrize("end", ["", "}", ', "more": ', f', "more": {"[" * 100_000}'])
def test_text_that_breaks_off_behind_an_unknown_field_means_nothing(end: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        read_queued(changed(CHECK, gate="age").removesuffix("}") + end)
    assert isinstance(caught.value, NewerMessageError) is (end == "}")


CRASHES = [MemoryError(), RecursionError(), KeyError("defect"), AssertionError("defect"), OSError("defect")]


class Crashing:
    """Makes whatever meets a message with a word crash: when it is decoded, prepared, handled or reported."""

    def __init__(self, word: str, error: Exception) -> None:
        self._word, self._error = word, error

    def __call__(self, value: object) -> None:
        if self._word in str(value):
            raise self._error


class CrashingService(InMemoryService):
    """A service in which one step crashes at what names `boom`."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__(rules())
        self.upstream.serve(FIRST, UPSTREAM)
        handler, crash = self.app._handle_messages, Crashing("boom", error)
        steps: dict[str, Any] = vars(handler)
        inner = steps[step]

        def crashing(*given: Any, **named: Any) -> Any:
            crash(given)
            return inner(*given, **named)

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                method = getattr(inner, name)

                def call(*given: Any, **named: Any) -> Any:
                    crash(given)
                    return method(*given, **named)

                return call

            __call__ = staticmethod(crashing)

        steps[step] = Wrapped()


BOOM = {
    "_list_tags": ListRequest("boom", NOW).to_json(),
    "_check_mirrors": changed(CHECK, repository="boom"),
    "_refresh_queue": StartWaitingRequest("boom").to_json(),
    "_look_for_referrers": ReferrerNamed("ghcr.io/boom/app", digest("image"), NOW).to_json(),
}


@pytest.mark.parametrize("error", CRASHES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("step", BOOM)
@pytest.mark.parametrize("position", [0, 1])
def test_crash_fails_its_message_alone(step: str, error: Exception, position: int) -> None:
    service = CrashingService(step, error)
    bodies = [good(service), good(service)]
    bodies.insert(position, BOOM[step])
    assert received(service, *bodies) == [str(position)]
    assert service.records.stored.keys() == {KEY}
    assert received(service, *bodies, tries=MAX_RECEIVE_COUNT) == []
    assert service.dead_letters.reasons == [type(error).__name__]


@pytest.mark.parametrize("error", CRASHES, ids=lambda error: type(error).__name__)
def test_crash_while_a_batch_is_prepared_fails_its_message_alone(error: Exception) -> None:
    service = CrashingService("_use_rules_of", error)
    crash = Crashing("2031", error)
    vars(service.app._handle_messages)["_use_rules_of"] = crash
    late = [message.to_json() for message in (msgspec.structs.replace(CHECK, asked_at=NOW.replace(year=2031)), CHECK)]
    assert received(service, good(service), *late, ListRequest("team", NOW).to_json()) == ["1"]
    assert service.records.stored.keys() == {KEY}


@pytest.mark.parametrize("error", CRASHES, ids=lambda error: type(error).__name__)
def test_dead_letter_that_crashes_fails_its_message_alone(service: InMemoryService, error: Exception) -> None:
    service.script.fail("send_dead_letter", error)
    assert received(service, "{", good(service), "[]") == ["0"]
    assert service.dead_letters.reasons == ["InvalidEventError"]
    assert service.records.stored.keys() == {KEY}


@pytest.mark.parametrize("body", ["", "{", "\x00", "\ud800", "9" * 5000, "[" * sys.getrecursionlimit() * 100])
def test_message_that_is_not_json_is_put_aside_and_the_others_are_handled(service: InMemoryService, body: str) -> None:
    assert received(service, good(service), body, good(service)) == []
    assert service.dead_letters.reasons == ["InvalidEventError"]
    assert service.records.stored.keys() == {KEY}


def deep(event: str) -> str:
    return event.removesuffix("}") + f', "more": {"[" * 100_000}{"]" * 100_000}}}'


def test_pull_that_is_nested_too_deeply_is_ignored_and_the_others_are_noticed(pulls: InMemoryService) -> None:
    event = sample("first_pull")
    (record,) = event["Records"]
    event["Records"].insert(0, {**record, "messageId": "deep", "body": deep(record["body"])})
    assert again(event, pulls) == []
    assert sent(pulls) == ["mirror/hub/grafana/grafana:11.3.0"]


@pytest.mark.parametrize("error", CRASHES, ids=lambda error: type(error).__name__)
def test_crash_while_pulls_are_prepared_fails_its_message_alone(pulls: InMemoryService, error: Exception) -> None:
    (record,) = sample("first_pull")["Records"]
    other = {**record, "messageId": "other", "body": record["body"].replace("11.3.0", "11.4.0")}
    pulls.script.fail("load_demands", error, times=2)  # of both together, and of the first alone
    assert notice_pulls.notice({each["messageId"]: each["body"] for each in (record, other)}, pulls.app).keys() == {
        record["messageId"]
    }
    assert sent(pulls) == ["mirror/hub/grafana/grafana:11.4.0"]


def test_error_that_cannot_be_written_fails_its_message_alone(service: InMemoryService) -> None:
    class WordlessError(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    service.script.fail("load", WordlessError())
    assert received(service, good(service), good(service), tries=MAX_RECEIVE_COUNT) == ["0"]
    assert service.dead_letters.letters == {}
    assert service.records.stored.keys() == {KEY}
