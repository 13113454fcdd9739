"""Make AWS clients by botocore. boto3 would import s3transfer and more, which no function uses, at each cold start."""

import threading
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import get_session

if TYPE_CHECKING:
    from pullahead.aws.assumed_roles import RoleKeys


_SERVICES: Final = (
    "dynamodb", "ecr", "events", "resourcegroupstaggingapi", "s3", "secretsmanager", "sns", "sqs", "ssm",
    "stepfunctions", "sts",
)  # fmt: skip


class _FewServices(Loader):
    """Reads botocore's data of the services that are used, without looking through those of all 400 first."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - all have what botocore asks for
        """List the services that may be asked."""
        return list(_SERVICES)


class AwsClients:
    """Makes clients of one process, with the credentials and the Region of its environment. For several threads."""

    def __init__(self, config: Config) -> None:
        self._session, self._config = get_session(), config
        self._session.register_component("data_loader", _FewServices())
        self._lock = threading.Lock()  # a session makes one client at a time

    def __call__(
        self, service: str, region: str | None = None, keys: "RoleKeys | None" = None, *, config: Config | None = None
    ) -> Any:
        """Make a client of a service, in a Region or in the environment's, as a role or as the process itself."""
        with self._lock:
            return self._session.create_client(
                service,
                region_name=region,
                aws_access_key_id=None if keys is None else keys.access_key_id,
                aws_secret_access_key=None if keys is None else keys.secret_access_key,
                aws_session_token=None if keys is None else keys.session_token,
                config=config or self._config,
            )
