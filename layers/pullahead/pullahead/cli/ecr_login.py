"""Credentials for ECR by the AWS credential chain. Decides which hosts are ECR's.

Source: ECR user guide, "Private registry authentication"; API reference, GetAuthorizationToken.
"""

import base64
import re

from pullahead.errors import ConfigError
from pullahead.registry.credentials import Credential

_ECR_HOST = re.compile(
    r"[0-9]{12}\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.com(?:\.cn)?|on\.(?:aws|amazonwebservices\.com\.cn))"
)
_ATTEMPTS = 5


def is_ecr(host: str) -> bool:
    """Tell whether a host is a private ECR registry."""
    return _ECR_HOST.fullmatch(host) is not None


def ecr_credential(host: str, *, attempts: int = _ATTEMPTS) -> Credential | None:
    """Fetch a token for an ECR registry; None where there are no AWS credentials. Raises ConfigError."""
    import boto3  # noqa: PLC0415 - takes longer to import than everything else together
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415

    found = _ECR_HOST.fullmatch(host)
    if found is None:
        raise ValueError(f"{host} is no ECR registry")
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, connect_timeout=5, read_timeout=30)
    try:
        # Of a session of its own: the shared one may not be made by two threads at once.
        client = boto3.Session().client("ecr", region_name=found["region"], config=config)
        answer = client.get_authorization_token()
    except NoCredentialsError:
        return None
    except (BotoCoreError, ClientError) as error:
        cause = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise ConfigError(f"AWS gives no token for {host}: {cause}; check the AWS credentials") from None
    token = base64.b64decode(answer["authorizationData"][0]["authorizationToken"]).decode()
    username, _, password = token.partition(":")
    return Credential(username, password)
