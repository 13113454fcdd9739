"""The envelope of an event that an AWS service sends to EventBridge (user guide, "Events from AWS services")."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from local.aws import ACCOUNT_ID, REGION


def service_event(
    source: str, detail_type: str, detail: Mapping[str, Any], at: datetime, resources: Sequence[str] = ()
) -> dict[str, Any]:
    """Put a detail into its envelope."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": source,
        "account": ACCOUNT_ID,
        "time": iso(at),
        "region": REGION,
        "resources": list(resources),
        "detail": dict(detail),
    }


def iso(moment: datetime) -> str:
    """Write a time as AWS does in events."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
