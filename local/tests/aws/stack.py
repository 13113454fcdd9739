"""The test stack: one of everything, and short ways to drive it. Asserts nothing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from local.aws.pool import Invocation
from local.aws.server import LocalAws
from local.deploy import Stack

HERE = Path(__file__).parent
TEMPLATES = HERE / "templates"


class InvocationResult(NamedTuple):
    """The result of an invocation by API."""

    payload: Any
    error: str | None  # the FunctionError header


class WholeStack(NamedTuple):
    """The template `whole.yaml`, deployed."""

    aws: LocalAws
    stack: Stack

    def ask(self, function: str = "Worker", **event: Any) -> InvocationResult:
        """Invoke a function and wait."""
        response = self.aws.client("lambda").invoke(
            FunctionName=self.stack.resources[function], Payload=json.dumps(event).encode()
        )
        return InvocationResult(json.loads(response["Payload"].read()), response.get("FunctionError"))

    def tell(self, function: str = "Worker", **event: Any) -> None:
        """Invoke a function and do not wait."""
        self.aws.client("lambda").invoke(
            FunctionName=self.stack.resources[function], InvocationType="Event", Payload=json.dumps(event).encode()
        )

    def send(self, queue: str, *bodies: str) -> None:
        """Put messages into a queue at once."""
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
        self.aws.client("sqs").send_message_batch(QueueUrl=self.stack.resources[queue], Entries=entries)

    def taken(self, queue: str) -> list[str]:
        """Take all messages that a queue has now."""
        sqs, url = self.aws.client("sqs"), self.stack.resources[queue]
        bodies: list[str] = []
        while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                bodies.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def execution(self, units: list[Any], last: dict[str, Any], name: str | None = None) -> str:
        """Start the state machine on some units, with the input of its last task; return the execution's ARN."""
        named = {} if name is None else {"name": name}
        started = self.aws.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.resources["Machine"],
            input=json.dumps({"units": units, "finally": last}),
            **named,
        )
        return str(started["executionArn"])

    def result(self, execution_arn: str) -> dict[str, Any]:
        """Describe an execution."""
        described: dict[str, Any] = self.aws.client("stepfunctions").describe_execution(executionArn=execution_arn)
        return described

    def runs(self, function: str) -> list[Invocation]:
        """Return the runs of a function so far."""
        name = self.stack.resources[function]
        return [invocation for invocation in self.aws.invocations if invocation.function == name]
