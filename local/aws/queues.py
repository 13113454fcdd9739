"""Lambda's pollers: take batches from a queue to a function, delete what succeeded, leave the rest to come back.

moto invokes a function inside SendMessage, one message an invocation, and knows neither partial answers nor waiting.
Developer guide, "Using Lambda with Amazon SQS" and "Handling errors for an SQS event source in Lambda".

A message that failed comes back when the queue's visibility timeout is over by the local clock, as in AWS; with
`redelivery_seconds` it comes back that soon instead. A batch that is throttled is tried again until the visibility
timeout is over, and comes back then.
"""

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final

from local.aws import ACCOUNT_ID, REGION
from local.aws.activity import Activity
from local.aws.concurrency import ThrottledError, retry_delays
from local.aws.lambda_sandbox import InvocationOutcome
from local.aws.moto_guard import replace, stock, take
from local.aws.pool import StoppingError

_QUEUES: Final = "moto.sqs.models"
_FUNCTIONS: Final = "moto.awslambda.models"
# Lambda begins with five concurrent batches and goes up; a laptop does not.
DEFAULT_CONCURRENCY: Final = 5
MAX_CONCURRENCY: Final = 16
POLL_SECONDS: Final = 0.1
MAX_THROTTLED_DELAY_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


class QueuePollers:
    """One poller for each event source mapping of a queue."""

    def __init__(
        self,
        invoke: Callable[[str, bytes], InvocationOutcome],
        activity: Activity,
        now: Callable[[], datetime],
        redelivery_seconds: int | None,
        wait: Callable[[float], bool],
    ) -> None:
        self._invoke = invoke
        self._activity = activity
        self._now = now
        self._redelivery_seconds = redelivery_seconds
        self._wait = wait  # answers True when the local AWS is being stopped
        self._stopping = threading.Event()
        self._mapped: dict[str, Any] = {}  # queue name → mapping
        self._threads: list[threading.Thread] = []

    def install(self) -> None:
        """Take over from moto's SendMessage, and let queues live by the local clock."""
        pollers = self
        stock_create = stock(_FUNCTIONS, "LambdaBackend.create_event_source_mapping")

        def create_event_source_mapping(backend: Any, spec: dict[str, Any]) -> Any:
            if spec.get("FilterCriteria"):
                raise NotImplementedError("the local AWS does not filter what a queue sends to a function")
            mapping = stock_create(backend, spec)
            pollers.start(mapping)
            return mapping

        def seconds(moment: datetime | None = None) -> float:
            return (moment or pollers._now()).timestamp()

        stock_receive = stock(_QUEUES, "SQSBackend.receive_message")

        def receive_message(
            backend: Any, queue_name: str, count: int, _wait_seconds: int, *others: Any, **named: Any
        ) -> Any:
            # A long poll would wait by a clock that may be stopped, and here all messages are visible at once.
            return stock_receive(backend, queue_name, count, 0, *others, **named)

        replace(_QUEUES, "SQSBackend.receive_message", receive_message)
        replace(_FUNCTIONS, "LambdaBackend.create_event_source_mapping", create_event_source_mapping)
        replace(_QUEUES, "unix_time", seconds)
        replace(_QUEUES, "unix_time_millis", lambda moment=None: seconds(moment) * 1000.0)

    def start(self, mapping: Any) -> None:
        """Poll for a mapping that was just made."""
        name = mapping.event_source_arn.rsplit(":", 1)[1]
        queue = _backend().get_queue(name)
        queue.lambda_event_source_mappings.clear()  # else SendMessage invokes the function itself
        self._mapped[name] = mapping
        thread = threading.Thread(target=self._poll, args=(mapping, queue), daemon=True, name=f"poll-{name}")
        self._threads.append(thread)
        thread.start()

    def waiting(self) -> tuple[list[str], list[str]]:
        """Name the queues with messages that can be taken now, and those whose messages are hidden.

        A message that was sent with a delay is neither until it is due.
        """
        ready, hidden = [], []
        for name, mapping in list(self._mapped.items()):
            if not _is_active(mapping):
                continue
            messages = [message for message in list(_backend().get_queue(name)._messages) if not message.delayed]
            count = sum(message.visible for message in messages)
            if count:
                ready.append(f"{count} messages in {name}")
            if len(messages) > count:
                hidden.append(f"{len(messages) - count} messages of {name} in flight or waiting to be visible again")
        return ready, hidden

    def close(self) -> None:
        """Poll no more."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _poll(self, mapping: Any, queue: Any) -> None:
        limit = int((mapping.scaling_config or {}).get("MaximumConcurrency", DEFAULT_CONCURRENCY))
        slots = threading.BoundedSemaphore(min(limit, MAX_CONCURRENCY))
        with ThreadPoolExecutor(MAX_CONCURRENCY, thread_name_prefix=f"batch-{queue.name}") as executor:
            while not self._stopping.is_set() and _exists(mapping):
                if not mapping.enabled or not slots.acquire(timeout=POLL_SECONDS):
                    self._stopping.wait(POLL_SECONDS)
                    continue
                if not self._take_batch(mapping, queue, slots, executor):
                    slots.release()
                    queue.wait_for_messages(POLL_SECONDS)

    def _take_batch(
        self, mapping: Any, queue: Any, slots: threading.BoundedSemaphore, executor: ThreadPoolExecutor
    ) -> bool:
        work = f"batch of {queue.name}"
        self._activity.begin(work)  # before the messages leave the queue, or they are nowhere for a moment
        messages = _backend().receive_message(queue.name, mapping.batch_size, 0, queue.visibility_timeout)
        if not messages:
            self._activity.end(work)
            return False

        def run() -> None:
            try:
                self._handle(mapping, queue, messages)
            except StoppingError:
                log.debug("a batch of %s dropped", queue.name)
            except Exception:
                log.exception("a batch of %s was lost sight of; its messages will come back", queue.name)
            finally:
                slots.release()
                self._activity.end(work)

        executor.submit(run)
        return True

    def _handle(self, mapping: Any, queue: Any, messages: Sequence[Any]) -> None:
        event = {"Records": [_record(message, queue.queue_arn) for message in messages]}
        visible_for = float(queue.visibility_timeout)
        outcome = self._invoke_when_there_is_room(mapping.function_arn, json.dumps(event).encode(), visible_for)
        identifiers = {message.id for message in messages}
        partial = "ReportBatchItemFailures" in (mapping.function_response_types or [])
        failed = identifiers if outcome is None else failed_messages(outcome, identifiers, partial=partial)
        for message in messages:
            if message.id not in failed:
                _backend().delete_message(queue.name, message.receipt_handle)
            elif self._redelivery_seconds is not None:
                _backend().change_message_visibility(queue.name, message.receipt_handle, self._redelivery_seconds)

    def _invoke_when_there_is_room(self, function_arn: str, payload: bytes, seconds: float) -> InvocationOutcome | None:
        """Invoke the function, again and again while it is throttled; None when the time is up."""
        for delay in retry_delays(MAX_THROTTLED_DELAY_SECONDS, seconds):
            try:
                return self._invoke(function_arn, payload)
            except ThrottledError:
                if self._wait(delay):
                    raise StoppingError("the local AWS is being stopped") from None
        return None


def failed_messages(outcome: InvocationOutcome, identifiers: set[str], *, partial: bool) -> set[str]:
    """Return the messages of a batch to retry: those named, or all if the response is invalid."""
    if outcome.error_type is not None:
        return identifiers
    if not partial:
        return set()
    try:
        answer = json.loads(outcome.payload)
    except ValueError:
        return identifiers
    if not answer:  # null and {} mean success
        return set()
    failures = answer.get("batchItemFailures") if isinstance(answer, Mapping) else None
    if "batchItemFailures" in answer and not failures:
        return set()
    if not isinstance(failures, list) or not all(isinstance(failure, Mapping) for failure in failures):
        return identifiers
    named = {failure.get("itemIdentifier") for failure in failures}
    if not named <= identifiers:  # an unknown or empty name fails the whole batch
        return identifiers
    return named


def _record(message: Any, queue_arn: str) -> dict[str, Any]:
    attributes = {
        "ApproximateReceiveCount": str(message.approximate_receive_count),
        "SentTimestamp": str(message.sent_timestamp),
        "SenderId": message.sender_id,
        "ApproximateFirstReceiveTimestamp": str(message.approximate_first_receive_timestamp),
    }
    if message.group_id is not None:
        attributes["MessageGroupId"] = message.group_id
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": attributes,
        "messageAttributes": _message_attributes(message.message_attributes),
        "md5OfBody": message.body_md5,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def _message_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Lambda spells these fields with a small first letter."""
    return {
        name: {"stringValue": value.get("StringValue"), "dataType": value.get("DataType")}
        for name, value in attributes.items()
    }


def _backend() -> Any:
    return take(_QUEUES, "sqs_backends")[ACCOUNT_ID][REGION]


def _exists(mapping: Any) -> bool:
    return take(_FUNCTIONS, "lambda_backends")[ACCOUNT_ID][REGION].get_event_source_mapping(mapping.uuid) is mapping


def _is_active(mapping: Any) -> bool:
    return bool(mapping.enabled) and _exists(mapping)
