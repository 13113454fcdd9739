"""Makes moto's Step Functions interpreter run as the service does: one store, names, times and waits.

Knows no state machine. Ours keep to JSONPath, inline Map, Choice, Retry, Catch and `lambda:invoke`: the interpreter
is wrong about JSONata, Assign, ItemBatcher, ResultWriter and tolerances.
"""

import functools
import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timezone, tzinfo
from typing import Any, Final

from local.aws import ACCOUNT_ID, REGION
from local.aws.moto_guard import replace, stock, take

_MODELS: Final = "moto.stepfunctions.models"
_PARSER: Final = "moto.stepfunctions.parser.models"
_ASL: Final = "moto.stepfunctions.parser.asl"
_STATE: Final = f"{_ASL}.component.state"
_SERVICES: Final = f"{_STATE}.exec.state_task.service"
_ASL_PARSER: Final = f"{_ASL}.parse.asl_parser"
_JSON_PATH: Final = f"{_ASL}.utils.json_path"
_ENVIRONMENT: Final = f"{_ASL}.eval.environment"
_TASK_SERVICE: Final = f"{_SERVICES}.state_task_service"
_CLIENT_USERS: Final = (
    f"{_STATE}.exec.state_task.lambda_eval_utils",
    *(f"{_TASK_SERVICE}_{name}" for name in ("aws_sdk", "dynamodb", "events", "sfn", "sns", "sqs")),
)

_MOST_PARSED: Final = 256  # paths, and definitions
_LONGEST_WAIT_SECONDS: Final = 0.2  # after so long a wait looks whether its execution still runs


