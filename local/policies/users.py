"""The policies for who pulls mirrors, and for a role in another account. Hand-written; nothing here is deployed."""

from typing import Any, Final

from local.policies.deploying import ACCOUNT, REGION, STACK

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

OTHER_ACCOUNT: Final = "210987654321"

# Amazon ECR User Guide, "IAM permissions for pulling an image"; ListImages for rules that select from all tags, and
# ListImageReferrers for signatures and the like.
PULL_UPSTREAM: Final[dict[str, Any]] = {
    "Version": "2012-10-17",
    "Statement": [
        _LOGIN,
        {
            "Sid": "PullUpstream",
            "Effect": "Allow",
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:ListImageReferrers", "ecr:ListImages"],
            "Resource": [f"arn:aws:ecr:{REGION}:{OTHER_ACCOUNT}:repository/team/*"],
        },
    ],
}

# The roles of the functions that connect to upstreams. CloudFormation ends their names in characters of its own.
TRUST_PULLAHEAD: Final[dict[str, Any]] = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "TrustPullahead",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "ArnLike": {
                    "aws:PrincipalArn": [
                        f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{function}Role-*"
                        for function in ("CheckFreshness", "PlanCopy", "CopyBlobs", "VerifyImage")
                    ]
                }
            },
        }
    ],
}
