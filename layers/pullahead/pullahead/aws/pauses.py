"""Paused rules in DynamoDB: one item with a set of names, changed without reading it first."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pullahead.aws.dynamodb import Table
from pullahead.aws.newer_items import NewerItems

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_KEY, _WHAT = "service#pauses", "the paused rules"


class DynamoPauses:
    """Implements `pullahead.rules.ports.PauseStore`."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
        self._table, self._newer = Table(client, table), newer or NewerItems()

    def paused_rules(self) -> frozenset[str]:
        """Read the names.

        Where a newer version has stored more than names, every text in it counts as one: an older version resumes no
        rule that somebody has paused, and a name that no rule has pauses nothing.
        """
        rules = (self._table.get(_KEY, _WHAT) or {}).get("rules", frozenset())
        names = frozenset(_texts(rules))
        if isinstance(rules, Mapping | list):
            self._newer.note(_KEY, "it holds more than names of rules")
        elif not isinstance(rules, set | frozenset) or len(names) < len(rules):
            self._newer.note_damaged(_KEY, "it holds no names of rules")
        return names

    def pause(self, rule: str) -> None:
        """Add a name to the set, or begin it anew where the item is damaged."""
        self._table.add_to_set(_KEY, "rules", rule, _WHAT)

    def resume(self, rule: str) -> None:
        """Remove a name from the set. A damaged item holds none."""
        self._table.remove_from_set(_KEY, "rules", rule, _WHAT)


def _texts(value: object) -> Iterator[str]:
    """Find every text in a value of any depth; DynamoDB nests 32 levels (DynamoDB quotas)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list | set | frozenset):
        for inner in value:
            yield from _texts(inner)
