"""Incidents in DynamoDB: one item each, and one item for the lock of the only sender."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from pullahead.alerts.incidents import INCIDENT_LIFETIME, Incident
from pullahead.aws.dynamodb import Table, decode_attribute, epoch, iso_text

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_DECODER = msgspec.json.Decoder(Incident)
_INCIDENT, _LOCK = "incident#", "service#telling"


class DynamoIncidents:
    """Implements `pullahead.alerts.ports.IncidentStore`."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def load(self, keys: Collection[str]) -> Mapping[str, Incident]:
        """Read incidents."""
        items = self._table.get_many((f"{_INCIDENT}{key}" for key in keys), f"{len(keys)} incidents")
        incidents = (decode_attribute(item, "incident", _DECODER.decode) for item in items)
        return {incident.key: incident for incident in incidents}

    def save(self, incident: Incident, now: datetime) -> None:
        """Write an incident."""
        item = {
            "pk": f"{_INCIDENT}{incident.key}",
            "incident": msgspec.json.encode(incident).decode(),
            "expires_at": epoch(now + INCIDENT_LIFETIME),
        }
        self._table.put(item, f"the incident {incident.key}")

    def lock_sending(self, now: datetime, until: datetime) -> bool:
        """Take the lock unless another's has not ended yet."""
        return self._put_lock(now, until, "attribute_not_exists(pk) OR turn_ends <= :now", now)

    def unlock_sending(self, now: datetime) -> None:
        """Release the lock that was taken at a moment."""
        self._put_lock(now, now, "taken_at = :now", now)

    def _put_lock(self, taken_at: datetime, ends: datetime, condition: str, now: datetime) -> bool:
        item = {"pk": _LOCK, "taken_at": iso_text(taken_at), "turn_ends": iso_text(ends)}
        return self._table.put_if(item, "the lock of the alert sender", condition, now=iso_text(now))
