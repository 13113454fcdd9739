"""EventBridge's part: takes an event to the targets of the rules that it matches, in the background.

Decides what goes where; what a pattern means is in `patterns.py`, what a target receives in `target_input.py`.
EventBridge retries a failed delivery for a day; here it is tried once, logged, and put into the target's
dead-letter queue if it has one.
"""

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from local.aws import ACCOUNT_ID, REGION
from local.aws.activity import Activity
from local.aws.moto_guard import replace, stock, take
from local.aws.patterns import matches
from local.aws.target_input import RuleName, input_for
from local.service_event import iso, service_event

_MODELS: Final = "moto.events.models"
_RESPONSES: Final = "moto.events.responses"
MAX_WORKERS: Final = 8
_ALL_CALLS: Final = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"

log = logging.getLogger(__name__)


class EventBus:
    """Delivers to moto's rules."""

    def __init__(self, client: Callable[[str], Any], activity: Activity, now: Callable[[], datetime]) -> None:
        self._client = client
        self._activity = activity
        self._now = now
        self._executor = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="events")
        self.before_put: Callable[[], None] = lambda: None
        """Is called before each PutEvents; what it raises is the answer, and no event goes out."""
        self.after_put: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _: None
        """Is given the entries of each PutEvents that was answered."""

    def install(self) -> None:
        """Take over from moto, which knows few targets, no transformer, and sends every event to scheduled rules."""
        bus = self

        def send_to_targets(rule: Any, original_event: Any, transform_input: bool = True) -> None:  # noqa: ARG001
            bus.offer(rule, _completed(original_event))

        put_events = stock(_MODELS, "EventsBackend.put_events")

        def put_unless_refused(backend: Any, events: Any) -> Any:
            bus.before_put()
            answer = put_events(backend, events)
            bus.after_put(events)
            return answer

        replace(_MODELS, "EventsBackend.put_events", put_unless_refused)
        replace(_MODELS, "Rule.send_to_targets", send_to_targets)
        replace(_RESPONSES, "EventsHandler.test_event_pattern", _test_event_pattern)
        replace(_MODELS, "unix_time", lambda moment=None: (moment or self._now()).timestamp())

    def rules(self) -> list[Any]:
        """Return the rules of the default bus."""
        return list(take(_MODELS, "events_backends")[ACCOUNT_ID][REGION].event_buses["default"].rules.values())

    def publish(self, event: Mapping[str, Any]) -> None:
        """Put a complete event on the default bus, as an AWS service does."""
        for rule in self.rules():
            self.offer(rule, event)

    def offer(self, rule: Any, event: Mapping[str, Any]) -> None:
        """Deliver the event to a rule's targets if it is enabled and matches."""
        raw = rule.event_pattern.dump()
        if _is_open(rule.state, event) and raw and matches(json.loads(raw), event):
            self.deliver(rule, event)

    def deliver(self, rule: Any, event: Mapping[str, Any]) -> None:
        """Send the event to all targets of a rule, whatever its pattern."""
        for target in list(rule.targets):
            self._activity.begin(f"event for {target['Arn']}")
            self._executor.submit(self._deliver_to, RuleName(rule.name, rule.arn), dict(target), dict(event))

    def send(self, target_arn: str, body: str, attributes: Mapping[str, str]) -> None:
        """Put a message into a queue or topic, as dead letters go."""
        text = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        if target_arn.split(":")[2] == "sns":
            self._client("sns").publish(TopicArn=target_arn, Message=body, MessageAttributes=text)
        else:
            sqs = self._client("sqs")
            sqs.send_message(QueueUrl=_queue_url(sqs, target_arn), MessageBody=body, MessageAttributes=text)

    def close(self) -> None:
        """Deliver no more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _deliver_to(self, rule: RuleName, target: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        try:
            self._send(target, input_for(target, event, rule, iso(self._now())))
        except Exception as error:  # one broken target must not cost the others their event
            log.exception("rule %s could not deliver to %s", rule.name, target["Arn"])
            self._dead_letter(rule, target, event, error)
        finally:
            self._activity.end(f"event for {target['Arn']}")

    def _dead_letter(
        self, rule: RuleName, target: Mapping[str, Any], event: Mapping[str, Any], error: Exception
    ) -> None:
        queue_arn = (target.get("DeadLetterConfig") or {}).get("Arn")
        if queue_arn is None:
            return
        # User guide, "Using dead-letter queues to process undelivered events": the event, and why in attributes.
        attributes = {"RULE_ARN": rule.arn, "TARGET_ARN": target["Arn"], "ERROR_CODE": type(error).__name__}
        try:
            self.send(queue_arn, json.dumps(event), attributes)
        except Exception:
            log.exception("the dead-letter queue %s took nothing either", queue_arn)

    def _send(self, target: Mapping[str, Any], body: str) -> None:
        arn = target["Arn"]
        service = arn.split(":")[2]
        if service == "lambda":
            self._client("lambda").invoke(FunctionName=arn, InvocationType="Event", Payload=body.encode())
        elif service == "sqs":
            group = (target.get("SqsParameters") or {}).get("MessageGroupId")
            sqs = self._client("sqs")
            more = {"MessageGroupId": group} if group else {}
            sqs.send_message(QueueUrl=_queue_url(sqs, arn), MessageBody=body, **more)
        elif service == "sns":
            self._client("sns").publish(TopicArn=arn, Message=body)
        elif service == "states":
            self._client("stepfunctions").start_execution(stateMachineArn=arn, name=str(uuid.uuid4()), input=body)
        else:
            raise NotImplementedError(f"the local EventBridge has no targets of {service!r}")


def scheduled_event(rule_arn: str, at: datetime) -> dict[str, Any]:
    """Make the event of a schedule (user guide, "Scheduled events")."""
    return service_event("aws.events", "Scheduled Event", {}, at, resources=[rule_arn])


def _test_event_pattern(request: Any) -> tuple[str, Any]:
    """Serve TestEventPattern (EventBridge API reference)."""
    pattern, event = json.loads(request._get_param("EventPattern")), json.loads(request._get_param("Event"))
    return json.dumps({"Result": matches(pattern, event)}), request.response_headers


def _is_open(state: str, event: Mapping[str, Any]) -> bool:
    """Tell whether a rule in this state is offered an event.

    User guide, "Events for AWS services via CloudTrail": of what only reads, an ENABLED rule gets no calls whose names
    begin with Describe, Get or List.
    """
    if state == _ALL_CALLS:
        return True
    is_call = event.get("detail-type") == "AWS API Call via CloudTrail"
    name = str((event.get("detail") or {}).get("eventName")) if is_call else ""
    return state == "ENABLED" and not name.startswith(("Describe", "Get", "List"))


def _completed(original: Mapping[str, Any]) -> dict[str, Any]:
    """Turn moto's idea of an event into EventBridge's."""
    event = {name: value for name, value in original.items() if name != "ingestion-time"}
    if isinstance(event.get("time"), int | float):
        event["time"] = iso(datetime.fromtimestamp(event["time"], UTC))
    return event


def _queue_url(sqs: Any, queue_arn: str) -> str:
    return str(sqs.get_queue_url(QueueName=queue_arn.rsplit(":", 1)[1])["QueueUrl"])
