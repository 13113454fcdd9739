"""The operations of the ECR API on managed signing, and who may push where a signing rule matches.

Rules: ECR user guide, "Managed signing": ECR signs as whoever pushes, who needs signer:SignPayload on the profile.
Nothing is signed here.
"""

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from local.ecr.errors import EcrError
from local.ecr.identity import ACCOUNT_ID
from local.ecr.images import ImageId

Parameters = Mapping[str, Any]
Answer = dict[str, Any]

MaySign = Callable[[str, str], bool]
"""Tells whether a role may sign with the profile of an ARN."""


class SigningOperations:
    """The signing rules of one registry."""

    def __init__(self) -> None:
        self._rules: list[Answer] | None = None
        self.may_sign: MaySign = lambda _role, _profile: True

    def table(self) -> dict[str, Callable[[Parameters], Answer]]:
        """List the operations by their names in the API."""
        return {
            "PutSigningConfiguration": self.put,
            "GetSigningConfiguration": self.get,
            "DeleteSigningConfiguration": self.delete,
            "DescribeImageSigningStatus": self.describe,
        }

    def clear(self) -> None:
        """Forget the rules."""
        self._rules = None

    def put(self, p: Parameters) -> Answer:
        """PutSigningConfiguration."""
        self._rules = list(p["signingConfiguration"]["rules"])
        return {"signingConfiguration": {"rules": self._rules}}

    def get(self, _p: Parameters) -> Answer:
        """GetSigningConfiguration."""
        if self._rules is None:
            raise EcrError("SigningConfigurationNotFoundException", "The registry has no signing configuration")
        return {"registryId": ACCOUNT_ID, "signingConfiguration": {"rules": self._rules}}

    def delete(self, p: Parameters) -> Answer:
        """DeleteSigningConfiguration."""
        deleted = self.get(p)
        self._rules = None
        return deleted

    def describe(self, p: Parameters) -> Answer:
        """DescribeImageSigningStatus: what a rule matches now, was signed."""
        statuses = [{"signingProfileArn": each, "status": "COMPLETE"} for each in self._profiles(p["repositoryName"])]
        image = ImageId.of(p["imageId"]).to_api()
        return {
            "registryId": ACCOUNT_ID,
            "repositoryName": p["repositoryName"],
            "imageId": image,
            "signingStatuses": statuses,
        }

    def check_push(self, repository: str, role: str | None) -> None:
        """Refuse a push by a role that may not sign; who is no role of a stack may do everything here.

        Raises:
            EcrError: AccessDeniedException, which names the permission and the profile.
        """
        for profile in self._profiles(repository):
            if role is not None and not self.may_sign(role, profile):
                raise EcrError(
                    "AccessDeniedException",
                    f"User: arn:aws:sts::{ACCOUNT_ID}:assumed-role/{role}/session is not authorized to perform: "
                    f"signer:SignPayload on resource: {profile} because no identity-based policy allows the "
                    "signer:SignPayload action",
                )

    def _profiles(self, repository: str) -> Iterator[str]:
        for rule in self._rules or ():
            filters = rule.get("repositoryFilters", [])
            if not filters or any(fnmatchcase(repository, each["filter"]) for each in filters):
                yield rule["signingProfileArn"]
