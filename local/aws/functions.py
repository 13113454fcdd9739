"""Puts the sandboxes behind moto's Lambda: who invokes a function by whatever way ends here.

Decides what invocation types mean: RequestResponse waits, Event answers at once and is tried three times.
"""

import base64
import json
import logging
import threading
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from local.aws import ACCOUNT_ID, REGION
from local.aws.activity import Activity
from local.aws.concurrency import ThrottledError, retry_delays
from local.aws.lambda_sandbox import FunctionSpec, InvocationOutcome
from local.aws.log_format import log_environment
from local.aws.moto_guard import replace, take
from local.aws.pool import Archive, FunctionPackage, FunctionPool, StoppingError

_MODELS: Final = "moto.awslambda.models"
# Developer guide, "Error handling for asynchronous invocations": two more attempts, after one minute and two more.
ASYNC_RETRY_SECONDS: Final = (60.0, 120.0)
# The same page: events that are throttled are tried again for six hours, five minutes apart at most.
MAX_EVENT_AGE_SECONDS: Final = 6 * 3600.0
MAX_THROTTLED_DELAY_SECONDS: Final = 300.0
MAX_ASYNC_WORKERS: Final = 16
MAX_SYNC_PAYLOAD_BYTES: Final = 6 * 1024 * 1024
_LOG_TAIL_BYTES: Final = 4096

log = logging.getLogger(__name__)


class DeadLetters(Protocol):
    """Takes what could not be delivered."""

    def __call__(self, target_arn: str, body: str, attributes: dict[str, str]) -> None:
        """Put one message into the queue or topic."""


class Functions:
    """What moto's functions are replaced by."""

    def __init__(
        self, pool: FunctionPool, activity: Activity, dead_letters: DeadLetters, wait: Callable[[float], bool]
    ) -> None:
        self._pool = pool
        self._activity = activity
        self._dead_letters = dead_letters
        self._wait = wait  # answers True when the local AWS is being stopped
        self._executor = ThreadPoolExecutor(MAX_ASYNC_WORKERS, thread_name_prefix="lambda-async")
        self._saving_logs = threading.Lock()

    def install(self) -> None:
        """Take the place of moto's Docker containers."""
        functions = self

        def invoke(function: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
            return functions.answer(function, _as_bytes(body), request_headers, response_headers)

        def invoke_lambda(function: Any, event: Any = None) -> tuple[str, bool, str]:
            outcome = functions.run(function, event.encode() if isinstance(event, str) else json.dumps(event).encode())
            return outcome.payload.decode(), outcome.error_type is not None, outcome.logs

        replace(_MODELS, "LambdaFunction.invoke", invoke)
        replace(_MODELS, "LambdaFunction._invoke_lambda", invoke_lambda)

    def answer(
        self, function: Any, payload: bytes, request_headers: Any, response_headers: MutableMapping[str, str]
    ) -> bytes:
        """Serve the Invoke operation (Lambda API reference, Invoke)."""
        if len(payload) > MAX_SYNC_PAYLOAD_BYTES:
            raise take("moto.core.exceptions", "RESTError")(
                "RequestTooLargeException", f"Request must be smaller than {MAX_SYNC_PAYLOAD_BYTES} bytes"
            )
        kind = request_headers.get("x-amz-invocation-type", "RequestResponse")
        if kind == "DryRun":
            return b""
        response_headers["x-amz-executed-version"] = "$LATEST"
        if kind == "Event":
            self.submit(function, payload)
            return b""
        try:
            outcome = self.run(function, payload)
        except StoppingError as error:
            raise take("moto.core.exceptions", "RESTError")("ServiceException", str(error)) from error
        except ThrottledError as error:
            refusal = take("moto.awslambda.exceptions", "LambdaClientError")("TooManyRequestsException", str(error))
            refusal.code = 429
            raise refusal from error
        if outcome.error_type is not None:
            response_headers["x-amz-function-error"] = "Unhandled"
        tail = outcome.logs.encode()[-_LOG_TAIL_BYTES:]
        response_headers["x-amz-log-result"] = base64.b64encode(tail).decode()
        return outcome.payload

    def run(self, function: Any, payload: bytes) -> InvocationOutcome:
        """Run a function of moto's to its end."""
        outcome = self._pool.invoke(_package(function), payload)
        if outcome.logs:
            with self._saving_logs:
                function.logs_backend.ensure_log_group(function.logs_group_name)
                function.save_logs(outcome.logs)
        return outcome

    def run_by_arn(self, function_arn: str, payload: bytes) -> InvocationOutcome:
        """Run the function that the ARN, or the name, names."""
        return self.run(take(_MODELS, "lambda_backends")[ACCOUNT_ID][REGION].get_function(function_arn), payload)

    def submit(self, function: Any, payload: bytes) -> None:
        """Accept an event to be worked on later."""
        self._activity.begin(f"event for {function.function_name}")
        self._executor.submit(self._attempt, function, payload)

    def close(self) -> None:
        """Accept no more; what waits for its turn is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _attempt(self, function: Any, payload: bytes) -> None:
        try:
            for pause_seconds in (*ASYNC_RETRY_SECONDS, None):
                outcome = self._run_when_there_is_room(function, payload)
                if outcome.error_type is None or pause_seconds is None or self._wait(pause_seconds):
                    break
            if outcome.error_type is not None:
                self._give_up(function, payload, outcome)
        except StoppingError:
            log.debug("event for %s dropped", function.function_name)
        except ThrottledError:
            log.warning("event for %s was throttled until it was too old", function.function_name)
        except Exception:
            log.exception("event for %s failed", function.function_name)
        finally:
            self._activity.end(f"event for {function.function_name}")

    def _run_when_there_is_room(self, function: Any, payload: bytes) -> InvocationOutcome:
        for delay in retry_delays(MAX_THROTTLED_DELAY_SECONDS, MAX_EVENT_AGE_SECONDS):
            try:
                return self.run(function, payload)
            except ThrottledError:
                if self._wait(delay):
                    raise StoppingError("the local AWS is being stopped") from None
        return self.run(function, payload)

    def _give_up(self, function: Any, payload: bytes, outcome: InvocationOutcome) -> None:
        target_arn = getattr(function, "local_dead_letter_arn", None)
        log.warning("%s failed three times with %s", function.function_name, outcome.error_type)
        if target_arn is not None:
            attributes = {"RequestID": outcome.request_id, "ErrorCode": "200", "ErrorMessage": str(outcome.error_type)}
            self._dead_letters(target_arn, payload.decode(), attributes)


def _as_bytes(body: Any) -> bytes:
    if not body:
        return b"{}"
    return body.encode() if isinstance(body, str) else bytes(body)


def _package(function: Any) -> FunctionPackage:
    layers = take(_MODELS, "lambda_backends")[ACCOUNT_ID][REGION]
    versions = [layers.layers_versions_by_arn(layer["Arn"]) for layer in function.layers]
    environment = {name: str(value) for name, value in function.environment_vars.items()}
    spec = FunctionSpec(
        name=function.function_name,
        arn=function.function_arn,
        role=function.role,
        handler=function.handler,
        runtime=function.run_time,
        memory_megabytes=int(function.memory_size),
        timeout_seconds=float(function.timeout),
        log_group=function.logs_group_name,
        environment={**environment, **log_environment(getattr(function, "local_logging", {}))},
    )
    archives = [Archive(version.code_digest, version.code_bytes) for version in versions]
    return FunctionPackage(spec, Archive(function.code_digest, function.code_bytes), archives)
