"""Paused rules in DynamoDB: one item with a set of names, changed without reading it first."""

from typing import TYPE_CHECKING

from pullahead.aws.dynamodb import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_KEY, _WHAT = "service#pauses", "the paused rules"


class DynamoPauses:
    """Implements `pullahead.rules.ports.PauseStore`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def paused_rules(self) -> frozenset[str]:
        """Read the names."""
        item = self._table.get(_KEY, _WHAT) or {}
        return frozenset(item.get("rules", ()))

    def pause(self, rule: str) -> None:
        """Add a name to the set."""
        self._table.update(_KEY, _WHAT, "ADD #rules :rule", rule={rule})

    def resume(self, rule: str) -> None:
        """Remove a name from the set."""
        self._table.update(_KEY, _WHAT, "DELETE #rules :rule", rule={rule})
