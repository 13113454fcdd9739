"""The account in which a run takes place: who asks, where, and the clients. Nothing here makes or changes anything."""

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, cast

import boto3
from botocore.config import Config

_NOT_FOR_SAM: Final = frozenset({"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CREDENTIAL_EXPIRATION"})
_NOT_FROM_HERE: Final = ("SAM_", "PYTHON")  # what would change how `sam`, which has a Python of its own, works


class NoRegionError(Exception):
    """Neither the environment nor the profile names a Region."""


class Account:
    """One account and Region by one set of credentials, which are also those of `sam`.

    `is_local`: the local AWS that this process runs; any other is taken for a real one.
    """

    def __init__(
        self, session: boto3.Session, endpoint_url: str | None = None, *, is_local: bool = False, **variables: str
    ) -> None:
        self._session, self._endpoint_url, self.is_local = session, endpoint_url, is_local
        self._variables = variables
        self._clients: dict[tuple[str, int], Any] = {}
        if not session.region_name:
            raise NoRegionError("no Region: set AWS_DEFAULT_REGION, or AWS_PROFILE to a profile that names one")
        self.region: Final = session.region_name

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Who the credentials belong to: STS GetCallerIdentity."""
        found: Mapping[str, str] = self.client("sts").get_caller_identity()
        return found

    @property
    def id(self) -> str:
        """The account's ID."""
        return self.identity["Account"]

    def arn(self, service: str, resource: str, *, regional: bool = True, owned: bool = True) -> str:
        """Name a resource of this account and Region."""
        partition = self.identity["Arn"].split(":")[1]
        return f"arn:{partition}:{service}:{self.region if regional else ''}:{self.id if owned else ''}:{resource}"

    def client(self, service: str, attempts: int = 5) -> Any:
        """Return a client, the same one every time; with 1 attempt it shows what AWS answers to a single call."""
        key = (service, attempts)
        if key not in self._clients:
            config = Config(retries={"total_max_attempts": attempts}, read_timeout=120, max_pool_connections=50)
            self._clients[key] = self._session.client(
                cast("Any", service), endpoint_url=self._endpoint_url, config=config
            )
        return self._clients[key]

    def stranger(self, service: str) -> Any:
        """Return a client with keys that AWS does not know."""
        return boto3.client(
            cast("Any", service),
            region_name=self.region,
            endpoint_url=self._endpoint_url,
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",  # AWS's own example
            aws_secret_access_key="not-a-key",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def environment(self) -> dict[str, str]:
        """The environment in which `sam` acts by the very credentials of this account."""
        credentials = self._session.get_credentials()
        if credentials is None:
            raise LookupError("the session has no credentials")
        frozen = credentials.get_frozen_credentials()
        keys = {
            "AWS_ACCESS_KEY_ID": frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen.secret_key,
            "AWS_SESSION_TOKEN": frozen.token,
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _NOT_FOR_SAM | keys.keys() and not name.startswith(_NOT_FROM_HERE)
        }
        given = {name: value for name, value in keys.items() if value}
        endpoint = {"AWS_ENDPOINT_URL": self._endpoint_url} if self._endpoint_url else {}
        region = {"AWS_DEFAULT_REGION": self.region, "AWS_REGION": self.region}
        return {**kept, **given, **endpoint, **region, **self._variables}
