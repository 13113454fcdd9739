"""Credentials for ECR by the AWS credential chain.

Source: ECR user guide, "Private registry authentication"; API reference, GetAuthorizationToken.
"""

from pullahead.errors import ConfigError
from pullahead.registry.credentials import Credential, from_basic
from pullahead.registry.hosts import ecr_region

_ATTEMPTS = 5


def is_ecr(host: str) -> bool:
    """Tell whether a host is a private ECR registry."""
    return ecr_region(host) is not None


def ecr_credential(host: str, *, attempts: int = _ATTEMPTS) -> Credential | None:
    """Fetch a token for an ECR registry; None where there are no AWS credentials. Raises ConfigError."""
    import boto3  # noqa: PLC0415 - takes longer to import than everything else together
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415

    region = ecr_region(host)
    if region is None:
        raise ValueError(f"{host} is no ECR registry")
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, connect_timeout=5, read_timeout=30)
    try:
        # Of a session of its own: the shared one may not be made by two threads at once.
        client = boto3.Session().client("ecr", region_name=region, config=config)
        answer = client.get_authorization_token()
    except NoCredentialsError:
        return None
    except (BotoCoreError, ClientError) as error:
        cause = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise ConfigError(f"AWS gives no token for {host}: {cause}; check the AWS credentials") from None
    return from_basic(answer["authorizationData"][0]["authorizationToken"])
