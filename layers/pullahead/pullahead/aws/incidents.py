"""What people were told, beside the records in DynamoDB: an item for each incident, and one for whose turn it is."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import ClientError

from pullahead.alerts.incidents import REMEMBERED_FOR, Incident
from pullahead.aws.dynamodb import code_of, get_items, storage_errors
from pullahead.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_INCIDENT, _TURN = "incident#", "service#telling"


class DynamoIncidents:
    """Satisfies `pullahead.ports.KeepsIncidents` and `TakesTurns`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client, self._table = client, table

    def load(self, keys: Collection[str]) -> Mapping[str, Incident]:
        """Read incidents, by the one way of reading that functions may use."""
        items = get_items(self._client, self._table, (f"{_INCIDENT}{key}" for key in keys), "incidents")
        found = (_decode(item) for item in items)
        return {incident.key: incident for incident in found}

    def save(self, incident: Incident, now: datetime) -> None:
        """Write an incident."""
        with storage_errors("write", f"the incident {incident.key}"):
            self._client.put_item(
                TableName=self._table,
                Item={
                    "pk": {"S": f"{_INCIDENT}{incident.key}"},
                    "incident": {"S": msgspec.json.encode(incident).decode()},
                    "expires_at": {"N": str(int((now + REMEMBERED_FOR).timestamp()))},
                },
            )

    def lock_sending(self, now: datetime, until: datetime) -> bool:
        """Take the turn, by a write that fails while another's has not ended."""
        return self._put_turn(now, until, "attribute_not_exists(pk) OR turn_ends <= :now", now)

    def unlock_sending(self, now: datetime) -> None:
        """End the turn."""
        self._put_turn(now, now, "taken_at = :now", now)

    def _put_turn(self, taken_at: datetime, ends: datetime, condition: str, now: datetime) -> bool:
        try:
            with storage_errors("write", "whose turn it is to tell"):
                self._client.put_item(
                    TableName=self._table,
                    Item={
                        "pk": {"S": _TURN},
                        "taken_at": {"S": _moment(taken_at)},
                        "turn_ends": {"S": _moment(ends)},
                    },
                    ConditionExpression=condition,
                    ExpressionAttributeValues={":now": {"S": _moment(now)}},
                )
        except StorageError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and code_of(cause) == "ConditionalCheckFailedException":
                return False
            raise
        return True


def _decode(item: dict[str, Any]) -> Incident:
    try:
        return msgspec.json.decode(item["incident"]["S"], type=Incident)
    except (KeyError, msgspec.DecodeError) as error:
        raise StorageError(f"the incident {item.get('pk')} cannot be read: {error}") from error


def _moment(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")  # of one length, so that texts compare as moments do
