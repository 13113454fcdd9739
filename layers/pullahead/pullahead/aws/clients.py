"""Make AWS clients by botocore. boto3 would import s3transfer and more, which no function uses, at each cold start."""

import functools
import ssl
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.loaders import Loader
from botocore.session import get_session

if TYPE_CHECKING:
    from pullahead.aws.assumed_roles import RoleKeys


_SERVICES: Final = (
    "dynamodb", "ecr", "events", "kms", "resourcegroupstaggingapi", "s3", "secretsmanager", "sns", "sqs", "ssm",
    "stepfunctions", "sts",
)  # fmt: skip


class _FewServices(Loader):
    """Reads botocore's data of the services that are used, without looking through those of all 400 first."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - all have what botocore asks for
        """List the services that may be asked."""
        return list(_SERVICES)


class TrustOnce(ssl.SSLContext):
    """Reads each file of certificates once, however many connections ask for it: 20 ms of CPU each."""

    def __init__(self, *_: Any) -> None:
        self._read = set[object]()

    def load_verify_locations(self, cafile: Any = None, capath: Any = None, cadata: Any = None) -> None:
        """Trust certificates."""
        if (cafile, capath, cadata) not in self._read:
            super().load_verify_locations(cafile, capath, cadata)
            self._read.add((cafile, capath, cadata))


def _new_trust() -> TrustOnce:
    """Make the TLS settings for AWS, as urllib3 makes them for botocore: certificates and names are verified."""
    context = TrustOnce(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    return context


def _share_trust(client: Any, trust: TrustOnce) -> None:
    """Let a client use the TLS settings of others; where botocore is built otherwise, it keeps its own."""
    http = getattr(getattr(client, "_endpoint", None), "http_session", None)
    settings = getattr(getattr(http, "_manager", None), "connection_pool_kw", None)
    if isinstance(settings, dict) and isinstance(settings.get("ssl_context"), ssl.SSLContext):
        settings["ssl_context"] = trust


class AwsClients:
    """Makes clients of one process, with the credentials and the Region of its environment. For several threads."""

    def __init__(self, config: Config) -> None:
        self._session, self._config = get_session(), config
        self._session.register_component("data_loader", _FewServices())
        self._trust = _new_trust()
        self._lock = threading.Lock()  # a session makes one client at a time

    def __call__(
        self, service: str, region: str | None = None, keys: "RoleKeys | None" = None, *, config: Config | None = None
    ) -> Any:
        """Make a client of a service, in a Region or in the environment's, as a role or as the process itself."""
        with self._lock:
            client = self._session.create_client(
                service,
                region_name=region,
                aws_access_key_id=None if keys is None else keys.access_key_id,
                aws_secret_access_key=None if keys is None else keys.secret_access_key,
                aws_session_token=None if keys is None else keys.session_token,
                config=config or self._config,
            )
            _share_trust(client, self._trust)
            return client

    def when_used(self, service: str, *, config: Config | None = None) -> Any:
        """Return what stands for a client that few processes use, and makes it then."""
        return _WhenUsed(lambda: self(service, config=config))


class _WhenUsed:
    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @functools.cached_property
    def _client(self) -> Any:
        return self._make()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
