"""Incidents in DynamoDB: one item each, and one item for the lock of the only sender."""

from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from pullahead.alerts.incidents import INCIDENT_LIFETIME, Incident
from pullahead.aws.dynamodb import DamagedItemError, Item, Table, decode_attribute, epoch, iso_text
from pullahead.aws.newer_items import NewerItems
from pullahead.mirrors.stored_form import Loaded, NewerFormError, decode_form

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


_INCIDENT, _LOCK = "incident#", "service#telling"
_ATTRIBUTES: Final = frozenset({"pk", "incident", "expires_at"})


class DynamoIncidents:
    """Implements `pullahead.alerts.ports.IncidentStore`."""

    def __init__(self, client: "DynamoDBClient", table: str, newer: NewerItems | None = None) -> None:
        self._table, self._newer = Table(client, table), newer or NewerItems()

    def load(self, keys: Collection[str]) -> Loaded[str, Incident]:
        """Read incidents."""
        found, newer = [], []
        for item in self._table.get_many((f"{_INCIDENT}{key}" for key in keys), f"{len(keys)} incidents"):
            try:
                incident = _incident_of(item)
            except NewerFormError as error:
                self._newer.note(item["pk"], error)
                newer.append(item["pk"].removeprefix(_INCIDENT))
            except DamagedItemError as error:  # as if there were none: the next message writes it anew
                self._newer.note_damaged(item["pk"], error)
            else:
                found.append((incident.key, incident))
        return Loaded(found, newer)

    def save(self, incident: Incident, now: datetime) -> None:
        """Write an incident."""
        item: dict[str, object] = {
            "pk": f"{_INCIDENT}{incident.key}",
            "incident": msgspec.json.encode(incident).decode(),
        }
        if not incident.standing:
            item["expires_at"] = epoch(now + INCIDENT_LIFETIME)
        self._table.put(item, f"the incident {incident.key}")

    def lock_sending(self, now: datetime, until: datetime) -> bool:
        """Take the lock unless another's has not ended yet; one that ends later than any does is damaged."""
        is_free = "attribute_not_exists(pk) OR NOT attribute_type(turn_ends, :text) OR turn_ends <= :now"
        latest = iso_text(now + 2 * (until - now))
        return self._put_lock(now, until, f"{is_free} OR turn_ends > :latest", now, latest=latest, text="S")

    def unlock_sending(self, now: datetime) -> None:
        """Release the lock that was taken at a moment."""
        self._put_lock(now, now, "taken_at = :now", now)

    def _put_lock(self, taken_at: datetime, ends: datetime, condition: str, now: datetime, **values: str) -> bool:
        item = {"pk": _LOCK, "taken_at": iso_text(taken_at), "turn_ends": iso_text(ends)}
        return self._table.put_if(item, "the lock of the alert sender", condition, now=iso_text(now), **values)


def _incident_of(item: Item) -> Incident:
    """Decode an item. Raises NewerFormError and DamagedItemError."""
    incident = decode_attribute(item, "incident", _ATTRIBUTES, _decode)
    if item["pk"] != f"{_INCIDENT}{incident.key}":
        raise DamagedItemError(f"it is the incident {incident.key}")
    return incident


def _decode(text: str) -> Incident:
    return decode_form(text, Incident, ("key",))