class StateMachines:
    """The interpreter, installed."""

    def __init__(
        self, client: Callable[[str, str], Any], now: Callable[[], datetime], wait: Callable[[float], bool]
    ) -> None:
        self._client = client
        self._now = now
        self._wait = wait
        self._starting = threading.Lock()

    def install(self) -> None:
        """Take hold of the interpreter."""
        take("moto.core.config", "default_user_config")["stepfunctions"]["execute_state_machine"] = True
        # It logs each task that fails as an error of its own, in pages; the history of the execution has it, too.
        logging.getLogger("moto.stepfunctions.parser").setLevel(logging.CRITICAL)
        self._share_one_backend()
        self._start_executions_as_aws()
        self._call_ourselves()
        self._keep_casing()
        self._parse_once()
        self._live_by_the_clock()
        self._let_stops_stand()

    def running(self) -> list[str]:
        """Name the executions that have not ended."""
        return [f"execution {execution.name}" for execution in self._executions() if _is_running(execution)]

    def close(self) -> None:
        """Stop what runs; its threads end at their next state."""
        for execution in self._executions():
            if _is_running(execution) and execution.exec_worker.env is not None:
                execution.stop(self._now(), None, "the local AWS was stopped")

    def _executions(self) -> list[Any]:
        backend = take(_MODELS, "stepfunctions_backends")[ACCOUNT_ID][REGION]
        return [execution for machine in list(backend.state_machines) for execution in list(machine.executions)]

    def _share_one_backend(self) -> None:
        """Give CloudFormation and the API the same state machines; moto keeps two stores."""
        backend = take(_PARSER, "StepFunctionsParserBackend")
        replace(_PARSER, "StepFunctionsParserBackend.__module__", _MODELS)  # moto derives the service's URLs from it
        replace(_MODELS, "stepfunctions_backends.backend", backend)
        replace(_PARSER, "stepfunctions_parser_backends", take(_MODELS, "stepfunctions_backends"))

    def _start_executions_as_aws(self) -> None:
        """Name what has no name, check names, and decide about repeated names one at a time.

        API reference, StartExecution: idempotent while the first one runs and the input is the same.
        """
        machines = self
        start = stock(_PARSER, "StepFunctionsParserBackend.start_execution")

        def start_execution(
            backend: Any,
            state_machine_arn: str,
            name: str | None = None,
            execution_input: Any = None,
            trace: Any = None,
        ) -> Any:
            if name:
                backend._validate_name(name)
            with machines._starting:
                return start(backend, state_machine_arn, name or str(uuid.uuid4()), execution_input, trace)

        take(_MODELS, "StepFunctionBackend._validate_name")
        replace(_PARSER, "StepFunctionsParserBackend.start_execution", start_execution)

    def _call_ourselves(self) -> None:
        """Use one client per service and role; the interpreter makes one per task, on threads, where boto3 must not."""

        @functools.cache
        def client_for(service: str, role_arn: str) -> Any:
            return self._client(service, role_arn)

        making = threading.Lock()

        def boto_client_for(region: str, service: str, state_credentials: Any) -> Any:  # noqa: ARG001
            with making:
                return client_for(service, state_credentials.role_arn)

        for module in _CLIENT_USERS:
            replace(module, "boto_client_for", boto_client_for)

    def _keep_casing(self) -> None:
        """Restore what moto cut out of LocalStack's interpreter: parameters and results spelt as the service does."""

        def normalise_parameters(
            task: Any, parameters: Any, boto_service_name: Any = None, service_action_name: Any = None
        ) -> None:
            operation = _operation(task, boto_service_name, service_action_name)
            if operation is not None and operation.input_shape is not None:
                task._to_boto_request(parameters, operation.input_shape)

        def normalise_response(
            task: Any, response: Any, boto_service_name: Any = None, service_action_name: Any = None
        ) -> None:
            operation = _operation(task, boto_service_name, service_action_name)
            if operation is not None and operation.output_shape is not None:
                task._from_boto_response(response, operation.output_shape)

        for name in ("_to_boto_request", "_from_boto_response", "_get_boto_service_name"):
            take(_TASK_SERVICE, f"StateTaskService.{name}")
        replace(_TASK_SERVICE, "StateTaskService._normalise_parameters", normalise_parameters)
        replace(_TASK_SERVICE, "StateTaskService._normalise_response", normalise_response)

    def _parse_once(self) -> None:
        """Keep what definitions and paths are parsed to; the interpreter parses them anew for each execution."""
        path = stock(_JSON_PATH, "parse")
        replace(_JSON_PATH, "parse", functools.lru_cache(_MOST_PARSED)(path))
        trees: OrderedDict[str, Any] = OrderedDict()

        class KeepingParser(stock(_ASL_PARSER, "ASLParser")):  # type: ignore[misc]
            def state_machine(self) -> Any:
                definition = str(self.getTokenStream().tokenSource.inputStream)
                tree = trees.get(definition)
                if tree is None:
                    tree = super().state_machine()
                    if self.getNumberOfSyntaxErrors() == 0:  # its listeners hear of none when it is parsed once only
                        trees[definition] = tree
                        while len(trees) > _MOST_PARSED:
                            trees.popitem(last=False)
                return tree

        replace(_ASL_PARSER, "ASLParser", KeepingParser)

    def _live_by_the_clock(self) -> None:
        """Take times from the local clock, and waits from a function that may shorten them."""
        clock = _DatetimeModule(self._now)
        for module in (_PARSER, "moto.stepfunctions.parser.backend.execution", f"{_STATE}.state"):
            replace(module, "datetime", clock)
        details = stock("moto.stepfunctions.parser.backend.execution", "Execution.get_start_execution_details")

        def start_details(execution: Any) -> Any:
            found = details(execution)
            found.start_time = execution.start_date.isoformat()  # `$$.Execution.StartTime` is text
            return found

        replace("moto.stepfunctions.parser.backend.execution", "Execution.get_start_execution_details", start_details)
        replace(f"{_ASL}.component.common.retry.retrier_decl", "time", _TimeModule(self._wait))
        wait = f"{_STATE}.wait.wait_function.wait_function"
        replace(wait, "WaitFunction._wait_interval", lambda _, env, wait_seconds: self._wait_in(env, wait_seconds))

    def _wait_in(self, env: Any, seconds: float) -> None:
        """Wait, but no longer than the execution runs: a stopped one ends at once, as in AWS."""
        while seconds > 0 and env.is_running() and not self._wait(min(seconds, _LONGEST_WAIT_SECONDS)):
            seconds -= _LONGEST_WAIT_SECONDS

    def _let_stops_stand(self) -> None:
        """A stopped execution ends ABORTED; the interpreter trips over its own Map on the way out and says FAILED."""
        set_error = stock(_ENVIRONMENT, "Environment.set_error")
        stopped = take("moto.stepfunctions.parser.asl.eval.program_state", "ProgramStopped")

        def set_error_unless_stopped(env: Any, error: Any) -> None:
            if not isinstance(env.program_state(), stopped):
                set_error(env, error)

        replace(_ENVIRONMENT, "Environment.set_error", set_error_unless_stopped)


class ServiceTime(datetime):
    """A time that is written as Step Functions writes it: `2026-01-31T12:00:00.123Z`."""

    def isoformat(self, sep: str = "T", timespec: str = "milliseconds") -> str:
        """Write it with milliseconds and Z."""
        return super().isoformat(sep, timespec).replace("+00:00", "Z")


class _DatetimeModule:
    """Replaces the module `datetime` in the interpreter."""

    timezone = timezone

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.datetime = _DatetimeClass(now)


class _DatetimeClass:
    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def now(self, tz: tzinfo | None = None) -> ServiceTime:
        moment = self._now().astimezone(tz or UTC)
        return ServiceTime.fromtimestamp(moment.timestamp(), tz or UTC)


class _TimeModule:
    """Replaces the module `time` in the interpreter, for waits between retries."""

    def __init__(self, wait: Callable[[float], bool]) -> None:
        self._wait = wait

    def sleep(self, seconds: float) -> None:
        self._wait(seconds)


def _is_running(execution: Any) -> bool:
    return execution.exec_status is not None and execution.status == "RUNNING"


@functools.cache
def _service_model(service: str) -> Any:
    from botocore.session import get_session

    return get_session().get_service_model(service)


def _operation(task: Any, service: str | None, action: str | None) -> Any:
    """Find the botocore model of what a task calls, however the ASL spells it."""
    model = _service_model(task._get_boto_service_name(service))
    wanted = (action or task.resource.api_action).replace("_", "").lower()
    for name in model.operation_names:
        if name.lower() == wanted:
            return model.operation_model(name)
    return None
