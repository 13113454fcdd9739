"""Write the events that ECR sends to EventBridge. Refuses to know who listens.

Shapes: Amazon ECR user guide, "Amazon ECR events and EventBridge", "ECR Image Action".
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from local.ecr.identity import ACCOUNT_ID, REGION


def image_event(action: str, repository: str, digest: str, tag: str | None, at: datetime) -> dict[str, Any]:
    """Describe a PUSH or DELETE of one manifest; a manifest without a tag, such as a child, has no image-tag."""
    detail = {"result": "SUCCESS", "repository-name": repository, "image-digest": digest, "action-type": action}
    if tag is not None:
        detail["image-tag"] = tag
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "ECR Image Action",
        "source": "aws.ecr",
        "account": ACCOUNT_ID,
        "time": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [],  # empty for pushes and deletes: rules filter on detail.repository-name
        "detail": detail,
    }
