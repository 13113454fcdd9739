"""Tell EventBridge of pulls, as CloudTrail does where a trail exists. Refuses to know what a pull is good for.

Shape: AWS CloudTrail User Guide, "CloudTrail record contents"; what a pull looks like: aws/containers-roadmap#244. The
answer of a reading call is not recorded, so that a tag that is not there does not show; a missing repository does, as
an error.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from local.ecr.errors import EcrError
from local.ecr.identity import ACCOUNT_ID, REGION
from local.service_event import iso, service_event

_SOMEBODY: Final = "somebody"
_RECORDED: Final = ("registryId", "repositoryName", "imageIds", "acceptedMediaTypes")


class Trail:
    """Records pulls, in the moment in which they end."""

    def __init__(self, now: Callable[[], datetime], emit: Callable[[dict[str, Any]], None]) -> None:
        self._now, self._emit = now, emit

    @contextmanager
    def pull(self, parameters: Mapping[str, Any], role: str | None, *, by_docker: bool) -> Iterator[None]:
        """Record a BatchGetImage, however it ends; what comes by /v2, AWS calls for the client."""
        error = None
        try:
            yield
        except EcrError as refusal:
            error = refusal
            raise
        finally:
            self._emit(_event(parameters, role or _SOMEBODY, error, self._now(), by_docker=by_docker))


def _event(
    parameters: Mapping[str, Any], role: str, error: EcrError | None, at: datetime, *, by_docker: bool
) -> dict[str, Any]:
    time = iso(at)
    failed = {} if error is None else {"errorCode": error.code, "errorMessage": error.message}
    caller = "AWS Internal" if by_docker else "127.0.0.1"
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT_ID}:repository/{parameters.get('repositoryName')}"
    detail = {
        "eventVersion": "1.11",
        "userIdentity": _identity(role, time, by_docker=by_docker),
        "eventTime": time,
        "eventSource": "ecr.amazonaws.com",
        "eventName": "BatchGetImage",
        "awsRegion": REGION,
        "sourceIPAddress": caller,
        "userAgent": caller if by_docker else "Boto3",
        **failed,
        "requestParameters": {name: parameters[name] for name in _RECORDED if name in parameters},
        "responseElements": None,
        "requestID": str(uuid.uuid4()),
        "eventID": str(uuid.uuid4()),
        "readOnly": True,
        "resources": [{"accountId": ACCOUNT_ID, "ARN": repository}],
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": ACCOUNT_ID,
        "eventCategory": "Management",
    }
    return service_event("aws.ecr", "AWS API Call via CloudTrail", detail, at)


def _identity(role: str, time: str, *, by_docker: bool) -> dict[str, Any]:
    issuer = {
        "type": "Role",
        "principalId": "AROAEXAMPLE",
        "arn": f"arn:aws:iam::{ACCOUNT_ID}:role/{role}",
        "accountId": ACCOUNT_ID,
        "userName": role,
    }
    attributes = {"creationDate": time, "mfaAuthenticated": "false"}
    return {
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLE:session",
        "arn": f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/session",
        "accountId": ACCOUNT_ID,
        "accessKeyId": "ASIAEXAMPLE",
        "sessionContext": {"sessionIssuer": issuer, "attributes": attributes},
        **({"invokedBy": "AWS Internal"} if by_docker else {}),
    }
