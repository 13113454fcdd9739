"""The AWS account of the credential chain: its ECR as the target, and the secrets that rules name. Imports boto3.

Source: AWS SDKs and Tools Reference, "Standardized credential providers".
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoRegionError

from pullahead.aws.assumed_roles import Clients, RoleKeys
from pullahead.aws.upstream_credentials import UpstreamCredentials
from pullahead.ecr.streams import EcrStreams
from pullahead.ecr.target import EcrTarget
from pullahead.errors import ConfigError
from pullahead.oci import Descriptor
from pullahead.oci.registries import Offered, OpenPieces
from pullahead.rules.model import UpstreamSettings

if TYPE_CHECKING:
    from mypy_boto3_ecr import ECRClient

_CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 5}, connect_timeout=5, read_timeout=60, max_pool_connections=16
)
_SIGNED_WITH = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_ELSEWHERE = "or name another registry with --registry"


class EcrDestination(EcrTarget):
    """The account's ECR, which takes whole blobs by its registry's own API."""

    def __init__(self, client: "ECRClient") -> None:
        super().__init__(client)
        self._streams = EcrStreams(client, lambda: datetime.now(UTC))

    def stream_blob(
        self, repository: str, blob: Descriptor, open_pieces: OpenPieces, mount_from: str | None = None
    ) -> Offered:
        """Send a blob in one request, unless the repository has it.

        ECR's API is asked: its registry does not answer the offer to mount a blob from the repository itself.
        """
        if blob.digest in self.present_blobs(repository, [blob.digest]):
            return Offered.PRESENT
        return self._streams.stream_blob(repository, blob, open_pieces, mount_from)


def account_target() -> EcrDestination:
    """Make the account's ECR a target. Raises ConfigError without credentials and a Region."""
    session = boto3.Session()
    if not _has_credentials(session):
        raise ConfigError(f"there are no AWS credentials; log in (aws sso login, AWS_PROFILE), {_ELSEWHERE}")
    try:
        return EcrDestination(session.client("ecr", config=_CONFIG))
    except NoRegionError:
        raise ConfigError(f"no AWS Region is set; set AWS_DEFAULT_REGION, {_ELSEWHERE}") from None


def upstream_secrets(settings: Callable[[str], UpstreamSettings]) -> UpstreamCredentials | None:
    """Make what reads the secrets that rules name; None where there are no AWS credentials."""
    session = boto3.Session()
    if not _has_credentials(session):
        return None

    def make(service: str, region: str | None, keys: RoleKeys | None) -> Any:
        signed: dict[str, Any] = {} if keys is None else dict(zip(_SIGNED_WITH, _values_of(keys), strict=True))
        return session.client(cast("Any", service), region_name=region, config=_CONFIG, **signed)

    return UpstreamCredentials(settings, Clients(make, time.time), time.time)


def _values_of(keys: RoleKeys) -> tuple[str, str, str]:
    return keys.access_key_id, keys.secret_access_key, keys.session_token


def _has_credentials(session: boto3.Session) -> bool:
    try:
        return session.get_credentials() is not None
    except BotoCoreError as error:
        raise ConfigError(f"the AWS credentials cannot be used: {error}; mend them, {_ELSEWHERE}") from error
