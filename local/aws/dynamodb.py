"""DynamoDB's writes, one at a time: moto reads, checks and writes an item in steps, and serves many threads."""

import threading
from typing import Any, Final

from local.aws.moto_guard import replace, stock

_RESPONSES: Final = "moto.dynamodb.responses"
_WRITES: Final = ("put_item", "update_item", "delete_item", "transact_write_items")


def install() -> None:
    """Let each write be atomic (Amazon DynamoDB Developer Guide, "Condition expressions" and "Atomic counters")."""
    lock = threading.RLock()
    for name in _WRITES:
        replace(_RESPONSES, f"DynamoHandler.{name}", _one_at_a_time(stock(_RESPONSES, f"DynamoHandler.{name}"), lock))


def _one_at_a_time(write: Any, lock: "threading.RLock") -> Any:
    def locked(handler: Any) -> Any:
        with lock:
            return write(handler)

    return locked
