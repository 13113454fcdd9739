"""Writes the events that Step Functions sends to EventBridge when an execution begins or ends. Knows no listener.

Shape: AWS Step Functions Developer Guide, "Automating Step Functions event delivery with EventBridge".
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from local.aws.activity import Activity
from local.aws.moto_guard import replace, stock
from local.service_event import service_event

_EXECUTION: Final = "moto.stepfunctions.parser.backend.execution"


class ExecutionEvents:
    """Publishes what becomes of executions, as long as the local AWS runs."""

    def __init__(
        self, publish: Callable[[Mapping[str, Any]], None], activity: Activity, now: Callable[[], datetime]
    ) -> None:
        self._publish, self._activity, self._now = publish, activity, now
        self._closed = False

    def install(self) -> None:
        """Register for every start and end; an execution that ends is not over before its event is sent."""
        start = stock(_EXECUTION, "Execution.start")
        reflect = stock(_EXECUTION, "BaseExecutionWorkerCommunication._reflect_execution_status")

        def start_and_tell(execution: Any) -> None:
            start(execution)
            self._tell(execution, "RUNNING")  # it may have ended by now

        def reflect_and_tell(worker: Any) -> None:
            with self._activity.during(f"end of {worker.execution.name}"):
                reflect(worker)
                self._tell(worker.execution, worker.execution.status)

        replace(_EXECUTION, "Execution.start", start_and_tell)
        replace(_EXECUTION, "BaseExecutionWorkerCommunication._reflect_execution_status", reflect_and_tell)

    def close(self) -> None:
        """Send no more events: executions end late when the local AWS is stopped."""
        self._closed = True

    def _tell(self, execution: Any, status: str) -> None:
        if not self._closed:
            self._publish(_status_event(execution, status, self._now()))


def _status_event(execution: Any, status: str, at: datetime) -> dict[str, Any]:
    described = execution.to_describe_output() if status != "RUNNING" else {}
    detail = {
        "executionArn": execution.exec_arn,
        "stateMachineArn": execution.state_machine_arn,
        "name": execution.name,
        "status": status,
        "startDate": _milliseconds(execution.start_date),
        "stopDate": _milliseconds(described.get("stopDate")),
        "input": execution.execution_input,
        "output": described.get("output"),
        "inputDetails": {"included": True},
        "outputDetails": {"included": True} if "output" in described else None,
        "error": described.get("error"),
        "cause": described.get("cause"),
    }
    return service_event(
        "aws.states", "Step Functions Execution Status Change", detail, at, resources=[execution.exec_arn]
    )


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
