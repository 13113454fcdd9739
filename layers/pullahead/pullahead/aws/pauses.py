"""The paused rules in DynamoDB: one item with a set of names, beside the records, changed without reading it first."""

from typing import TYPE_CHECKING, Any

from pullahead.aws.dynamodb import storage_errors
from pullahead.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_KEY: Any = {"pk": {"S": "service#pauses"}}


class DynamoPauses:
    """Satisfies `pullahead.ports.ChangesPauses`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def paused_rules(self) -> frozenset[str]:
        """Read the names, by the one way of reading that functions may use."""
        wanted: Any = {self._table: {"Keys": [_KEY], "ConsistentRead": True}}
        with storage_errors("read", "the paused rules"):
            answer = self._client.batch_get_item(RequestItems=wanted)
        if answer.get("UnprocessedKeys"):
            raise StorageError("read of the paused rules failed: DynamoDB is too busy")
        for item in answer["Responses"].get(self._table, []):
            return frozenset(item.get("rules", {}).get("SS", ()))
        return frozenset()

    def pause(self, rule: str) -> None:
        """Add a name."""
        self._change("ADD", rule)

    def resume(self, rule: str) -> None:
        """Take a name away."""
        self._change("DELETE", rule)

    def _change(self, verb: str, rule: str) -> None:
        with storage_errors("write", "the paused rules"):
            self._client.update_item(
                TableName=self._table,
                Key=_KEY,
                UpdateExpression=f"{verb} #rules :rule",
                ExpressionAttributeNames={"#rules": "rules"},
                ExpressionAttributeValues={":rule": {"SS": [rule]}},
            )
