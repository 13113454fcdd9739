"""The checks queue in SQS."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pullahead.aws.storage_errors import storage_errors
from pullahead.errors import StorageError
from pullahead.messages import Queued

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_BATCH = 10  # SQS API reference, SendMessageBatch: up to 10 messages a call
_BATCH_BYTES = 240 * 1024  # and 256 KiB together
_MAX_DELAY = 900  # SQS API reference, SendMessageBatchRequestEntry, DelaySeconds


class SqsChecks:
    """Satisfies `pullahead.ports.QueuesChecks`."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client, self._queue_url = client, queue_url

    def send(self, requests: Sequence[Queued], delay_seconds: int = 0) -> None:
        """Queue requests, by tens; a longer delay than SQS knows is cut short."""
        delay = min(delay_seconds, _MAX_DELAY)
        batch: list[str] = []
        for body in (request.to_json() for request in requests):
            if batch and (len(batch) == _BATCH or sum(map(len, batch)) + len(body) > _BATCH_BYTES):
                self._send(batch, delay)
                batch = []
            batch.append(body)
        if batch:
            self._send(batch, delay)

    def _send(self, bodies: list[str], delay: int) -> None:
        with storage_errors("send", "checks"):
            answer = self._client.send_message_batch(
                QueueUrl=self._queue_url,
                Entries=[
                    {"Id": str(number), "MessageBody": body, "DelaySeconds": delay}
                    for number, body in enumerate(bodies)
                ],
            )
        if failed := answer.get("Failed"):
            reasons = sorted({entry["Code"] for entry in failed})
            raise StorageError(f"send of checks failed for {len(failed)} of {len(bodies)}: {', '.join(reasons)}")
