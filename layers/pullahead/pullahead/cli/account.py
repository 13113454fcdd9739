"""The AWS account of the credential chain: its ECR as a target, tokens for ECR, and the secrets that rules name.

Imports boto3. Sources: AWS SDKs and Tools Reference, "Standardized credential providers"; ECR user guide, "Private
registry authentication"; ECR API reference, GetAuthorizationToken.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

from pullahead.aws.assumed_roles import Clients, RoleKeys
from pullahead.aws.upstream_credentials import UpstreamCredentials
from pullahead.ecr.streams import EcrStreams
from pullahead.ecr.tags import EcrTags
from pullahead.ecr.target import EcrTarget
from pullahead.errors import ConfigError
from pullahead.oci import Descriptor
from pullahead.oci.ecr_registry import parse_ecr_host
from pullahead.oci.registries import Offered, OpenPieces
from pullahead.registry.credentials import Credential, from_basic
from pullahead.rules.model import UpstreamSettings

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60, max_pool_connections=16
)
_SIGNED_WITH = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_OR_REGISTRY = "or use another registry with --registry"
_ATTEMPTS = 5


class EcrDestination(EcrTarget):
    """The account's ECR, with uploads of whole blobs by its registry API."""

    def __init__(self, client: "ECRClient") -> None:
        super().__init__(client)
        self._streams = EcrStreams(client, lambda: datetime.now(UTC))

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """Send a blob in one request, unless the repository has it.

        ECR's own API says whether it has: its registry API does not answer an offer to mount from the same repository.
        """
        if blob.digest in self.present_blobs(repository, [blob.digest]):
            return Offered.PRESENT
        return self._streams.stream_blob(repository, blob, open_pieces, mount_from)


def account_target() -> EcrDestination:
    """Make the account's ECR a target. Raises ConfigError without credentials or a Region."""
    return EcrDestination(_account_ecr(f", {_OR_REGISTRY}"))


def account_tags() -> EcrTags:
    """Make what lists the tags of the account's ECR. Raises ConfigError without credentials or a Region."""
    return EcrTags(_account_ecr(""))


def _account_ecr(advice: str) -> "ECRClient":
    session = boto3.Session()
    if not _has_credentials(session):
        raise ConfigError(f"no AWS credentials found; run `aws sso login` or set AWS_PROFILE{advice}")
    try:
        return session.client("ecr", config=_CONFIG)
    except NoRegionError:
        raise ConfigError(f"no AWS Region is configured; set AWS_DEFAULT_REGION{advice}") from None


def upstream_secrets(settings: Callable[[str], UpstreamSettings]) -> UpstreamCredentials | None:
    """Make the reader of the secrets that rules name; None without AWS credentials."""
    session = boto3.Session()
    if not _has_credentials(session):
        return None

    def make(service: str, region: str | None, keys: RoleKeys | None) -> Any:
        signed: dict[str, Any] = {} if keys is None else dict(zip(_SIGNED_WITH, _values_of(keys), strict=True))
        return session.client(cast("Any", service), region_name=region, config=_CONFIG, **signed)

    return UpstreamCredentials(settings, Clients(make, time.time), time.time)


def ecr_credential(host: str, *, attempts: int = _ATTEMPTS) -> Credential | None:
    """Request a token for a private registry of ECR; None without AWS credentials. Raises ConfigError."""
    ecr = parse_ecr_host(host)
    if ecr is None:
        raise ValueError(f"{host} is not a private registry of ECR")
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts}, connect_timeout=5, read_timeout=30)
    try:
        # A session of its own: two threads may not create the shared one at once.
        client = boto3.Session().client("ecr", region_name=ecr.region, config=config)
        answer = client.get_authorization_token()
    except NoCredentialsError:
        return None
    except (BotoCoreError, ClientError) as error:
        cause = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        raise ConfigError(f"GetAuthorizationToken for {host} failed: {cause}; check the AWS credentials") from None
    credential = from_basic(answer["authorizationData"][0]["authorizationToken"])
    return credential.found_in("the AWS credentials of this command")


def _values_of(keys: RoleKeys) -> tuple[str, str, str]:
    return keys.access_key_id, keys.secret_access_key, keys.session_token


def _has_credentials(session: boto3.Session) -> bool:
    try:
        return session.get_credentials() is not None
    except BotoCoreError as error:
        raise ConfigError(f"the AWS credentials cannot be used: {error}; correct them, {_OR_REGISTRY}") from error
