"""Executions of the refresh state machine."""

from typing import TYPE_CHECKING

from pullahead.aws.errors import error_code, storage_errors
from pullahead.errors import StorageError
from pullahead.messages import RefreshRequest
from pullahead.refresh.ports import StartResult

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient


class StepFunctionsRefreshes:
    """Implements `pullahead.refresh.ports.RefreshExecutions`."""

    def __init__(self, client: "SFNClient", state_machine_arn: str) -> None:
        self._client, self._arn = client, state_machine_arn

    def start(self, request: RefreshRequest) -> StartResult:
        """Start an execution with the request's name.

        Starting it again with the same input while it runs succeeds; any other start under a name that was used in
        the last 90 days is refused: ExecutionAlreadyExists (Step Functions API reference, StartExecution).
        """
        try:
            with storage_errors("start", f"refresh {request.name}"):
                self._client.start_execution(stateMachineArn=self._arn, name=request.name, input=request.to_json())
        except StorageError as error:
            if error_code(error) == "ExecutionAlreadyExists":
                return self._describe(request.name)
            raise
        return StartResult.STARTED

    def is_running(self, name: str) -> bool:
        """Whether the execution runs; one that was never started does not."""
        return self.state_of(name) is StartResult.RUNNING

    def state_of(self, name: str) -> StartResult | None:
        """Whether the execution runs, has succeeded or has ended otherwise; None if it was never started."""
        try:
            return self._describe(name)
        except StorageError as error:
            if error_code(error) == "ExecutionDoesNotExist":
                return None
            raise

    def _describe(self, name: str) -> StartResult:
        arn = f"{self._arn.replace(':stateMachine:', ':execution:')}:{name}"
        with storage_errors("describe", f"refresh {name}"):
            status = self._client.describe_execution(executionArn=arn)["status"]
        if status == "RUNNING":
            return StartResult.RUNNING
        return StartResult.SUCCEEDED if status == "SUCCEEDED" else StartResult.ENDED
