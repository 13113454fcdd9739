"""The slots of refreshes in DynamoDB: one item with a map of execution names, changed under conditions only.

One item, so that taking a slot is one write and no more than so many can be held, whoever asks at the same moment.
With 500 slots of 120 bytes it stays below 64 KB; an item may have 400 KB (DynamoDB Developer Guide, quotas).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pullahead.aws.storage_errors import conditional_write, refused_item, storage_errors
from pullahead.errors import StorageError
from pullahead.ports import Slot

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEY: Any = {"pk": {"S": "service#slots"}}
_FREE = "size(#held) < :most AND attribute_not_exists(#held.#name)"
_RUN_OUT = "#held.#name <= :now"


class DynamoSlots:
    """Satisfies `pullahead.ports.Slots`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def held(self) -> Mapping[str, datetime]:
        """Read the names, by the one way of reading that functions may use."""
        wanted: Any = {self._table: {"Keys": [_KEY], "ConsistentRead": True}}
        with storage_errors("read", "the slots of refreshes"):
            answer = self._client.batch_get_item(RequestItems=wanted)
        if answer.get("UnprocessedKeys"):
            raise StorageError("read of the slots of refreshes failed: DynamoDB is too busy")
        return next(map(_held, answer["Responses"].get(self._table, [])), {})

    def take(self, name: str, now: datetime, until: datetime, at_most: int) -> Slot:
        """Take a slot by one conditional write; the first one ever needs the item to be made."""
        values = {":until": _text(until), ":now": _text(now)}
        for _ in range(2):
            refused = self._change(
                "SET #held.#name = :until",
                f"attribute_exists(#held) AND (({_FREE}) OR {_RUN_OUT})",
                name,
                {**{key: {"S": text} for key, text in values.items()}, ":most": {"N": str(at_most)}},
            )
            if refused is None:
                return Slot.TAKEN
            if "held" in refused:
                return Slot.HELD if name in refused["held"]["M"] else Slot.FULL
            self._make()
        raise StorageError("write of the slots of refreshes failed: their item is made and gone again")

    def renew(self, name: str, before: datetime, until: datetime) -> None:
        """Move the moment on."""
        values = {":before": {"S": _text(before)}, ":until": {"S": _text(until)}}
        self._change("SET #held.#name = :until", "#held.#name = :before", name, values)

    def release(self, name: str, before: datetime | None = None) -> None:
        """Remove the name; that it is gone already is no failure."""
        if before is None:
            self._change("REMOVE #held.#name", "attribute_exists(#held.#name)", name, {})
        else:
            self._change("REMOVE #held.#name", "#held.#name = :before", name, {":before": {"S": _text(before)}})

    def _change(self, update: str, condition: str, name: str, values: Any) -> dict[str, Any] | None:
        """Update under a condition; where that does not hold, answer the item as it is."""
        more: Any = {"ExpressionAttributeValues": values} if values else {}
        try:
            with storage_errors("write", "the slots of refreshes"):
                self._client.update_item(
                    TableName=self._table,
                    Key=_KEY,
                    UpdateExpression=update,
                    ConditionExpression=condition,
                    ExpressionAttributeNames={"#held": "held", "#name": name},
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                    **more,
                )
        except StorageError as error:
            if (item := refused_item(error)) is None:
                raise
            return item
        return None

    def _make(self) -> None:
        """Make the item, without a slot held, unless somebody else has."""
        item: Any = {**_KEY, "held": {"M": {}}}
        with conditional_write("the slots of refreshes"):
            self._client.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(pk)")


def _held(item: Any) -> Mapping[str, datetime]:
    return {name: datetime.fromisoformat(until["S"]) for name, until in item.get("held", {}).get("M", {}).items()}


def _text(moment: datetime) -> str:
    """Write a moment so that texts compare as moments do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
