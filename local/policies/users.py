"""The policies for people and clusters that use what Pullahead keeps fresh. Hand-written; nothing here is deployed."""

from typing import Any, Final

from local.policies.deploying import ACCOUNT, REGION

_REPOSITORY: Final = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
# Amazon ECR User Guide, "IAM permissions for pulling an image": the layers, the manifest, and a login.
_PULL: Final = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
_LOGIN: Final = {
    "Sid": "LogIn",
    "Effect": "Allow",
    "Action": ["ecr:GetAuthorizationToken"],
    "Resource": ["*"],
}

PULL_MIRRORS: Final[dict[str, Any]] = {
    "Version": "2012-10-17",
    "Statement": [
        _LOGIN,
        {"Sid": "PullMirrors", "Effect": "Allow", "Action": _PULL, "Resource": [f"{_REPOSITORY}/mirror/*"]},
    ],
}

# Amazon ECR User Guide, "IAM permissions required to sync an upstream registry with an Amazon ECR private registry".
PULL_THROUGH_CACHE: Final[dict[str, Any]] = {
    "Version": "2012-10-17",
    "Statement": [
        _LOGIN,
        {
            "Sid": "PullThroughCache",
            "Effect": "Allow",
            "Action": ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository", *_PULL],
            "Resource": [f"{_REPOSITORY}/docker-hub/*", f"{_REPOSITORY}/quay/*"],
        },
    ],
}
